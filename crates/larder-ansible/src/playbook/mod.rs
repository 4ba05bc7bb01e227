//! Playbooks as they are written: plays, blocks, tasks, handlers, roles.
//!
//! Reading validates: a value of these types has no unknown keyword and no value of a wrong type. Templates stay
//! text.
//! Invariant: nothing here knows a position, so that an item is the same wherever in its file it stands.
//! Not here: files, other files that are imported, variables.

mod action;
mod fields;
mod form;
mod keywords;
mod play;
mod role;
mod split;
mod task;

use serde::{Deserialize, Serialize};

pub use action::{Action, ActionKind, RoleCall};
pub(crate) use fields::is_variable_name;
pub use form::FORM_VERSION;
pub(crate) use form::{INVENTORY, PLAYS, entries, nth};
pub(crate) use keywords::short_module;
pub(crate) use play::entry;
pub use play::{Entry, Play, PlaybookImport, RoleReference};
pub use role::RoleMeta;
pub(crate) use task::items;
pub use task::{Block, Item, Loop, Task};

use crate::plain::Mapping;

/// Text that may have templates in it.
pub type Expression = String;

/// What everything in a playbook may say, and what is in it inherits.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Keywords {
    /// Tags, each perhaps a template.
    pub tags: Vec<Expression>,
    /// Conditions, all of which have to hold.
    pub when: Vec<Expression>,
    /// Variables.
    pub vars: Mapping,
    /// The rest, such as `become` and `delegate_to`.
    pub settings: Mapping,
    /// Collections in which short names are looked for.
    pub collections: Vec<String>,
}

/// The `key=value` pairs of a text; `None` if a quote or a template is not closed. Text that is no pair is dropped,
/// as Ansible drops it.
pub(crate) fn assignments(text: &str) -> Option<Mapping> {
    let pairs = split::pairs(text, false).ok()?;
    Some(pairs.iter().filter(|(key, _)| *key != split::RAW).map(|(k, v)| (k.into(), v.clone())).collect())
}
