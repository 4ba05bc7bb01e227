//! Inventories.

mod ansible;
mod bad;
mod lab;
mod oracle;
mod patterns;
mod reuse;
