//! What came of checks and tests, in the words of cargo's own test runner, so that whoever reads those can read
//! this.
//!
//! Invariant: the closing line counts each check and each test that ran, and nothing else.

use std::time::Instant;

/// Counts what ran. Lines appear as things end.
pub(crate) struct Report {
    start: Instant,
    totals: Totals,
    failed: Vec<String>,
}

/// The numbers of a `test result:` line.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) ignored: u64,
    pub(crate) measured: u64,
    pub(crate) filtered_out: u64,
}

impl Totals {
    /// Reads the numbers of a line that cargo's test runner closes a binary with; `None` for any other line.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let (_, counts) = line.strip_prefix("test result: ")?.split_once(". ")?;
        let mut totals = Self::default();
        for part in counts.split("; ") {
            let Some((number, what)) = part.split_once(' ') else { continue };
            let field = match what {
                "passed" => &mut totals.passed,
                "failed" => &mut totals.failed,
                "ignored" => &mut totals.ignored,
                "measured" => &mut totals.measured,
                "filtered out" => &mut totals.filtered_out,
                _ => continue,
            };
            *field = number.parse().ok()?;
        }
        Some(totals)
    }
}

impl Report {
    pub(crate) fn start() -> Self {
        Self { start: Instant::now(), totals: Totals::default(), failed: Vec::new() }
    }

    /// Records one check: it passed if there is no finding.
    pub(crate) fn check(&mut self, name: &str, findings: &[String]) {
        for finding in findings {
            println!("  {finding}");
        }
        if findings.is_empty() {
            println!("test {name} ... ok");
            self.totals.passed += 1;
        } else {
            println!("test {name} ... FAILED");
            self.totals.failed += 1;
            self.failed.push(name.to_owned());
        }
    }

    /// Adds what a test binary counted.
    pub(crate) fn add(&mut self, totals: Totals) {
        self.totals.passed += totals.passed;
        self.totals.failed += totals.failed;
        self.totals.ignored += totals.ignored;
        self.totals.measured += totals.measured;
        self.totals.filtered_out += totals.filtered_out;
    }

    /// Number of failures so far.
    pub(crate) fn failures(&self) -> u64 {
        self.totals.failed
    }

    /// Prints the closing line and says whether all is well.
    pub(crate) fn close(self) -> bool {
        if !self.failed.is_empty() {
            println!("\nfailures:");
            for name in &self.failed {
                println!("    {name}");
            }
        }
        let Totals { passed, failed, ignored, measured, filtered_out } = self.totals;
        let verdict = if failed == 0 { "ok" } else { "FAILED" };
        println!(
            "\ntest result: {verdict}. {passed} passed; {failed} failed; {ignored} ignored; {measured} measured; \
             {filtered_out} filtered out; finished in {:.2}s",
            self.start.elapsed().as_secs_f64()
        );
        failed == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_of_a_closing_line_are_read_and_other_lines_are_not() {
        let line = "test result: FAILED. 12 passed; 1 failed; 2 ignored; 0 measured; 3 filtered out; finished in 0.31s";
        let totals = Totals { passed: 12, failed: 1, ignored: 2, measured: 0, filtered_out: 3 };
        assert_eq!(Totals::parse(line), Some(totals));
        assert_eq!(Totals::parse("test result::tests::x ... ok"), None);
        assert_eq!(Totals::parse("running 3 tests"), None);
    }
}
