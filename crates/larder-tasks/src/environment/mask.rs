//! Masking: secret values replaced in a stream of bytes, also where a value is cut across chunks.
//!
//! Invariant: no byte of a secret's occurrence is given out. Bytes that may be the start of one are held back
//! until the next chunk decides, so at most one secret's length is ever held.
//! Not found are secrets that a program has encoded first, as in base64.

/// What stands where a secret stood.
const STARS: &[u8] = b"***";

/// Replaces secrets in one stream.
#[derive(Clone)]
pub struct Mask {
    secrets: Vec<Vec<u8>>,
    held: Vec<u8>,
    /// How many bytes at the start of `held` belong to a secret that has already been replaced.
    covered: usize,
    /// Whether the last decided byte was replaced.
    replacing: bool,
}

impl Mask {
    /// Masks these values, and each line of those that have several.
    pub(super) fn new(values: &[Vec<u8>]) -> Self {
        let mut secrets: Vec<Vec<u8>> = Vec::new();
        for value in values {
            secrets.push(value.clone());
            // A final newline is lost in `$(…)`, and keys in PEM form are printed line by line.
            secrets.extend(value.split(|byte| *byte == b'\n').map(|line| line.trim_ascii().to_vec()));
        }
        secrets.retain(|secret| !secret.trim_ascii().is_empty());
        secrets.sort();
        secrets.dedup();
        Self { secrets, held: Vec::new(), covered: 0, replacing: false }
    }

    /// A mask of nothing.
    pub(crate) fn none() -> Self {
        Self::new(&[])
    }

    /// Takes a chunk and appends to `out` what is decided.
    pub fn push(&mut self, chunk: &[u8], out: &mut Vec<u8>) {
        if self.secrets.is_empty() {
            out.extend_from_slice(chunk);
            return;
        }
        self.held.extend_from_slice(chunk);
        let decided = self.decide(false, out);
        self.held.drain(..decided);
    }

    /// Ends the stream: nothing more can complete a secret.
    pub fn finish(mut self, out: &mut Vec<u8>) {
        self.decide(true, out);
    }

    /// Masks what can be decided and returns how many bytes that was.
    fn decide(&mut self, last: bool, out: &mut Vec<u8>) -> usize {
        let mut at = 0;
        while at < self.held.len() {
            let rest = &self.held[at..];
            let longest = self.secrets.iter().filter(|s| rest.starts_with(s)).map(Vec::len).max();
            let open = !last && self.secrets.iter().any(|s| s.len() > rest.len() && s.starts_with(rest));
            if open {
                break;
            }
            // Secrets that overlap or touch become one mask, so that no tail of one shows.
            self.covered = self.covered.max(longest.unwrap_or(0));
            if self.covered == 0 {
                out.push(self.held[at]);
                self.replacing = false;
            } else {
                if !self.replacing {
                    out.extend_from_slice(STARS);
                }
                self.replacing = true;
                self.covered -= 1;
            }
            at += 1;
        }
        at
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn masked(secrets: &[&str], chunks: &[&[u8]]) -> String {
        let secrets: Vec<Vec<u8>> = secrets.iter().map(|secret| secret.as_bytes().to_vec()).collect();
        let mut mask = Mask::new(&secrets);
        let mut out = Vec::new();
        for chunk in chunks {
            mask.push(chunk, &mut out);
        }
        mask.finish(&mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn a_secret_is_masked_wherever_the_chunks_are_cut() {
        let text = b"token=hunter2, again hunter2!";
        for cut in 0..text.len() {
            let (a, b) = text.split_at(cut);
            assert_eq!(masked(&["hunter2"], &[a, b]), "token=***, again ***!", "cut at {cut}");
        }
    }

    #[test]
    fn overlapping_nested_and_many_line_secrets_leave_nothing() {
        assert_eq!(masked(&["abcd", "cdef"], &[b"xabcdefx"]), "x***x");
        assert_eq!(masked(&["ab", "abcd"], &[b"abc abcd ab"]), "***c *** ***");
        assert_eq!(masked(&["one\ntwo\n"], &[b"<one> <two>\none\ntwo\n."]), "<***> <***>\n***.");
        assert_eq!(masked(&["", "\n"], &[b"a\nb"]), "a\nb");
        assert_eq!(masked(&["abc"], &[b"ab"]), "ab");
    }

    proptest! {
        #[test]
        fn no_secret_remains_and_nothing_else_is_lost(
            text in "[ab]{0,40}", secret in "[ab]{2,5}", cuts in proptest::collection::vec(0usize..40, 0..5)
        ) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.sort_unstable();
            let mut chunks = Vec::new();
            let mut from = 0;
            for cut in cuts.into_iter().chain([text.len()]) {
                chunks.push(&text.as_bytes()[from..cut]);
                from = cut;
            }
            let out = masked(&[&secret], &chunks);
            // The reference marks every byte of every occurrence, overlapping ones too.
            let mut hidden = vec![false; text.len()];
            for at in 0..text.len() {
                if text[at..].starts_with(&secret) {
                    hidden[at..at + secret.len()].fill(true);
                }
            }
            let mut expected = String::new();
            for (at, byte) in text.bytes().enumerate() {
                if !hidden[at] {
                    expected.push(byte as char);
                } else if at == 0 || !hidden[at - 1] {
                    expected.push_str("***");
                }
            }
            prop_assert_eq!(out, expected);
        }
    }
}
