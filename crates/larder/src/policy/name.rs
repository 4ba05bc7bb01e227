//! Names of the policies, as configuration spells them.

use std::fmt;
use std::str::FromStr;

/// Which policy decides who leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum PolicyName {
    /// Least recently used.
    Lru,
    /// Least frequently used, by W-TinyLFU.
    Lfu,
    /// First in, first out.
    Fifo,
    /// Largest first.
    Size,
    /// S3-FIFO.
    S3Fifo,
    /// Least compute saved per byte.
    #[default]
    Cost,
}

impl PolicyName {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Lru, Self::Lfu, Self::Fifo, Self::Size, Self::S3Fifo, Self::Cost];

    /// The name in configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Lru => "lru",
            Self::Lfu => "lfu",
            Self::Fifo => "fifo",
            Self::Size => "size",
            Self::S3Fifo => "s3-fifo",
            Self::Cost => "cost",
        }
    }
}

impl fmt::Display for PolicyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// No policy has this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("policy {0:?} is none of lru, lfu, fifo, size, s3-fifo, cost")]
pub struct UnknownPolicy(String);

impl FromStr for PolicyName {
    type Err = UnknownPolicy;

    fn from_str(text: &str) -> Result<Self, UnknownPolicy> {
        Self::ALL.into_iter().find(|name| name.as_str() == text).ok_or_else(|| UnknownPolicy(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_reads_back_and_the_error_lists_them_all() {
        for name in PolicyName::ALL {
            assert_eq!(name.to_string().parse(), Ok(name));
            assert!(UnknownPolicy(String::new()).to_string().contains(name.as_str()));
        }
        assert_eq!(
            "LRU".parse::<PolicyName>().unwrap_err().to_string(),
            "policy \"LRU\" is none of lru, lfu, fifo, size, s3-fifo, cost"
        );
    }
}
