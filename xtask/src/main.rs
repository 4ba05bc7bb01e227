//! `cargo xtask`: the project's own chores. `cargo xtask --help` lists them.
//!
//! Not here: anything that a user of larder needs.

mod check;
mod compare;
mod demo;
mod dist;
mod report;
mod servers;
mod test;
mod tools;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::workspace::Workspace;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "The project's own chores")]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Check format, lints, docs, spelling, licences and the shape of the code.
    Check {
        /// Only the checks whose name contains this.
        filter: Option<String>,
    },
    /// Install what the tests need, run every check and every test, and close with one line of totals.
    Test,
    /// Build larder and show it at work on a copy of examples/polyglot.
    Demo,
    /// Build a release and pack it with manual pages, completions and licences, under target/dist.
    Dist,
    /// Time larder against ninja, and turbo where it is installed, on trees made for it.
    Compare(compare::Arguments),
    /// Load a larder server: many clients, large streams, minutes of a mix; small contents against nginx and
    /// buildbox-casd, Bazel's restored outputs against its own disk cache.
    Servers(servers::Arguments),
    /// Check dependencies against the advisory database (needs cargo-deny and the network).
    Advisories,
}

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<bool> {
    let chore = Arguments::parse().chore;
    let workspace = Workspace::load()?;
    match chore {
        Chore::Check { filter } => {
            let mut report = report::Report::start();
            check::run(&workspace, filter.as_deref(), &mut report);
            Ok(report.close())
        }
        Chore::Test => test::run(&workspace),
        Chore::Compare(arguments) => compare::compare(&workspace, &arguments).map(|()| true),
        Chore::Servers(arguments) => servers::measure(&workspace, &arguments).map(|()| true),
        Chore::Demo => demo::run(&workspace).map(|()| true),
        Chore::Dist => dist::run(&workspace).map(|()| true),
        Chore::Advisories => {
            tools::require(&workspace, &tools::CARGO_DENY)?;
            workspace.succeeds("cargo", &["deny", "check", "advisories"])
        }
    }
}
