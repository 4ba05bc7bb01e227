//! Kinds: what the engine has to know about one sort of answer in one scope.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Larder;
use crate::key::{Canonical, CanonicalError, Digest, Key, KeyError, KindName, Scope};
use crate::stats::Series;

/// What can be kept: anything that serde can write and read back.
///
/// Stored in postcard's wire format, so a change of the type is a new version of its kind.
pub trait Value: Serialize + DeserializeOwned + Send + Sync + 'static {}

impl<T: Serialize + DeserializeOwned + Send + Sync + 'static> Value for T {}

/// When a kept answer may still be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Validity {
    /// Always: the key is the digest of all inputs.
    #[default]
    Immutable,
    /// For `fresh` after it was computed; then, until `stale` after it was computed, once more while it is
    /// computed anew in the background. `stale` at or below `fresh` means never stale.
    Expiring {
        /// How long it is as good as new.
        fresh: Duration,
        /// How long it may be given at all.
        stale: Duration,
    },
}

impl Validity {
    /// How long an answer may be given at all.
    pub(super) fn lifetime(self) -> Option<Duration> {
        match self {
            Self::Immutable => None,
            Self::Expiring { fresh, stale } => Some(fresh.max(stale)),
        }
    }
}

/// When an answer reaches the tiers below memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Write {
    /// Behind the caller's back, through a bounded queue that [`Larder::close`] drains. Answers still in it when
    /// the process is killed are lost to the tiers, and so are those that a full queue turned away.
    #[default]
    Behind,
    /// Before the caller gets the answer, which then says whether it was kept. Only the far tier gets it behind.
    Through,
    /// The same, and the far tier has it too by then, unless that fails or is left alone: for a server whose word
    /// that something is kept has to hold when its machine is gone.
    Everywhere,
}

/// Whose computations a computation waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Exclusion {
    /// Those of this process.
    #[default]
    Process,
    /// Those of all processes that share a tier which can lease keys: for what takes long.
    Machine,
    /// Those of all machines that share a tier, too, for kinds that reach the team.
    Team,
}

/// How far answers go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reach {
    /// They stay on this machine.
    #[default]
    Machine,
    /// They go to the tier that a team shares, and come from there: for kinds whose keys and values are the same
    /// wherever they are computed, and tell nothing that the team must not know. No id may hold a secret or an
    /// absolute path.
    Team,
}

/// What the engine has to know about a kind. `KindOptions::default()` keeps answers for ever, writes them
/// behind, has no time limit and keeps no errors.
pub struct KindOptions<T> {
    /// When a kept answer may still be given.
    pub validity: Validity,
    /// How long an answer stays in memory without being asked for; the tiers below have limits of their own.
    pub idle_after: Option<Duration>,
    /// When it reaches the tiers below memory.
    pub write: Write,
    /// Whose computations a computation waits for.
    pub exclusion: Exclusion,
    /// How far its answers go.
    pub reach: Reach,
    /// How long a computation may take; above that it is cancelled.
    pub timeout: Option<Duration>,
    /// How long an error is kept, in memory only, and given to whoever asks again.
    pub keep_errors_for: Option<Duration>,
    /// How many bytes of memory a value takes, where that is not near the length of its encoded form.
    pub weigh: Option<fn(&T) -> u64>,
}

impl<T> Default for KindOptions<T> {
    fn default() -> Self {
        Self {
            validity: Validity::default(),
            idle_after: None,
            write: Write::default(),
            exclusion: Exclusion::default(),
            reach: Reach::default(),
            timeout: None,
            keep_errors_for: None,
            weigh: None,
        }
    }
}

impl<T> Clone for KindOptions<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for KindOptions<T> {}

impl<T> fmt::Debug for KindOptions<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KindOptions")
            .field("validity", &self.validity)
            .field("idle_after", &self.idle_after)
            .field("write", &self.write)
            .field("exclusion", &self.exclusion)
            .field("reach", &self.reach)
            .field("timeout", &self.timeout)
            .field("keep_errors_for", &self.keep_errors_for)
            .finish_non_exhaustive()
    }
}

/// Answers of one kind in one scope: the handle through which they are asked for, kept and refreshed.
///
/// A clone is a few reference counts. Make one handle and keep it: making one looks up the kind's statistics.
pub struct Kind<T> {
    pub(super) larder: Larder,
    pub(super) scope: Scope,
    pub(super) name: KindName,
    pub(super) options: KindOptions<T>,
    pub(super) series: Arc<Series>,
    pub(super) groups: super::Groups,
    /// How long the configuration lets an answer be kept.
    pub(super) max_age: Option<Duration>,
    value: PhantomData<fn() -> T>,
}

impl<T: Value> Kind<T> {
    pub(super) fn new(larder: &Larder, scope: &Scope, name: KindName, options: KindOptions<T>) -> Self {
        let series = larder.stats().series(scope, &name);
        let groups = larder.groups(scope, &name);
        let max_age = larder.limits_of(&name).max_age;
        if options.reach == Reach::Team && larder.shared.far.is_some() {
            larder.shared.team_kinds.write().insert(name.clone());
        }
        let (larder, scope) = (larder.clone(), scope.clone());
        Self { larder, scope, name, options, series, groups, max_age, value: PhantomData }
    }

    /// How long an answer may be given at all, by its validity and by the configuration.
    pub(super) fn lifetime(&self) -> Option<Duration> {
        [self.options.validity.lifetime(), self.max_age].into_iter().flatten().min()
    }

    /// The kind's name and version.
    pub fn name(&self) -> &KindName {
        &self.name
    }

    /// The scope.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// The key of an answer with a readable name.
    pub fn key(&self, id: &str) -> Result<Key, KeyError> {
        Key::new(&self.scope, &self.name, id)
    }

    /// The key of an answer whose inputs have this digest.
    pub fn key_of_digest(&self, id: Digest) -> Key {
        Key::of_digest(&self.scope, &self.name, id)
    }

    /// The key of an answer to `params`, written by `rules`.
    pub fn key_of<P: Serialize + ?Sized>(
        &self,
        params: &P,
        rules: &Canonical,
    ) -> Result<Key, CanonicalError> {
        Ok(self.key_of_digest(rules.digest(params)?))
    }
}

impl<T> Clone for Kind<T> {
    fn clone(&self) -> Self {
        Self {
            larder: self.larder.clone(),
            scope: self.scope.clone(),
            name: self.name.clone(),
            options: self.options,
            series: Arc::clone(&self.series),
            groups: self.groups,
            max_age: self.max_age,
            value: PhantomData,
        }
    }
}

impl<T> fmt::Debug for Kind<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Kind({}/{})", self.scope, self.name)
    }
}
