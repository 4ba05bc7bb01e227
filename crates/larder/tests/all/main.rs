//! The engine from outside, one module for each part.

#![allow(clippy::unwrap_used, reason = "a lint exception for tests does not reach what they call")]

mod asking;
mod config;
mod disk;
mod events;
mod exporting;
mod invalidating;
mod keeping;
mod limits;
mod losing;
mod queries;
mod sharing;
mod source;
mod stats;
