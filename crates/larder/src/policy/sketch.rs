//! How often hashes were seen, roughly, in four bits each: the frequency sketch of TinyLFU (Einziger, Friedman
//! and Manes, "TinyLFU: a highly efficient cache admission policy", 2017).
//!
//! Invariant: an estimate is at least the number of sightings since the last halving or 15, unless sightings
//! raced; it is more only where hashes collide in all four rows.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::random::mix;

/// Words in a block: the four counters of a hash stand in one cache line.
const BLOCK: usize = 8;
/// All counters are halved after this many sightings per word.
const SIGHTINGS_PER_WORD: u64 = 10;

/// Counts sightings of hashes up to 15; all counts are halved from time to time, so that old fame fades.
#[derive(Debug)]
pub(super) struct Sketch {
    /// Sixteen counters a word.
    words: Vec<AtomicU64>,
    sightings: AtomicU64,
}

impl Default for Sketch {
    fn default() -> Self {
        Self { words: (0..BLOCK).map(|_| AtomicU64::new(0)).collect(), sightings: AtomicU64::new(0) }
    }
}

impl Sketch {
    /// Makes room for `entries` entries, keeping all estimates, and halves all counts if it is time.
    pub(super) fn tend(&mut self, entries: usize) {
        while self.words.len() < entries {
            // The lowest bits choose the block, so a copy of everything behind itself answers as before.
            for at in 0..self.words.len() {
                self.words.push(AtomicU64::new(self.words[at].load(Relaxed)));
            }
        }
        if *self.sightings.get_mut() >= SIGHTINGS_PER_WORD * self.words.len() as u64 {
            *self.sightings.get_mut() /= 2;
            for word in &mut self.words {
                *word.get_mut() = *word.get_mut() >> 1 & 0x7777_7777_7777_7777;
            }
        }
    }

    /// Counts one sighting.
    pub(super) fn see(&self, hash: u64) {
        let mut changed = false;
        for (word, shift) in self.counters(hash) {
            let bits = self.words[word].load(Relaxed);
            if bits >> shift & 15 < 15 {
                self.words[word].store(bits + (1 << shift), Relaxed);
                changed = true;
            }
        }
        if changed {
            self.sightings.store(self.sightings.load(Relaxed) + 1, Relaxed);
        }
    }

    /// How often `hash` was seen.
    pub(super) fn estimate(&self, hash: u64) -> u64 {
        self.counters(hash)
            .map(|(word, shift)| self.words[word].load(Relaxed) >> shift & 15)
            .min()
            .unwrap_or(0)
    }

    /// The four counters of a hash: for each row two words of the block, of which one bit chooses, and four bits
    /// for one of sixteen counters.
    fn counters(&self, hash: u64) -> impl Iterator<Item = (usize, u64)> {
        let bits = mix(hash);
        let block = (bits as usize & (self.words.len() / BLOCK - 1)) * BLOCK;
        (0..4).map(move |row| {
            let bits = bits >> (32 + 8 * row);
            (block + 2 * row as usize + (bits & 1) as usize, (bits >> 1 & 15) * 4)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn an_estimate_is_never_below_the_count_and_survives_growth(
            seen in prop::collection::vec(0..50u64, 0..70),
        ) {
            let mut sketch = Sketch::default();
            seen.iter().for_each(|&hash| sketch.see(hash));
            for round in 0..2 {
                for hash in 0..50 {
                    let count = seen.iter().filter(|&&other| other == hash).count().min(15) as u64;
                    prop_assert!(sketch.estimate(hash) >= count, "round {}, hash {}", round, hash);
                }
                sketch.tend(1000);
            }
        }
    }

    #[test]
    fn estimates_are_mostly_exact_when_there_is_a_word_for_each_entry() {
        let mut sketch = Sketch::default();
        sketch.tend(1000);
        for hash in 0..1000 {
            for _ in 0..hash % 4 {
                sketch.see(hash);
            }
        }
        let wrong = (0..1000).filter(|hash| sketch.estimate(*hash) != hash % 4).count();
        assert!(wrong < 20, "{wrong} of 1000 are wrong");
    }

    #[test]
    fn counts_fade() {
        let mut sketch = Sketch::default();
        for _ in 0..12 {
            sketch.see(1);
        }
        (100..200).for_each(|hash| sketch.see(hash));
        sketch.tend(8);
        assert!((6..=7).contains(&sketch.estimate(1)), "{}", sketch.estimate(1));
    }
}
