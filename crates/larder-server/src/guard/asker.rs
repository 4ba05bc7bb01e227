//! One request, seen from the protocols: who asks, in which scope, by which rules.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use larder::key::Scope;

use super::{Asking, Audit, Deed, Denied, Entry, Holder, Identity, Outcome, Rules, ScopeRules, Turns};
use crate::store::Made;

/// Who asks, and in which scope: as whoever received the request found out.
#[derive(Debug, Clone)]
pub(crate) struct Asker {
    pub(crate) identity: Identity,
    pub(crate) scope: Scope,
    pub(crate) rules: Arc<Rules>,
    pub(crate) audit: Option<Audit>,
    pub(crate) turns: Turns,
    /// Who has turns for them.
    pub(crate) holder: Arc<Holder>,
    /// What the protocol is called in the audit log.
    pub(crate) protocol: &'static str,
    /// Of what, as the request line says it.
    pub(crate) path: Arc<str>,
}

impl Asker {
    /// Says no unless they may do this here.
    pub(crate) fn may(&self, deed: Deed) -> Result<(), Denied> {
        let allowed = self.rules.allow(&self.identity, deed, &self.scope);
        if allowed.is_err() {
            self.tell(deed, format_args!("{}", self.path), None, Outcome::Refused);
        }
        allowed
    }

    /// The same in another scope.
    pub(crate) fn within(self, scope: Scope) -> Self {
        Self { scope, ..self }
    }

    /// Their name, for the record of what they write.
    pub(crate) fn name(&self) -> &Arc<str> {
        self.identity.name()
    }

    /// What holds in the scope, if anything is said of it.
    fn here(&self) -> Option<&ScopeRules> {
        self.rules.scope(&self.scope)
    }

    /// What is said of what they put.
    pub(crate) fn made(&self) -> Made<'_> {
        let once = self.here().is_some_and(|rules| rules.writes_once);
        Made { by: self.name(), cost: Duration::ZERO, once }
    }

    /// Begins to ask for what is under a key, and to wait for whoever makes it if the scope says so.
    pub(crate) fn ask(&self, key: impl FnOnce() -> String) -> Asking {
        let Some(wait) = self.here().and_then(|rules| rules.wait) else { return Asking::at_once() };
        let can_make = self.rules.allow(&self.identity, Deed::WriteResult, &self.scope).is_ok();
        self.holder.ask((self.scope.clone(), key()), wait, can_make)
    }

    /// Tells whoever waits for a key that it is there.
    pub(crate) fn has_put(&self, key: fmt::Arguments<'_>) {
        if self.here().is_some_and(|rules| rules.wait.is_some()) {
            self.turns.end(&(self.scope.clone(), key.to_string()));
        }
    }

    /// Tells the audit log.
    pub(crate) fn tell(&self, deed: Deed, key: fmt::Arguments<'_>, bytes: Option<u64>, outcome: Outcome) {
        let Some(audit) = &self.audit else { return };
        audit.tell(Entry {
            who: Some(self.name()),
            scope: Some(&self.scope),
            protocol: self.protocol,
            deed: Some(deed),
            key: key.to_string(),
            bytes,
            outcome,
        });
    }
}
