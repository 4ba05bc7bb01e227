//! The server as its clients meet it: over its port, with plain clients of the protocols and with the real tools.

#![allow(clippy::unwrap_used, reason = "a lint exception for tests does not reach what they call")]

mod action_results;
mod byte_streams;
mod clients;
mod contents;
mod guard;
mod lab;
mod objects;
mod team;
