//! Playbooks as queries: each file, role and play is one, and holds while what it observed is unchanged.
//!
//! document → tasks, playbook entries, role → list of plays, compiled play → its order → on its hosts → the whole; and what is listed of compiled plays. What an answer is made of has no
//! positions: a line inserted above a task changes no answer but the file's own digest, and the wave stops there.
//!
//! Invariant: everything that decides an answer is a parameter or was looked at through the context.
//! Not here: what documents mean (`playbook`); how plans are built (`plan`).

mod collection;
mod compile;
mod document;
mod enter;
mod listed;
mod plan;
mod plays;
mod role;
mod ship;
mod source;
mod walk;

use larder::engine::{Queries, RegisterError};
use serde::{Deserialize, Serialize};

pub(crate) use compile::Compile;
pub(crate) use document::{Document, problem};
pub(crate) use listed::{ListPlay, Listing};
pub use plan::PlanRequest;
pub(crate) use plays::PlayList;
pub(crate) use role::Role;

use crate::inventory;
use crate::plain::Mapping;
pub use crate::plan::modes::Modes;
pub use crate::plan::schedule::Strategy;
pub use crate::plan::ship::{Force, ShipOptions};

/// What changes what a playbook comes to, beside the playbook itself. Paths are relative to the root.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Options {
    /// Variables that win over all others.
    pub extra_vars: Mapping,
    /// `--check` and `--diff`.
    pub modes: Modes,
    /// Where roles are looked for after `roles/` beside the playbook.
    pub roles_path: Vec<String>,
    /// Where `ansible_collections/` is looked for after what is beside the playbook.
    pub collections_path: Vec<String>,
}

/// Adds the kinds of this crate to those that a session knows.
pub fn register(queries: Queries) -> Result<Queries, RegisterError> {
    inventory::register(queries)?
        .with::<Document>()?
        .with::<source::TaskFile>()?
        .with::<source::PlaybookHeads>()?
        .with::<source::PlaySource>()?
        .with::<role::FindRole>()?
        .with::<role::RoleSource>()?
        .with::<PlayList>()?
        .with::<Compile>()?
        .with::<ListPlay>()?
        .with::<Listing>()?
        .with::<plan::Order>()?
        .with::<plan::PlanPlay>()?
        .with::<ship::TargetOf>()?
        .with::<ship::Ship>()?
        .with::<PlanRequest>()
}
