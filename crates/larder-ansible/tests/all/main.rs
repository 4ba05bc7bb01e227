//! What this crate promises, tested from outside.

#![allow(clippy::unwrap_used, reason = "all of this is test code, also outside of test functions")]

mod inventory;
