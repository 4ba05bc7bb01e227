//! Small contents over gRPC: reads and writes, in streams and in batches, against buildbox-casd.
//!
//! Whoever asks is a program of its own (`larder-server`'s example `calls`), so that this one needs no gRPC.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::rates::Rates;
use super::running::Running;
use crate::tools;
use crate::workspace::Workspace;

/// How many contents there are to read.
const CONTENTS: u64 = 4096;

pub(super) fn compare(
    workspace: &Workspace,
    larder: &Running,
    directory: &Path,
    rounds: usize,
) -> Result<()> {
    let casd = Running::casd(&tools::require(workspace, &tools::CASD)?, directory)?;
    let calls = Calls::build(workspace)?;
    for server in [&casd, larder] {
        calls.per_second(server, "batch-write", 1, 0)?;
    }
    println!("calls: 4096 bytes, contents a second: median / best of {rounds} rounds");
    let mut from = 0;
    for clients in [1, 32] {
        for [call, what] in [
            ["read", "reads, streamed"],
            ["batch-read", "reads, 16 at once"],
            ["write", "writes, streamed"],
            ["batch-write", "writes, 16 at once"],
        ] {
            let mut rates = Rates::against("casd");
            for round in 0..rounds {
                if call.ends_with("write") {
                    // Contents that neither has.
                    from += CONTENTS;
                }
                let first = if call.ends_with("write") { from } else { 0 };
                let of = |server| calls.per_second(server, call, clients, first);
                rates.round(round, || of(&casd), || of(larder))?;
            }
            println!("calls: {what}, {clients:2} clients: {}", rates.told());
        }
    }
    Ok(())
}

/// The program that asks.
struct Calls(PathBuf);

impl Calls {
    fn build(workspace: &Workspace) -> Result<Self> {
        let arguments =
            ["build", "--release", "--locked", "--package", "larder-server", "--example", "calls"];
        ensure!(workspace.succeeds("cargo", &arguments)?, "the client does not build");
        Ok(Self(workspace.metadata.target_directory.join("release/examples/calls").into()))
    }

    fn per_second(&self, server: &Running, call: &str, clients: u64, first: u64) -> Result<f64> {
        let output = Command::new(&self.0)
            .args([&server.address.to_string(), call])
            .args([clients, first, CONTENTS].map(|number| number.to_string()))
            .output()
            .context("cannot start the client")?;
        ensure!(output.status.success(), "{call}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8_lossy(&output.stdout).trim().parse()?)
    }
}
