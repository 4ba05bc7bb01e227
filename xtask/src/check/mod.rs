//! `cargo xtask check`: what a reviewer should not have to look for.
//!
//! A check returns its findings, each a line that names the place; none is good. What cannot be looked at (a
//! missing tool, a file that cannot be read) is an error, so that a check never passes by not running.

mod crates;
mod licences;
mod modules;
mod text;

use anyhow::{Context as _, Result};

use crate::report::Report;
use crate::tools;
use crate::workspace::Workspace;

type Check = fn(&Workspace) -> Result<Vec<String>>;

/// Quick ones first.
const CHECKS: &[(&str, Check)] = &[
    ("check::crate_dependencies", crates::check),
    ("check::module_order", modules::check),
    ("check::file_openings", text::openings),
    ("check::file_lengths", text::lengths),
    ("check::left_undone", text::left_undone),
    ("check::machine_paths", text::machine_paths),
    ("check::role_nouns", text::role_nouns),
    ("check::licences", licences::licences),
    ("check::banned_crates", licences::bans),
    ("check::spelling", spelling),
    ("check::format", format),
    ("check::lints", lints),
    ("check::features", features),
    ("check::docs", docs),
];

/// Runs the checks whose name contains `filter`.
pub(crate) fn run(workspace: &Workspace, filter: Option<&str>, report: &mut Report) {
    for (name, check) in CHECKS {
        if filter.is_none_or(|filter| name.contains(filter)) {
            report.check(name, &check(workspace).unwrap_or_else(|error| vec![format!("{error:#}")]));
        }
    }
}

/// One finding if the command, whose output is shown, fails.
fn command(workspace: &Workspace, program: &str, arguments: &[&str]) -> Result<Vec<String>> {
    let line = format!("{program} {} failed", arguments.join(" "));
    Ok(if workspace.succeeds(program, arguments)? { Vec::new() } else { vec![line] })
}

fn spelling(workspace: &Workspace) -> Result<Vec<String>> {
    let typos = tools::require(workspace, &tools::TYPOS)?;
    command(workspace, &typos.to_string_lossy(), &["--format", "brief"])
}

fn format(workspace: &Workspace) -> Result<Vec<String>> {
    command(workspace, "cargo", &["fmt", "--all", "--check"])
}

fn lints(workspace: &Workspace) -> Result<Vec<String>> {
    command(
        workspace,
        "cargo",
        &["clippy", "--quiet", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"],
    )
}

/// Each feature of the shared tiers is whole without the others, as whoever builds one tier only has it.
fn features(workspace: &Workspace) -> Result<Vec<String>> {
    let packages = workspace.metadata.workspace_packages();
    let shared = packages.iter().find(|package| package.name.as_str() == "larder-shared");
    let alone =
        shared.and_then(|package| package.features.get("default")).context("larder-shared has defaults")?;
    let mut findings = Vec::new();
    for feature in alone {
        let build = ["clippy", "--quiet", "--package", "larder-shared", "--no-default-features"];
        let arguments = [&build[..], &["--features", feature, "--locked", "--", "-D", "warnings"]].concat();
        findings.extend(command(workspace, "cargo", &arguments)?);
    }
    Ok(findings)
}

fn docs(workspace: &Workspace) -> Result<Vec<String>> {
    let status = workspace
        .command("cargo")
        .args(["doc", "--quiet", "--workspace", "--no-deps", "--locked"])
        .env("RUSTDOCFLAGS", "-D warnings")
        .status()?;
    Ok(if status.success() { Vec::new() } else { vec!["cargo doc failed".to_owned()] })
}
