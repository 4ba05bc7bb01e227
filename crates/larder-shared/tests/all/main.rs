//! Tests of shared tiers against real servers.

#![allow(clippy::unwrap_used, reason = "a lint exception for tests does not reach what they call")]

mod conformance;
mod faults;
mod lab;
mod log;
mod remote_execution;
