//! The simulator at its boundary: known answers, and references on a small generated trace.

mod generated;
mod known;
