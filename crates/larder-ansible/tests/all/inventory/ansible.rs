//! Ansible itself, asked by many commands in one start.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use crate::oracle::python;

/// One command and where it runs.
#[derive(Debug, Serialize)]
pub(super) struct Job {
    cwd: PathBuf,
    program: String,
    argv: Vec<String>,
}

impl Job {
    pub(super) fn new(cwd: &Path, arguments: &[&str]) -> Self {
        let mut arguments = arguments.iter().map(|&argument| argument.to_owned());
        Self { cwd: cwd.to_owned(), program: arguments.next().unwrap(), argv: arguments.collect() }
    }
}

/// What a command did.
#[derive(Debug, Deserialize)]
pub(super) struct Done {
    pub(super) code: i32,
    #[serde(rename = "out")]
    pub(super) stdout: String,
    #[serde(rename = "err")]
    pub(super) stderr: String,
}

/// Runs commands of ansible-core.
pub(super) fn run(jobs: &[Job]) -> Vec<Done> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle.py");
    let mut child = Command::new(python())
        .arg(script)
        .env_remove("ANSIBLE_CONFIG")
        .env_remove("ANSIBLE_INVENTORY")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&serde_json::to_vec(jobs).unwrap()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", output.status);
    serde_json::from_slice(&output.stdout).unwrap()
}
