//! Inventories.

mod ansible;
mod bad;
mod equality;
mod lab;
mod oracle;
mod patterns;
mod reuse;
