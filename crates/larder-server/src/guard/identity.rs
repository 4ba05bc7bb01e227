//! Who asks, and what they may do.

use std::fmt;
use std::sync::Arc;

use larder::key::Scope;

use super::rules::Deed;

/// What somebody may do in a scope. Each includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Take what is kept.
    Read,
    /// Put things there, too.
    Write,
    /// Look at statistics and remove things, too.
    Admin,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Admin => "admin",
        })
    }
}

/// In which scopes a role holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    /// In all.
    Everywhere,
    /// In one.
    In(Scope),
}

/// Somebody is not allowed to do what they ask for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{who} may not {} in scope {scope}", .deed.name())]
pub struct Denied {
    /// Who asked.
    pub who: Arc<str>,
    /// For what.
    pub deed: Deed,
    /// Where.
    pub scope: Scope,
}

/// How much one identity may ask of the server, over all that it has under way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Allowance {
    /// How many requests a second.
    pub requests_per_second: Option<u64>,
    /// How many bytes a second, in both directions together.
    pub bytes_per_second: Option<u64>,
    /// How many requests at once.
    pub concurrent: Option<u64>,
}

/// Who asks. A clone is two reference counts.
#[derive(Debug, Clone)]
pub struct Identity {
    name: Arc<str>,
    grants: Arc<[(Reach, Role)]>,
    allowance: Allowance,
}

impl Identity {
    /// Somebody with a name and roles.
    pub fn new(name: impl Into<Arc<str>>, grants: impl Into<Arc<[(Reach, Role)]>>) -> Self {
        Self { name: name.into(), grants: grants.into(), allowance: Allowance::default() }
    }

    /// The same with an allowance; otherwise they have none to keep to.
    pub fn with_allowance(self, allowance: Allowance) -> Self {
        Self { allowance, ..self }
    }

    /// How much they may ask for.
    pub fn allowance(&self) -> Allowance {
        self.allowance
    }

    /// Their name, which stands in the record of what they write.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The most that they may do in a scope. What is granted in that scope takes the place of what is everywhere.
    pub fn role_in(&self, scope: &Scope) -> Option<Role> {
        let here = self.grants.iter().find(|(reach, _)| matches!(reach, Reach::In(one) if one == scope));
        here.map(|&(_, role)| role).or_else(|| self.everywhere())
    }

    /// The most that they may do wherever nothing else is granted.
    pub(crate) fn everywhere(&self) -> Option<Role> {
        self.grants.iter().find(|(reach, _)| *reach == Reach::Everywhere).map(|&(_, role)| role)
    }

    pub(super) fn is_named_in(&self, scope: &Scope) -> bool {
        self.grants.iter().any(|(reach, _)| matches!(reach, Reach::In(one) if one == scope))
    }

    pub(super) fn may_do_something(&self) -> bool {
        !self.grants.is_empty()
    }

    pub(super) fn may_write_somewhere(&self) -> bool {
        self.grants.iter().any(|&(_, role)| role >= Role::Write)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_granted_in_a_scope_takes_the_place_of_what_is_granted_everywhere() {
        let [shop, lab, other] = ["shop", "lab", "other"].map(|name| Scope::new(name).unwrap());
        let grants = [
            (Reach::Everywhere, Role::Write),
            (Reach::In(shop.clone()), Role::Read),
            (Reach::In(lab.clone()), Role::Admin),
        ];
        let ci = Identity::new("ci", grants);
        assert_eq!(
            [&shop, &lab, &other].map(|scope| ci.role_in(scope)),
            [Some(Role::Read), Some(Role::Admin), Some(Role::Write)]
        );
        assert_eq!(Identity::new("nobody", []).role_in(&shop), None);
    }
}
