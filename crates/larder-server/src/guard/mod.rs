//! Who may do what.
//!
//! Invariants: a secret is kept and compared as a digest only, in time that does not depend on it; whoever has no
//! secret that is known here is nobody, or who is named for that. Rules change as a whole: a request is judged by
//! those that held when it came.
//! Not here: where a request says who it is from (`serve`), the protocols that ask (`rpc`, `http`).

pub mod access;
mod asker;
mod audit;
mod identity;
mod meter;
mod rules;
mod turn;

use std::sync::Arc;

use larder::clock::Clock;
use larder::key::Digest;
use parking_lot::RwLock;

use self::meter::Meters;
pub(crate) use asker::Asker;
pub use audit::{Audit, AuditOptions};
pub(crate) use audit::{Entry, Outcome};
pub use identity::{Allowance, Denied, Identity, Reach, Role};
pub(crate) use meter::{Admission, Exceeded};
pub(crate) use rules::{Credentials, Unknown};
pub use rules::{Deed, Rules, ScopeRules, Token};
pub(crate) use turn::{Asking, Holder, Turns};

/// Who is known here, and by which rules. A clone is another handle.
#[derive(Debug, Clone)]
pub struct Guard {
    rules: Arc<RwLock<Arc<Rules>>>,
    meters: Arc<Meters>,
    turns: Turns,
    audit: Option<Audit>,
    clock: Clock,
}

impl Guard {
    /// One with these rules.
    pub fn new(rules: Rules) -> Self {
        Self {
            rules: Arc::new(RwLock::new(Arc::new(rules))),
            meters: Arc::default(),
            turns: Turns::default(),
            audit: None,
            clock: Clock::system(),
        }
    }

    /// The same, writing down what is done.
    pub fn with_audit(self, audit: Audit) -> Self {
        Self { audit: Some(audit), ..self }
    }

    /// One that lets anybody do anything: for a server that only this machine reaches.
    pub fn open() -> Self {
        Self::new(Rules::open())
    }

    /// One that knows these by their secrets. Who comes without a secret is `anybody`, or is turned away.
    pub fn knowing(
        known: impl IntoIterator<Item = (impl AsRef<[u8]>, Identity)>,
        anybody: Option<Identity>,
    ) -> Self {
        let token = |(secret, identity): (_, Identity)| Token {
            digest: Digest::of(AsRef::as_ref(&secret)),
            identity,
            expires: None,
        };
        Self::new(Rules { tokens: known.into_iter().map(token).collect(), anybody, ..Rules::default() })
    }

    /// The rules that hold now.
    pub fn rules(&self) -> Arc<Rules> {
        Arc::clone(&self.rules.read())
    }

    /// Has other rules hold from now on, for requests to come.
    pub fn replace(&self, rules: Rules) {
        *self.rules.write() = Arc::new(rules);
    }

    /// Whether somebody who is not known may write.
    pub fn is_open(&self) -> bool {
        self.rules().are_open()
    }

    /// Takes a request of somebody, or says that they ask for too much.
    pub(crate) fn admit(&self, identity: &Identity) -> Result<Admission, Exceeded> {
        self.meters.admit(identity, &self.clock)
    }

    /// How many requests wait for somebody else to put what they ask for.
    pub fn waiting(&self) -> u64 {
        self.turns.waiting()
    }

    pub(crate) fn turns(&self) -> &Turns {
        &self.turns
    }

    pub(crate) fn audit(&self) -> Option<&Audit> {
        self.audit.as_ref()
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_that_is_not_known_is_worse_than_none() {
        let reader = Identity::new("reader", [(Reach::Everywhere, Role::Read)]);
        let ci = Identity::new("ci", [(Reach::Everywhere, Role::Write)]);
        let guard = Guard::knowing([("secret", ci)], Some(reader));
        let who = |guard: &Guard, secret: Option<&[u8]>| {
            let identity = guard.rules().identify(Credentials { secret, names: &[] }, guard.clock().wall());
            identity.map(|identity| identity.name().to_string()).ok()
        };
        assert_eq!(who(&guard, Some(b"secret")).as_deref(), Some("ci"));
        assert_eq!(who(&guard, None).as_deref(), Some("reader"));
        assert_eq!(who(&guard, Some(b"Secret")), None);
        assert_eq!(who(&guard, Some(b"")), None);
        assert!(!guard.is_open() && Guard::open().is_open());
        assert!(who(&Guard::open(), Some(b"habit")).is_some());
        guard.replace(Rules::open());
        assert!(guard.is_open());
    }
}
