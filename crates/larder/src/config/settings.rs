//! The settings themselves, with their defaults.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::error::Fault;
use super::machine::Machine;
use super::schema::nearest;
use super::size::{Amount, ByteSize};
use crate::policy::PolicyName;
use crate::stats::Level;

/// How a cache behaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Which set of defaults was taken.
    pub profile: Profile,
    /// Where the disk tier lives.
    pub dir: PathBuf,
    /// Whether kept answers are used, and new ones kept.
    pub mode: Mode,
    /// Who computes here, in words for people; `None` is the account and the machine.
    pub producer: Option<String>,
    /// How many computations run at once; `None` is as many as there are processors.
    pub jobs: Option<NonZeroUsize>,
    /// The memory tier.
    pub memory: MemorySettings,
    /// The disk tier.
    pub disk: DiskSettings,
    /// The tier that a team shares.
    pub shared: SharedSettings,
    /// Statistics.
    pub stats: StatsSettings,
    /// What differs for one kind, by the kind's name without its version.
    pub kinds: BTreeMap<String, KindSettings>,
    /// What differs for one scope.
    pub scopes: BTreeMap<String, ScopeSettings>,
}

/// The memory tier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemorySettings {
    /// Whether there is one.
    pub enabled: bool,
    /// How many bytes it may hold; `None` goes by the machine, see [`MemorySettings::budget_on`].
    pub budget: Option<Amount>,
    /// How many entries it may hold.
    pub entries: Option<u64>,
    /// Who leaves first.
    pub policy: PolicyName,
}

/// What is taken to be available where that cannot be read.
const UNKNOWN_MEMORY: ByteSize = ByteSize::gib(2);

impl MemorySettings {
    /// How many bytes it may hold on this machine. Without a budget that is a tenth of the available memory, from
    /// 32 MiB to 1 GiB.
    pub fn budget_on(&self, machine: &Machine) -> ByteSize {
        match self.budget {
            Some(budget) => budget.of(machine.memory.unwrap_or(UNKNOWN_MEMORY)),
            None => Amount::Share(1_000)
                .of(machine.memory.unwrap_or(UNKNOWN_MEMORY))
                .clamp(ByteSize::mib(32), ByteSize::gib(1)),
        }
    }
}

/// The disk tier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskSettings {
    /// Whether there is one.
    pub enabled: bool,
    /// How much it may hold; a share is one of the file system's size.
    pub budget: Amount,
    /// How many entries it may hold.
    pub entries: Option<u64>,
    /// How long an entry is kept after its last use.
    pub max_age: Option<Duration>,
    /// How much of the file system is left free.
    pub min_free: Amount,
    /// How much is kept however little of the file system is free.
    pub reserved: Amount,
    /// The zstd level, 1 to 19; 0 does not compress.
    pub compression: u8,
    /// Who leaves first.
    pub policy: PolicyName,
}

/// The tier that a team shares.
#[derive(Clone, PartialEq, Eq)]
pub struct SharedSettings {
    /// Where it is; `None` if there is none.
    pub url: Option<String>,
    /// What says to it who asks, where that does not stand in the URL.
    pub token: Option<Secret>,
    /// Where its blobs are, if that is somewhere else.
    pub blobs: Option<String>,
    /// Whether kept answers are taken from it.
    pub reads: bool,
    /// Whether new ones are sent to it.
    pub writes: bool,
    /// How long a process waits for it in vain before leaving it alone.
    pub patience: Duration,
    /// How long a computation waits at most for another machine that is at the same.
    pub waits: Duration,
    /// How long an entry stays there after it was sent.
    pub max_age: Duration,
    /// How many bytes go there and come from there in a second; `None` is as many as do.
    pub bandwidth: Option<ByteSize>,
    /// Whose certificates are trusted there; `None` for those that this machine trusts.
    pub ca: Option<PathBuf>,
    /// With which certificate this machine says there who it is.
    pub cert: Option<PathBuf>,
    /// The key of that certificate.
    pub key: Option<PathBuf>,
}

impl SharedSettings {
    /// The URL as it may be shown: without its password.
    pub fn shown_url(&self) -> Option<String> {
        self.url.as_deref().map(masked)
    }

    /// The URL of its blobs, likewise.
    pub fn shown_blobs(&self) -> Option<String> {
        self.blobs.as_deref().map(masked)
    }
}

/// A URL without what may be a secret: a password, and parameters with an account in them.
fn masked(url: &str) -> String {
    let (before, query) = url.split_once('?').map_or((url, None), |(before, query)| (before, Some(query)));
    let masked_account = || {
        let (scheme, rest) = before.split_once("://")?;
        let end = rest.find(['/', '#']).unwrap_or(rest.len());
        let (account, host) = rest[..end].rsplit_once('@')?;
        let (user, _) = account.split_once(':')?;
        Some(format!("{scheme}://{user}:***@{host}{}", &rest[end..]))
    };
    let before = masked_account().unwrap_or_else(|| before.to_owned());
    let Some(query) = query else { return before };
    let masked_parameter = |part: &str| match part.split_once('=') {
        Some((name, value)) if value.contains('@') || value.contains("%40") => format!("{name}=***"),
        _ => part.to_owned(),
    };
    let query: Vec<String> = query.split('&').map(masked_parameter).collect();
    format!("{before}?{}", query.join("&"))
}

