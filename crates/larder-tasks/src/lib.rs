//! Tasks: commands whose outputs and logs are kept, and which run again only when something that they depend on
//! has changed.
//!
//! Reading comes first and touches nothing but definitions: [`workspace`] finds the root and its packages,
//! [`manifest`] reads each `larder.toml`, [`task`] joins templates and overrides, [`graph`] orders what was asked
//! for, [`check`] finds tasks that get in each other's way. Then [`job`] gives back what is kept and runs what is
//! not, and tells of it in [`event`]s.
//! Not here: printing, exit codes, the home directory (the command line).

pub mod check;
mod checkout;
pub mod environment;
pub mod event;
mod execute;
pub mod graph;
mod inputs;
pub mod job;
mod kept;
pub mod key;
pub mod log;
pub mod manifest;
pub mod name;
mod outputs;
pub mod path;
pub mod place;
mod plain;
pub mod problem;
mod process;
mod program;
mod restore;
pub mod task;
mod unlocked;
pub mod workspace;

pub use execute::{Exit, Stop};
pub use process::{MARKS, take_in_orphans};
pub use restore::Restoration;
