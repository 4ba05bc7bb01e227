//! What whoever asks queries may rely on: the answer equals a fresh one, nothing runs that need not, and what did
//! not stand still is not kept.

mod crowds;
mod dependents;
mod example;
mod expiring;
mod explaining;
mod grounds;
mod lab;
mod looking;
mod model;
mod outside;
mod reuse;
mod roots;
mod trouble;
mod watched_model;
mod watching;
