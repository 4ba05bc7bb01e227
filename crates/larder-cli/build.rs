//! Links the program to run at a fixed address where that is safe to ask for.
//!
//! A program that may run at any address has each pointer in its read-only data corrected before it begins: here 40,000
//! pointers on 150 pages, each page copied for it, which is a quarter of what `larder --version` takes. With
//! `LARDER_PIE=1` it is built to run at any address (`docs/operating.md` says for whom).

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=LARDER_PIE");
    let target = |of: &str| env::var(format!("CARGO_CFG_TARGET_{of}")).unwrap_or_default();
    let fixed =
        target("OS") == "linux" && target("ENV") == "gnu" && !target("FEATURE").contains("crt-static");
    if fixed && env::var_os("LARDER_PIE").is_none() {
        println!("cargo::rustc-link-arg-bins=-no-pie");
    }
}
