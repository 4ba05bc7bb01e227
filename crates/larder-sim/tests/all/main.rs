//! The simulator at its boundary: known answers, references on a small generated trace, small histories of playbooks and of
//! a workspace.

mod generated;
mod plan_history;
mod repository;
mod task_history;
