//! `cargo xtask test`: everything that has to hold, from an empty machine with a Rust toolchain.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use anyhow::{Context, Result};

use crate::report::{Report, Totals};
use crate::workspace::Workspace;
use crate::{check, demo, tools};

/// Installs, checks, tests, shows; goes on after a failure, so that one run tells of all.
pub(crate) fn run(workspace: &Workspace) -> Result<bool> {
    tools::install_all(workspace)?;
    let mut report = Report::start();
    check::run(workspace, None, &mut report);
    cargo_test(workspace, &["--workspace", "--no-fail-fast"], &mut report)?;
    // The same code under a model checker, which takes the place of its locks.
    cargo_test(
        workspace,
        &["--package", "larder", "--features", "shuttle", "--lib", "scheduled"],
        &mut report,
    )?;
    let findings = demo::run(workspace).err().map(|error| format!("{error:#}"));
    report.check("demo", findings.as_slice());
    Ok(report.close())
}

/// Runs `cargo test` and adds up what it counted.
fn cargo_test(workspace: &Workspace, arguments: &[&str], report: &mut Report) -> Result<()> {
    let mut child = workspace
        .command("cargo")
        .args(["test", "--locked"])
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start cargo")?;
    let stdout = child.stdout.take().context("the child's stdout is piped")?;
    let before = report.failures();
    for line in BufReader::new(stdout).lines() {
        let line = line.context("cannot read what cargo test prints")?;
        println!("{line}");
        if let Some(totals) = Totals::parse(&line) {
            report.add(totals);
        }
    }
    let status = child.wait().context("cannot wait for cargo test")?;
    // A crate that does not compile, or a test that aborts its binary, counts no failed test of its own.
    if !status.success() && report.failures() == before {
        report.check("cargo test", &[format!("cargo test ended with {status}")]);
    }
    Ok(())
}