impl fmt::Debug for SharedSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            url: _,
            token,
            blobs: _,
            reads,
            writes,
            patience,
            waits,
            max_age,
            bandwidth,
            ca,
            cert,
            key,
        } = self;
        let (url, blobs) = (self.shown_url(), self.shown_blobs());
        let mut all = f.debug_struct("SharedSettings");
        all.field("url", &url).field("token", token).field("blobs", &blobs);
        all.field("reads", reads).field("writes", writes).field("patience", patience);
        all.field("waits", waits).field("max_age", max_age).field("bandwidth", bandwidth);
        all.field("ca", ca).field("cert", cert).field("key", key).finish()
    }
}

/// A text that is shown nowhere.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes a text that is to be shown nowhere.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for whoever it is meant for.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Statistics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatsSettings {
    /// How much is counted.
    pub level: Level,
    /// How long the history is kept.
    pub history: Duration,
}

/// What differs for one kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KindSettings {
    /// How many bytes of memory its entries may take.
    pub budget: Option<ByteSize>,
    /// How long an entry is kept after it was made.
    pub max_age: Option<Duration>,
}

/// What differs for one scope.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ScopeSettings {
    /// How many bytes of memory its entries may take.
    pub budget: Option<ByteSize>,
}

impl Settings {
    /// The defaults, with the disk tier in `dir`.
    pub fn new(dir: PathBuf) -> Self {
        Self {
            profile: Profile::Development,
            dir,
            mode: Mode::ReadWrite,
            producer: None,
            jobs: None,
            memory: MemorySettings { enabled: true, budget: None, entries: None, policy: PolicyName::Cost },
            disk: DiskSettings {
                enabled: true,
                budget: Amount::Bytes(ByteSize::gib(10)),
                entries: None,
                max_age: None,
                min_free: Amount::Share(500),
                reserved: Amount::Bytes(ByteSize::gib(1)),
                compression: 1,
                policy: PolicyName::Cost,
            },
            shared: SharedSettings {
                url: None,
                token: None,
                blobs: None,
                reads: true,
                writes: true,
                patience: Duration::from_millis(75),
                waits: Duration::from_secs(600),
                max_age: Duration::from_secs(30 * 86_400),
                bandwidth: None,
                ca: None,
                cert: None,
                key: None,
            },
            stats: StatsSettings { level: Level::Full, history: Duration::from_secs(30 * 86_400) },
            kinds: BTreeMap::new(),
            scopes: BTreeMap::new(),
        }
    }
}

/// Makes an enum of words: its text forms, its list of choices, and a fault that suggests the nearest.
macro_rules! choice {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)+
        }

        impl $name {
            /// The words for them.
            pub const CHOICES: &[&str] = &[$($text),+];

            /// The word for it.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = Fault;

            fn from_str(text: &str) -> Result<Self, Fault> {
                match text {
                    $($text => Ok(Self::$variant),)+
                    _ => Err(Fault::Choice {
                        text: text.to_owned(),
                        choices: Self::CHOICES,
                        suggestion: nearest(text, Self::CHOICES.iter().copied()),
                    }),
                }
            }
        }
    };
}

choice! {
    /// A set of defaults.
    Profile {
        /// The defaults as they are.
        Development = "development",
        /// A machine that serves: more memory and disk, a longer history.
        Production = "production",
        /// A machine that builds once and is thrown away or shared: less disk, better compression, old entries
        /// leave.
        Ci = "ci",
    }
}

impl Profile {
    /// Settings that differ from the defaults, with their texts.
    pub fn assignments(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Development => &[],
            Self::Production => {
                &[("memory.budget", "25%"), ("disk.budget", "50 GiB"), ("stats.history", "60 d")]
            }
            Self::Ci => &[
                ("disk.budget", "5 GiB"),
                ("disk.max_age", "7 d"),
                ("disk.compression", "3"),
                ("stats.history", "7 d"),
            ],
        }
    }
}

choice! {
    /// Whether kept answers are used, and new ones kept.
    Mode {
        /// Neither: everything is computed.
        Off = "off",
        /// Kept answers are used, new ones are not kept.
        Read = "read",
        /// Kept answers are not used, new ones are kept.
        Write = "write",
        /// Both.
        ReadWrite = "read-write",
    }
}

impl Mode {
    /// Whether kept answers are used.
    pub fn reads(self) -> bool {
        matches!(self, Self::Read | Self::ReadWrite)
    }

    /// Whether new answers are kept.
    pub fn writes(self) -> bool {
        matches!(self, Self::Write | Self::ReadWrite)
    }
}
