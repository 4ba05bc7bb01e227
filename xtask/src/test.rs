//! `cargo xtask test`: everything that has to hold, from an empty machine with a Rust toolchain.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

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

/// How long may pass without a word from any test: much longer than one takes.
const SILENCE: Duration = Duration::from_secs(15 * 60);

/// Runs `cargo test` and adds up what it counted. A test that does not end ends all of it, and is a failure.
fn cargo_test(workspace: &Workspace, arguments: &[&str], report: &mut Report) -> Result<()> {
    let cargo = |more: &[&str]| {
        let mut cargo = workspace.command("cargo");
        cargo.args(["test", "--locked"]).args(arguments).args(more).stdin(Stdio::null());
        cargo
    };
    // Compiling says nothing for long. What does not compile is told below.
    cargo(&["--no-run"]).status().context("cannot start cargo")?;
    let mut child = cargo(&[]).stdout(Stdio::piped()).spawn().context("cannot start cargo")?;
    let stdout = child.stdout.take().context("the child's stdout is piped")?;
    let (sender, lines) = channel();
    thread::spawn(move || BufReader::new(stdout).lines().try_for_each(|line| sender.send(line)));
    let before = report.failures();
    loop {
        let line = match lines.recv_timeout(SILENCE) {
            Ok(line) => line.context("cannot read what cargo test prints")?,
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                let finding = format!("no test has ended for {} minutes", SILENCE.as_secs() / 60);
                report.check("cargo test", &[finding]);
                kill_with_children(workspace, &child)?;
                break;
            }
        };
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

/// Kills a program and those that it has started.
fn kill_with_children(workspace: &Workspace, child: &Child) -> Result<()> {
    let script = "kill -KILL $(cat /proc/$0/task/$0/children) $0";
    workspace
        .command("sh")
        .args(["-c", script, &child.id().to_string()])
        .status()
        .context("cannot start sh")?;
    Ok(())
}
