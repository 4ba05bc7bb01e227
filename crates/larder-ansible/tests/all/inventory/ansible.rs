//! Ansible itself, asked by many commands in one start.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

/// One command and where it runs.
#[derive(Debug, Serialize)]
pub(super) struct Job {
    directory: PathBuf,
    arguments: Vec<String>,
}

impl Job {
    pub(super) fn new(directory: &Path, arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        Self { directory: directory.to_owned(), arguments }
    }
}

/// What a command did.
#[derive(Debug, Deserialize)]
pub(super) struct Done {
    pub(super) code: i32,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

/// Runs commands of ansible-core, and fails with what installs it where it is missing.
pub(super) fn run(jobs: &[Job]) -> Vec<Done> {
    let python = python();
    let temporary = tempfile::TempDir::new().unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/all/inventory/many.py");
    let mut child = Command::new(&python)
        .arg(script)
        .env_clear()
        .env("HOME", temporary.path())
        .env("ANSIBLE_HOME", temporary.path())
        .env("LC_ALL", "C.UTF-8")
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("ANSIBLE_NOCOLOR", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(&serde_json::to_vec(jobs).unwrap()).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", output.status);
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The Python that has ansible-core.
fn python() -> PathBuf {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/tools/ansible");
    let python = tools.join("bin/python3");
    assert!(
        python.exists(),
        "ansible-core is missing; install it with: python3 -m venv {0} && {0}/bin/pip install ansible-core",
        tools.display()
    );
    python
}
