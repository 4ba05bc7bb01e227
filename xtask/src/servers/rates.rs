//! How two servers compare that take turns.

use anyhow::Result;

/// What a rival and larder do of something in a second, round by round.
pub(super) struct Rates {
    rival: &'static str,
    theirs: Vec<f64>,
    larders: Vec<f64>,
}

impl Rates {
    pub(super) fn against(rival: &'static str) -> Self {
        Self { rival, theirs: Vec::new(), larders: Vec::new() }
    }

    /// Measures both, in turn, and each first as often as the other.
    pub(super) fn round(
        &mut self,
        nth: usize,
        mut theirs: impl FnMut() -> Result<f64>,
        mut larders: impl FnMut() -> Result<f64>,
    ) -> Result<()> {
        if nth.is_multiple_of(2) {
            self.theirs.push(theirs()?);
            self.larders.push(larders()?);
        } else {
            self.larders.push(larders()?);
            self.theirs.push(theirs()?);
        }
        Ok(())
    }

    /// Median and best of each, and larder's ratio to the rival.
    pub(super) fn told(&self) -> String {
        let (theirs, larders) = (middle_and_best(&self.theirs), middle_and_best(&self.larders));
        format!(
            "{} {:.0} / {:.0}, larder {:.0} / {:.0}, ratio {:.2} / {:.2}",
            self.rival,
            theirs.0,
            theirs.1,
            larders.0,
            larders.1,
            larders.0 / theirs.0,
            larders.1 / theirs.1
        )
    }
}

fn middle_and_best(rates: &[f64]) -> (f64, f64) {
    let mut rates = rates.to_vec();
    rates.sort_by(f64::total_cmp);
    (rates[rates.len() / 2], rates[rates.len() - 1])
}
