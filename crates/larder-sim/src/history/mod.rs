//! Histories of repositories, replayed commit by commit: each is done with what earlier commits left in the cache, as
//! whoever checks it out would, and once more with nothing kept.
//!
//! Invariant: a commit that comes out differently with the cache than without is an error that names it. Each commit gets
//! an engine of its own over one disk tier, as each run of the command does.

mod checkout;
mod definition;
pub mod plans;
pub mod tasks;
