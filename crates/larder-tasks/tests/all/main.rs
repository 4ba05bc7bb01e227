//! The task job from outside: real directories, real files.

#![allow(clippy::unwrap_used, reason = "all of this is test code, also outside of test functions")]

mod definitions;
mod equality;
mod graphs;
mod inputs;
mod lab;
mod large;
mod leftovers;
mod meanwhile;
mod outputs;
mod promises;
mod runs;
mod stops;
mod workspaces;
