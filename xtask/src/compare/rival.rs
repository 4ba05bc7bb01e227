//! The tools, and how each is told to build a tree.

use std::fmt::{self, Write as _};
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Result, ensure};
use clap::ValueEnum;

use super::tree::Tree;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Name {
    Ninja,
    Larder,
    Turbo,
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ninja => "ninja",
            Self::Larder => "larder",
            Self::Turbo => "turbo",
        })
    }
}

/// A tool that is installed.
pub(super) struct Rival {
    pub(super) name: Name,
    pub(super) program: PathBuf,
}

const LARDER_TOML: &str = r#"[workspace]
members = ["packages/*"]

[workspace.tasks.build]
command = "sh ./build.sh"
inputs = ["src/**", "build.sh"]
outputs = ["dist"]
"#;

const TURBO_JSON: &str = r#"{
  "tasks": { "build": { "inputs": ["src/**", "build.sh"], "outputs": ["dist/**"] } }
}
"#;

const PACKAGE_JSON: &str = r#"{
  "name": "compared",
  "private": true,
  "packageManager": "npm@10.9.0",
  "workspaces": ["packages/*"]
}
"#;

impl Rival {
    /// Whether the program is there and starts.
    pub(super) fn starts(&self) -> bool {
        let mut command = Command::new(&self.program);
        command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    }

    /// Writes what the tool needs to know about the tree.
    pub(super) fn prepare(&self, tree: &Tree) -> Result<()> {
        match self.name {
            Name::Ninja => fs::write(tree.root.join("build.ninja"), build_ninja(tree)?)?,
            Name::Larder => fs::write(tree.root.join("larder.toml"), LARDER_TOML)?,
            Name::Turbo => prepare_turbo(tree)?,
        }
        Ok(())
    }

    /// The command that brings all outputs of the tree up to date.
    ///
    /// It has a home of its own, so that nobody's settings matter, and nothing else in its environment that
    /// the tools might look at.
    pub(super) fn command(&self, tree: &Tree) -> Command {
        let mut command = Command::new(&self.program);
        command.current_dir(&tree.root).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", tree.root.with_extension("home"));
        match self.name {
            Name::Ninja => {}
            Name::Larder => {
                command.args(["run", "build"]).env("LARDER_DIR", tree.root.with_extension("cache"));
            }
            Name::Turbo => {
                command.args(["run", "build"]);
                command.envs([("TURBO_TELEMETRY_DISABLED", "1"), ("TURBO_NO_UPDATE_NOTIFIER", "1")]);
            }
        }
        command
    }
}

fn build_ninja(tree: &Tree) -> Result<String> {
    let mut text = String::from("rule build\n  command = cd $package && sh ./build.sh\n");
    for (index, package) in tree.packages().enumerate() {
        write!(text, "build {}: build {package}/build.sh", tree.output_paths(index).join(" "))?;
        tree.sources(index).try_for_each(|source| write!(text, " {source}"))?;
        write!(text, "\n  package = {package}\n")?;
    }
    Ok(text)
}

/// Turbo asks git for the state of files, and is slower where there is none.
fn prepare_turbo(tree: &Tree) -> Result<()> {
    fs::write(tree.root.join("turbo.json"), TURBO_JSON)?;
    fs::write(tree.root.join("package.json"), PACKAGE_JSON)?;
    fs::write(tree.root.join(".gitignore"), "dist\n.turbo\nnode_modules\n")?;
    let mut locked = String::new();
    for package in tree.packages() {
        let name = package.rsplit('/').next().unwrap_or(&package);
        let text = format!(
            "{{ \"name\": \"{name}\", \"version\": \"1.0.0\", \"scripts\": {{ \"build\": \"sh ./build.sh\" }} }}\n"
        );
        fs::write(tree.root.join(&package).join("package.json"), text)?;
        write!(locked, ", \"{package}\": {{ \"name\": \"{name}\", \"version\": \"1.0.0\" }}")?;
    }
    let root = "\"\": { \"name\": \"compared\", \"workspaces\": [\"packages/*\"] }";
    let lock =
        format!("{{ \"name\": \"compared\", \"lockfileVersion\": 3, \"packages\": {{ {root}{locked} }} }}\n");
    fs::write(tree.root.join("package-lock.json"), lock)?;
    for arguments in [
        &["init", "--quiet"][..],
        &["add", "."],
        &[
            "-c",
            "user.name=compare",
            "-c",
            "user.email=compare@localhost",
            "commit",
            "--quiet",
            "--message",
            "tree",
        ],
    ] {
        let status = Command::new("git").args(arguments).current_dir(&tree.root).status()?;
        ensure!(status.success(), "git {} failed", arguments[0]);
    }
    Ok(())
}
