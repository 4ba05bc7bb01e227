//! What can happen to be counted: places, causes and outcomes, and how much of it is counted at all.
//!
//! Invariant: a name printed here is the name in reports, metrics labels and stored statistics, and the order of
//! variants decides stored numbers: append, never reorder.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use crate::key::{IdPattern, Selector};

/// Makes an enum whose variants have a name each.
macro_rules! named {
    ($(#[$outer:meta])* pub enum $Name:ident { $($(#[$inner:meta])* $Variant:ident => $text:literal,)+ }) => {
        $(#[$outer])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $Name { $($(#[$inner])* $Variant,)+ }

        impl $Name {
            /// All of them, in order.
            pub const ALL: [Self; [$(Self::$Variant),+].len()] = [$(Self::$Variant),+];

            /// Its name in reports and metrics.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$Variant => $text,)+ }
            }
        }

        impl fmt::Display for $Name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl Serialize for $Name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }
    };
}
pub(super) use named;

named! {
    /// Where an answer was kept.
    pub enum Place {
        /// In this process.
        Memory => "memory",
        /// On this machine.
        Disk => "disk",
        /// In a store that a team shares.
        Shared => "shared",
    }
}

named! {
    /// Why an entry left a tier, other than by an invalidation.
    pub enum EvictionCause {
        /// The tier's budget in bytes or entries was used up.
        Capacity => "capacity",
        /// A new value took its place.
        Replaced => "replaced",
        /// It ended to hold.
        Expired => "expired",
        /// Nobody asked for it for too long.
        Idle => "idle",
        /// Its scope's or kind's quota was used up.
        Quota => "quota",
        /// The budget was made smaller.
        Resized => "resized",
    }
}

named! {
    /// Why an answer was returned but not kept.
    pub enum RefusalCause {
        /// An invalidation covered its key while it was computed.
        Revoked => "revoked",
        /// What it was computed from changed meanwhile.
        InputsChanged => "inputs-changed",
        /// A blob that it names is not there.
        MissingBlob => "missing-blob",
        /// It is larger than the tier may ever hold.
        TooLarge => "too-large",
        /// The tier may not be written to.
        ReadOnly => "read-only",
        /// It is larger than its scope's or kind's quota.
        OverQuota => "over-quota",
        /// Entries that were being stored at the same time took all the room.
        Crowded => "crowded",
        /// The tier has no room left, and makes none.
        NoRoom => "no-room",
    }
}

named! {
    /// How a computation ended.
    pub enum Computed {
        /// With an answer.
        Finished => "finished",
        /// With an error or a panic.
        Failed => "failed",
        /// Nobody wanted the answer any more.
        Cancelled => "cancelled",
        /// It took longer than it may.
        TimedOut => "timed-out",
    }
}

named! {
    /// How an invalidation selected its entries: by the narrowest thing that it named.
    pub enum SelectorForm {
        /// One key.
        Key => "key",
        /// Ids that begin so, or one id in several scopes or kinds.
        Prefix => "prefix",
        /// Ids that match a pattern.
        Glob => "glob",
        /// A tag.
        Tag => "tag",
        /// Not used since.
        Unused => "unused",
        /// A kind or one version of it.
        Kind => "kind",
        /// A scope.
        Scope => "scope",
        /// Everything.
        All => "all",
        /// Any of these, and what depends on it.
        Dependents => "dependents",
    }
}

impl SelectorForm {
    /// The form of a selector.
    pub fn of(selector: &Selector) -> Self {
        if selector.has_dependents() {
            return Self::Dependents;
        }
        if selector.as_key().is_some() {
            return Self::Key;
        }
        match selector.id() {
            IdPattern::Exact(_) | IdPattern::Prefix(_) => Self::Prefix,
            IdPattern::Glob(..) => Self::Glob,
            IdPattern::Any if selector.tag().is_some() => Self::Tag,
            IdPattern::Any if selector.unused_before().is_some() => Self::Unused,
            IdPattern::Any if selector.kind().0.is_some() => Self::Kind,
            IdPattern::Any if selector.scope().is_some() => Self::Scope,
            IdPattern::Any => Self::All,
        }
    }
}

named! {
    /// How much is counted.
    ///
    /// | level | counters, history | latencies and sizes, hot keys | of memory hits |
    /// |---|---|---|---|
    /// | `off` | nothing | nothing | nothing |
    /// | `counters` | each event | nothing | nothing |
    /// | `sampled` | each event | 1 in 16 | 1 in 4,096 |
    /// | `full` | each event | each | 1 in 512 |
    ///
    /// Memory hits are sampled also at `full`: reading the clock twice costs more than the hit. Sizes of what is put
    /// into memory are sampled 1 in 16. Which ones is random, so that a loop over keys can't keep step with the
    /// sampling.
    #[derive(Default)]
    pub enum Level {
        /// Nothing is counted.
        Off => "off",
        /// Events are counted; nothing is timed.
        Counters => "counters",
        /// Events are counted; few are timed.
        Sampled => "sampled",
        /// All that can be measured for under a tenth of a memory hit.
        #[default]
        Full => "full",
    }
}

impl Level {
    /// One in how many memory hits is timed and counted for hot keys; `None` if none is.
    pub const fn memory_stride(self) -> Option<u32> {
        match self {
            Self::Off | Self::Counters => None,
            Self::Sampled => Some(4096),
            Self::Full => Some(512),
        }
    }

    /// One in how many of all other operations is; `None` if none is. Of those, each of the first few thousand requests
    /// of a thread counts for hot keys, and after them one in 64 for all.
    pub const fn stride(self) -> Option<u32> {
        match self {
            Self::Off | Self::Counters => None,
            Self::Sampled => Some(16),
            Self::Full => Some(1),
        }
    }
}

/// The text is not a level of statistics.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("statistics level {0:?} must be off, counters, sampled or full")]
pub struct ParseLevelError(String);

impl FromStr for Level {
    type Err = ParseLevelError;

    fn from_str(text: &str) -> Result<Self, ParseLevelError> {
        let level = Self::ALL.into_iter().find(|level| level.as_str() == text);
        level.ok_or_else(|| ParseLevelError(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_reads_back_from_its_name_and_others_are_refused() {
        for level in Level::ALL {
            assert_eq!(level.to_string().parse(), Ok(level));
        }
        let refused = "Full".parse::<Level>().unwrap_err();
        assert_eq!(refused.to_string(), "statistics level \"Full\" must be off, counters, sampled or full");
    }

    #[test]
    fn a_selector_counts_under_the_narrowest_thing_that_it_names() {
        let form = |text: &str| SelectorForm::of(&text.parse().unwrap()).as_str();
        let texts = [
            "a/k@1/x",
            "key:*/k@1/x",
            "prefix:a/k@1/x",
            "glob:a/*/x*\u{1f}tag:t",
            "tag:t",
            "any:a/k\u{1f}older:3",
            "kind:k",
            "scope:a",
            "all",
        ];
        let forms = ["key", "prefix", "prefix", "glob", "tag", "unused", "kind", "scope", "all"];
        assert_eq!(texts.map(form), forms);
    }
}
