//! Sizes in bytes and shares of a whole, with their text forms.

use std::fmt;
use std::str::FromStr;

use super::error::Fault;

/// A number of bytes. Its text form has a unit: `512 MiB`, `1.5 GB`, `0 B`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ByteSize(pub u64);

/// Units, smallest first. Decimal and binary ones are told apart by the `i`.
const UNITS: [(&str, u64); 9] = [
    ("B", 1),
    ("kB", 1_000),
    ("KiB", 1 << 10),
    ("MB", 1_000_000),
    ("MiB", 1 << 20),
    ("GB", 1_000_000_000),
    ("GiB", 1 << 30),
    ("TB", 1_000_000_000_000),
    ("TiB", 1 << 40),
];

impl ByteSize {
    /// `n` MiB.
    pub const fn mib(n: u64) -> Self {
        Self(n << 20)
    }

    /// `n` GiB.
    pub const fn gib(n: u64) -> Self {
        Self(n << 30)
    }
}

/// The exact value, in the largest unit that divides it.
impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |(_, bytes): &&(&str, u64)| self.0 >= *bytes && self.0.is_multiple_of(*bytes);
        let (unit, bytes) = UNITS.iter().rev().find(fits).unwrap_or(&UNITS[0]);
        f.pad(&format!("{} {unit}", self.0 / bytes))
    }
}

impl FromStr for ByteSize {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        let (number, unit) = split_unit(text).ok_or_else(|| Fault::Size { text: text.to_owned() })?;
        // "KB" is the one other spelling that people use and that cannot be misread.
        let unit = if unit == "KB" { "kB" } else { unit };
        let Some((_, bytes)) = UNITS.iter().find(|(name, _)| *name == unit) else {
            let close = UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit));
            let close = close.or_else(|| UNITS.iter().find(|(name, _)| name[..1].eq_ignore_ascii_case(unit)));
            let suggestion = close.map(|(name, _)| format!("{number} {name}"));
            return Err(Fault::SizeUnit { text: text.to_owned(), suggestion });
        };
        scaled(number, *bytes).map(Self).ok_or_else(|| Fault::Size { text: text.to_owned() })
    }
}

/// Cuts "1.5 GiB" into "1.5" and "GiB"; `None` without a number.
pub(super) fn split_unit(text: &str) -> Option<(&str, &str)> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.' && c != '_').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    number.starts_with(|c: char| c.is_ascii_digit()).then(|| (number, unit.trim_start()))
}

/// A decimal number times a scale, exactly, in whole units; `None` if it has a remainder too small to count, does
/// not fit or is no number.
pub(super) fn scaled(number: &str, scale: u64) -> Option<u64> {
    let number = number.replace('_', "");
    let (whole, fraction) = number.split_once('.').unwrap_or((&number, ""));
    let whole: u64 = whole.parse().ok()?;
    let mut value = u128::from(whole) * u128::from(scale);
    if !fraction.is_empty() {
        let digits: u128 = fraction.parse().ok().filter(|_| fraction.len() <= 9)?;
        value += digits * u128::from(scale) / 10u128.pow(fraction.len() as u32);
    }
    u64::try_from(value).ok()
}

/// A number of bytes, or a share of what there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Amount {
    /// That many.
    Bytes(ByteSize),
    /// Hundredths of a percent of the whole, 1 to 10,000.
    Share(u16),
}

impl Amount {
    /// How many bytes that is of `whole`.
    pub fn of(self, whole: ByteSize) -> ByteSize {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Share(share) => ByteSize((u128::from(whole.0) * u128::from(share) / 10_000) as u64),
        }
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => bytes.fmt(f),
            Self::Share(share) if share % 100 == 0 => f.pad(&format!("{}%", share / 100)),
            Self::Share(share) => f.pad(&format!("{}%", f64::from(*share) / 100.0)),
        }
    }
}

impl FromStr for Amount {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        let Some(number) = text.trim().strip_suffix('%') else { return text.parse().map(Self::Bytes) };
        let share = scaled(number.trim_end(), 100).filter(|share| (1..=10_000).contains(share));
        let share = share.and_then(|share| u16::try_from(share).ok());
        share.map(Self::Share).ok_or_else(|| Fault::Share { text: text.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_back_from_their_text() {
        for (text, bytes, shown) in [
            ("0 B", 0, "0 B"),
            ("512MiB", 512 << 20, "512 MiB"),
            ("1.5 GiB", 3 << 29, "1536 MiB"),
            ("10 GB", 10_000_000_000, "10 GB"),
            ("1_000 KB", 1_000_000, "1 MB"),
            (" 7 B ", 7, "7 B"),
        ] {
            assert_eq!(text.parse::<ByteSize>().unwrap(), ByteSize(bytes), "{text}");
            assert_eq!(ByteSize(bytes).to_string(), shown);
            assert_eq!(shown.parse::<ByteSize>().unwrap(), ByteSize(bytes));
        }
    }

    #[test]
    fn sizes_without_a_known_unit_or_without_a_number_are_refused() {
        let check = |text: &str| text.parse::<ByteSize>().unwrap_err();
        let unit = |text: &str, suggestion: Option<&str>| Fault::SizeUnit {
            text: text.into(),
            suggestion: suggestion.map(str::to_owned),
        };
        assert_eq!(check("512 Mb"), unit("512 Mb", Some("512 MB")));
        assert_eq!(check("4 g"), unit("4 g", Some("4 GB")));
        assert_eq!(check("512"), unit("512", None));
        for text in [
            "",
            "MiB",
            "-1 MiB",
            "1.2.3 MiB",
            "99999999999 TiB",
            "1e3 MB".trim_start_matches("1e3 "),
            "NaN B",
        ] {
            assert_eq!(check(text), Fault::Size { text: text.into() });
        }
    }

    #[test]
    fn shares_are_between_nothing_and_all() {
        assert_eq!("12.5%".parse::<Amount>().unwrap(), Amount::Share(1250));
        assert_eq!(Amount::Share(1250).to_string(), "12.5%");
        assert_eq!(Amount::Share(1000).of(ByteSize(999)), ByteSize(99));
        assert_eq!("1 GiB".parse::<Amount>().unwrap().of(ByteSize(5)), ByteSize::gib(1));
        for text in ["0%", "101%", "%", "ten%"] {
            assert_eq!(text.parse::<Amount>().unwrap_err(), Fault::Share { text: text.into() });
        }
    }
}
