//! What holds for whom and where: what an access file says, once it is read.

use std::collections::BTreeMap;
use std::time::Duration;

use larder::clock::Timestamp;
use larder::key::{Digest, Scope};
use subtle::ConstantTimeEq;

use super::identity::{Denied, Identity, Reach, Role};

/// What somebody wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Deed {
    /// Take what is kept.
    Read,
    /// Put a content, whose name is its digest.
    WriteContent,
    /// Put a result or an object, whose name nobody can check.
    WriteResult,
    /// Remove something.
    Remove,
}

impl Deed {
    /// The deed as a word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::WriteContent => "write contents",
            Self::WriteResult => "write results",
            Self::Remove => "remove",
        }
    }
}

/// What holds in one scope.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ScopeRules {
    /// How many bytes it may take.
    pub quota_bytes: Option<u64>,
    /// How long an entry may be unused.
    pub max_age: Option<Duration>,
    /// Whether results and objects are written and removed by admins only.
    pub results_are_protected: bool,
    /// Whether results and objects that are there are not replaced by others, and are removed by admins only.
    pub writes_once: bool,
    /// How long whoever asks for what is not there waits for somebody who is about to put it.
    pub wait: Option<Duration>,
}

/// Somebody who is known by a secret.
#[derive(Debug, Clone)]
pub struct Token {
    /// The BLAKE3 digest of the secret.
    pub digest: Digest,
    /// Whose it is.
    pub identity: Identity,
    /// From when on it is worth nothing.
    pub expires: Option<Timestamp>,
}

/// Who is known, and what they may do where.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// Who is known by a secret.
    pub tokens: Vec<Token>,
    /// Who is known by a name in a certificate that the server's authority signed.
    pub certificates: BTreeMap<String, Identity>,
    /// Who comes with neither; `None` is turned away.
    pub anybody: Option<Identity>,
    /// What holds in scopes of which something is said.
    pub scopes: BTreeMap<Scope, ScopeRules>,
}

/// With what somebody comes.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Credentials<'a> {
    /// A token or a password.
    pub(crate) secret: Option<&'a [u8]>,
    /// The names in their certificate.
    pub(crate) names: &'a [String],
}

/// Nobody is known by what somebody came with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unknown {
    #[error("no token that this server knows came with the request")]
    Nobody,
    #[error("the token that came with the request has expired")]
    Expired,
}

impl Rules {
    /// Anybody may do anything.
    pub(super) fn open() -> Self {
        let anybody = Identity::new("anybody", [(Reach::Everywhere, Role::Admin)]);
        Self { anybody: Some(anybody), ..Self::default() }
    }

    /// Whether somebody who is not known may write.
    pub(super) fn are_open(&self) -> bool {
        self.anybody.as_ref().is_some_and(Identity::may_write_somewhere)
    }

    /// What holds in a scope.
    pub fn scope(&self, scope: &Scope) -> Option<&ScopeRules> {
        self.scopes.get(scope)
    }

    /// Whether something is said of a scope, or of somebody there.
    pub(crate) fn mention(&self, scope: &Scope) -> bool {
        let tokens = self.tokens.iter().map(|token| &token.identity);
        let mut known = tokens.chain(self.certificates.values()).chain(&self.anybody);
        self.scopes.contains_key(scope) || known.any(|identity| identity.is_named_in(scope))
    }

    /// Who comes with this. A secret counts before a certificate, and a wrong one is worse than none.
    pub(crate) fn identify(&self, with: Credentials<'_>, now: Timestamp) -> Result<Identity, Unknown> {
        let Some(secret) = with.secret else {
            let named = with.names.iter().find_map(|name| self.certificates.get(name));
            return named.or(self.anybody.as_ref()).cloned().ok_or(Unknown::Nobody);
        };
        let given = Digest::of(secret);
        let mut found = None;
        // All are looked at, so that nothing tells where the one stands.
        for token in &self.tokens {
            if token.digest.as_bytes().ct_eq(given.as_bytes()).into() {
                found = Some(token);
            }
        }
        match found {
            Some(token) if token.expires.is_some_and(|end| end <= now) => Err(Unknown::Expired),
            Some(token) => Ok(token.identity.clone()),
            // Where nobody needs a secret, one that a client sends out of habit does no harm.
            None => self.anybody.clone().filter(|_| self.tokens.is_empty()).ok_or(Unknown::Nobody),
        }
    }

