//! The program as a user meets it: the real binary, in directories of its own.

#![allow(clippy::unwrap_used, reason = "a lint exception for tests does not reach what they call")]

mod cache;
mod clients;
mod config;
mod gocache;
mod hardship;
mod init;
mod lab;
mod nested;
mod plan;
mod plan_inventory;
mod reference;
mod remote_execution;
mod run;
mod serve_guarded;
mod serving;
mod shared;
mod shell;
mod tasks;
mod watch;
