//! `cargo xtask dist`: what a package of larder contains, as a directory and as an archive.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::workspace::Workspace;

const DOCUMENTS: &[&str] = &["README.md", "CHANGELOG.md", "LICENSE-APACHE", "LICENSE-MIT"];
const SHELLS: &[(&str, &str)] = &[("bash", "larder.bash"), ("zsh", "_larder"), ("fish", "larder.fish")];

/// Builds the program and collects it with its manual pages, completions and licences under `target/dist`.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let built =
        workspace.succeeds("cargo", &["build", "--release", "--locked", "--package", "larder-cli"])?;
    ensure!(built, "the build failed");
    let target = workspace.metadata.target_directory.as_std_path();
    let package = workspace.metadata.packages.iter().find(|package| package.name.as_str() == "larder-cli");
    let version = &package.context("there is no larder-cli")?.version;
    let name = format!("larder-{version}-{}-{}", std::env::consts::ARCH, std::env::consts::OS);
    let dist = target.join("dist").join(&name);
    if dist.exists() {
        fs::remove_dir_all(&dist)?;
    }
    fs::create_dir_all(dist.join("completions"))?;
    let larder = dist.join("larder");
    fs::copy(target.join("release/larder"), &larder).context("cannot copy the program")?;
    for document in DOCUMENTS {
        fs::copy(workspace.root.join(document), dist.join(document)).with_context(|| document.to_string())?;
    }
    for (shell, file) in SHELLS {
        let output = Command::new(&larder).args(["completions", shell]).output()?;
        ensure!(output.status.success(), "no completions for {shell}");
        fs::write(dist.join("completions").join(file), output.stdout)?;
    }
    let pages = Command::new(&larder).arg("man").arg(dist.join("man/man1")).status()?;
    ensure!(pages.success(), "no manual pages");
    let archive = target.join("dist").join(format!("{name}.tar.gz"));
    let packed =
        Command::new("tar").arg("-C").arg(target.join("dist")).arg("-czf").arg(&archive).arg(&name).status();
    ensure!(packed.context("cannot start tar")?.success(), "tar failed");
    println!("{}", archive.display());
    Ok(())
}
