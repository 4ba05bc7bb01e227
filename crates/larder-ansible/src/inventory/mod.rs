//! Inventories: hosts, the groups that they are in, and their variables.
//!
//! [`assemble()`] makes an [`Inventory`] of texts in the INI, YAML or JSON form, in the order and by the rules of
//! Ansible.
//! Not here: what a play does with its hosts.

mod address;
mod assemble;
mod build;
mod files;
mod glob;
mod ini;
pub(crate) mod json;
mod list;
mod literal;
mod model;
mod output;
mod pattern;
mod program;
mod queries;
mod tree;
mod value;
mod words;

pub use assemble::{Part, assemble};
pub use files::{Known, Source, Sources};
pub use list::list;
pub use model::{Group, Host, Inventory, Warning};
pub use pattern::{Chosen, choose, split};
pub use program::run_program;
pub use queries::{HostsOf, InventoryError, Limit, Parsed, VariablesOf, register};
pub use value::{Value, Variables};
