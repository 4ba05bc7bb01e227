//! What this crate promises, tested from outside: real files, and Ansible as the judge.

#![allow(clippy::unwrap_used, reason = "all of this is test code, also outside of test functions")]

mod bad;
mod changes;
mod equality;
mod form;
mod inventory;
mod kept;
mod lab;
mod oracle;
mod plans;
mod problems;
mod reuse;
mod ship;
