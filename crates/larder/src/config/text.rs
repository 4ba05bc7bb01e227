//! Text forms of values that have no type of their own.

use std::time::Duration;

use super::error::Fault;
use super::size::{scaled, split_unit};

/// Units, largest first, each with its milliseconds.
const UNITS: [(&str, u64); 6] =
    [("w", 7 * 86_400_000), ("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1_000), ("ms", 1)];

/// Reads `30 d`, `1.5 h`, `90 min`, `10 s`, `250 ms`, `2 w`.
pub fn parse_duration(text: &str) -> Result<Duration, Fault> {
    let bad = || Fault::Duration { text: text.to_owned() };
    let (number, unit) = split_unit(text).ok_or_else(bad)?;
    // "m" could be months as well, and is what most people write for minutes.
    let unit = if unit == "m" { "min" } else { unit };
    let (_, millis) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(bad)?;
    scaled(number, *millis).map(Duration::from_millis).ok_or_else(bad)
}

/// Writes what [`parse_duration`] reads, in the largest unit that divides it; what is below a millisecond is cut.
pub fn duration_text(duration: Duration) -> String {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let fits = |(_, unit): &&(&str, u64)| millis >= *unit && millis.is_multiple_of(*unit);
    let (name, unit) = UNITS.iter().find(fits).unwrap_or(&("ms", 1));
    format!("{} {name}", millis / unit)
}

/// Reads a duration or a word for none.
pub(super) fn parse_limit_of_time(text: &str) -> Result<Option<Duration>, Fault> {
    if text == "never" { Ok(None) } else { parse_duration(text).map(Some) }
}

pub(super) fn limit_of_time(limit: Option<Duration>) -> String {
    limit.map_or("never".to_owned(), duration_text)
}

/// Reads a positive number or a word for none.
pub(super) fn parse_limit_of_number(text: &str) -> Result<Option<u64>, Fault> {
    if text == "unlimited" {
        return Ok(None);
    }
    let number = text.parse().ok().filter(|number: &u64| *number > 0);
    number.map(Some).ok_or_else(|| Fault::Number {
        text: text.to_owned(),
        expected: "a number from 1 on or \"unlimited\"",
    })
}

pub(super) fn limit_of_number(limit: Option<u64>) -> String {
    limit.map_or("unlimited".to_owned(), |limit| limit.to_string())
}

pub(super) fn parse_switch(text: &str) -> Result<bool, Fault> {
    // Variables and flags have no booleans of their own, so their usual spellings are taken as well.
    match text {
        "true" | "1" | "on" | "yes" => Ok(true),
        "false" | "0" | "off" | "no" => Ok(false),
        _ => Err(Fault::Choice { text: text.to_owned(), choices: &["true", "false"], suggestion: None }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_back_from_their_text() {
        for (text, millis, shown) in [
            ("30 d", 30 * 86_400_000, "30 d"),
            ("90m", 90 * 60_000, "90 min"),
            ("1.5 h", 90 * 60_000, "90 min"),
            ("14 d", 14 * 86_400_000, "2 w"),
            ("0 s", 0, "0 ms"),
        ] {
            assert_eq!(parse_duration(text).unwrap(), Duration::from_millis(millis), "{text}");
            assert_eq!(duration_text(Duration::from_millis(millis)), shown);
            assert_eq!(parse_duration(shown).unwrap(), Duration::from_millis(millis));
        }
        for text in ["", "5", "d", "5 months", "-1 s", "99999999999999 w"] {
            assert_eq!(parse_duration(text), Err(Fault::Duration { text: text.into() }));
        }
    }
}
