//! Who may do what.
//!
//! Invariants: a secret is kept and compared as a digest only, in time that does not depend on it; whoever has no
//! secret that is known here is nobody, or who is named for that.
//! Not here: where a request says who it is from (`serve`), the protocols that ask (`rpc`, `http`).

mod identity;

use larder::key::Digest;
use subtle::ConstantTimeEq;

pub use identity::{Denied, Identity, Reach, Role};

/// Who is known here.
#[derive(Debug)]
pub struct Guard {
    known: Vec<(Digest, Identity)>,
    anybody: Option<Identity>,
}

impl Guard {
    /// One that lets anybody do anything: for a server that only this machine reaches.
    pub fn open() -> Self {
        let anybody = Identity::new("anybody", [(Reach::Everywhere, Role::Admin)]);
        Self { known: Vec::new(), anybody: Some(anybody) }
    }

    /// One that knows these by their secrets. Who comes without a secret is `anybody`, or is turned away.
    pub fn knowing(
        known: impl IntoIterator<Item = (impl AsRef<[u8]>, Identity)>,
        anybody: Option<Identity>,
    ) -> Self {
        let digest = |(secret, identity): (_, Identity)| (Digest::of(AsRef::as_ref(&secret)), identity);
        Self { known: known.into_iter().map(digest).collect(), anybody }
    }

    /// Whether somebody without a secret may write.
    pub fn is_open(&self) -> bool {
        self.anybody.as_ref().is_some_and(Identity::may_write_somewhere)
    }

    /// Who has this secret. A wrong one is worse than none.
    pub fn identify(&self, secret: Option<&[u8]>) -> Option<Identity> {
        let Some(secret) = secret else { return self.anybody.clone() };
        let given = Digest::of(secret);
        let mut found = None;
        // All are looked at, so that nothing tells where the one stands.
        for (digest, identity) in &self.known {
            if digest.as_bytes().ct_eq(given.as_bytes()).into() {
                found = Some(identity);
            }
        }
        // Where nobody needs a secret, one that a client sends out of habit does no harm.
        found.cloned().or_else(|| self.anybody.clone().filter(|_| self.known.is_empty()))
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
        let who = |secret: Option<&[u8]>| guard.identify(secret).map(|identity| identity.name().to_string());
        assert_eq!(who(Some(b"secret")).as_deref(), Some("ci"));
        assert_eq!(who(None).as_deref(), Some("reader"));
        assert_eq!(who(Some(b"Secret")), None);
        assert_eq!(who(Some(b"")), None);
        assert!(!guard.is_open() && Guard::open().is_open());
        assert!(Guard::open().identify(Some(b"habit")).is_some());
    }
}
