//! A server that a team points its tools at: each speaks the cache protocol that it knows, and all of them share what
//! one engine keeps.
//!
//! [`Store`](store::Store) keeps contents, results of actions and objects; [`Server`] gives them to clients over gRPC
//! and HTTP on one port. It holds nothing but what is in its tiers, so several may stand behind one balancer over one
//! shared tier.
//!
//! Not here: which tiers there are (`larder-shared`), the command line (`larder-cli`).

#[cfg(feature = "fuzzing")]
pub mod fuzzing;
pub mod guard;
mod http;
mod rpc;
mod serve;
pub mod store;

pub use serve::{
    AccessFile, Exposition, Patience, ReloadError, Reloader, ServeError, ServeOptions, Server, TlsError,
    TlsOptions,
};
