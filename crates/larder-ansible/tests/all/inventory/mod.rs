//! Inventories.

mod ansible;
mod bad;
mod equality;
mod lab;
mod large;
mod oracle;
mod patterns;
mod reuse;
