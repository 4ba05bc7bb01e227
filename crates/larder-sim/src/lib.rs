//! Replays request traces through larder's eviction policies, its memory tier, exact references and rivals, and
//! histories of playbooks and of workspaces through its planner and its tasks.
//!
//! For development only: nothing depends on it. Where the public traces come from is told in [`formats`].
//! Not here: speed, which `benches/` measures.

pub mod formats;
pub mod history;
pub mod known;
pub mod ours;
pub mod percents;
pub mod reference;
pub mod replay;
pub mod report;
pub mod rivals;
pub mod trace;
