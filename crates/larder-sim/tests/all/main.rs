//! The simulator at its boundary: known answers, references on a small generated trace, a small history of playbooks.

mod generated;
mod history;
