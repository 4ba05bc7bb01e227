//! The server as its clients meet it: over its port, with plain clients of the protocols. The real tools are tests of the
//! program.

#![allow(clippy::unwrap_used, reason = "a lint exception for tests does not reach what they call")]

mod action_results;
mod byte_streams;
mod casd;
mod contents;
mod guard;
mod lab;
mod objects;
mod team;