    /// Says no unless somebody may do this in a scope.
    pub(crate) fn allow(&self, identity: &Identity, deed: Deed, scope: &Scope) -> Result<(), Denied> {
        let rules = self.scope(scope);
        let is_protected = rules.is_some_and(|rules| rules.results_are_protected);
        // Whoever removed something could put another in its place.
        let is_final = is_protected || rules.is_some_and(|rules| rules.writes_once);
        let role = match deed {
            Deed::Read => Role::Read,
            Deed::WriteResult if is_protected => Role::Admin,
            Deed::Remove if is_final => Role::Admin,
            Deed::WriteContent | Deed::WriteResult | Deed::Remove => Role::Write,
        };
        if identity.role_in(scope).is_some_and(|has| has >= role) {
            return Ok(());
        }
        Err(Denied { who: identity.name().clone(), deed, scope: scope.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(name: &str) -> Scope {
        Scope::new(name).unwrap()
    }

    fn somebody(name: &str, role: Role) -> Identity {
        Identity::new(name, [(Reach::Everywhere, role)])
    }

    #[test]
    fn results_of_a_protected_scope_are_written_by_admins_alone_and_contents_by_writers() {
        let protected = ScopeRules { results_are_protected: true, ..ScopeRules::default() };
        let rules = Rules { scopes: BTreeMap::from([(scope("main"), protected)]), ..Rules::default() };
        let may = |role, deed, name: &str| rules.allow(&somebody("x", role), deed, &scope(name)).is_ok();
        for (deed, roles) in [
            (Deed::Read, [true, true, true]),
            (Deed::WriteContent, [false, true, true]),
            (Deed::WriteResult, [false, false, true]),
            (Deed::Remove, [false, false, true]),
        ] {
            let can = [Role::Read, Role::Write, Role::Admin].map(|role| may(role, deed, "main"));
            assert_eq!(can, roles, "{deed:?}");
        }
        assert!(may(Role::Write, Deed::WriteResult, "other"));
        let denied = rules.allow(&somebody("ci", Role::Write), Deed::WriteResult, &scope("main"));
        assert_eq!(denied.unwrap_err().to_string(), "ci may not write results in scope main");
    }

    #[test]
    fn a_token_is_worth_nothing_from_its_end_on() {
        let token = Token {
            digest: Digest::of(b"secret"),
            identity: somebody("ci", Role::Read),
            expires: Some(Timestamp::from_millis(1000)),
        };
        let rules = Rules { tokens: vec![token], ..Rules::default() };
        let with = Credentials { secret: Some(b"secret"), names: &[] };
        assert!(rules.identify(with, Timestamp::from_millis(999)).is_ok());
        assert_eq!(rules.identify(with, Timestamp::from_millis(1000)).unwrap_err(), Unknown::Expired);
    }

    #[test]
    fn a_certificate_s_name_is_an_identity_and_a_wrong_secret_beside_it_is_none() {
        let builder = somebody("builder", Role::Write);
        let rules = Rules {
            certificates: BTreeMap::from([("builder.example".to_owned(), builder)]),
            anybody: Some(somebody("anybody", Role::Read)),
            tokens: vec![Token {
                digest: Digest::of(b"secret"),
                identity: somebody("ci", Role::Read),
                expires: None,
            }],
            ..Rules::default()
        };
        let who = |secret: Option<&[u8]>, names: &[&str]| {
            let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
            let with = Credentials { secret, names: &names };
            rules.identify(with, Timestamp::default()).map(|identity| identity.name().to_string()).ok()
        };
        assert_eq!(who(None, &["other", "builder.example"]).as_deref(), Some("builder"));
        assert_eq!(who(None, &["other"]).as_deref(), Some("anybody"));
        assert_eq!(who(Some(b"secret"), &["builder.example"]).as_deref(), Some("ci"));
        assert_eq!(who(Some(b"wrong"), &["builder.example"]), None);
    }
}
