//! Inventories that are programs: run only by whoever was told so, and outside of all queries.
//!
//! What a program prints today it need not print tomorrow, so no query may depend on running it. Instead it is run
//! before anything is asked, each time, and what it printed is a file of the session, by the digest of its content:
//! what is kept holds for as long as the program says the same.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::process::Command;
use tokio::time::timeout;

use super::output;
use crate::problem::Problem;

/// How much a program prints at most.
const OUTPUT_LIMIT_BYTES: u64 = 256 << 20;

/// Runs a program with `--list` and, if that says nothing of the variables of hosts, with `--host` for each; returns
/// one output that has all. `name` is what to call it in problems. Each start may take as long as `limit`.
pub async fn run_program(name: &str, program: &Path, limit: Duration) -> Result<Vec<u8>, Problem> {
    let listed = run(name, program, &["--list"], limit).await?;
    let hosts = output::hosts_without_variables(name, &listed)?;
    if hosts.is_empty() {
        return Ok(listed);
    }
    let mut variables = serde_json::Map::new();
    for host in hosts {
        let said = run(name, program, &["--host", &host], limit).await?;
        if !said.trim_ascii().is_empty() {
            let said = serde_json::from_slice(&said).map_err(|error| {
                Problem::of_file(name, format!("what it prints of host `{host}` is no JSON: {error}"))
            })?;
            variables.insert(host, said);
        }
    }
    // The order of groups is that of the text, so the text is kept as it is and gets one more entry; of equal names
    // the last one counts.
    let meta = serde_json::json!({ "hostvars": variables }).to_string();
    let open = listed.trim_ascii().strip_suffix(b"}").unwrap_or_default();
    Ok([open, format!(",\"_meta\":{meta}}}").as_bytes()].concat())
}

async fn run(name: &str, program: &Path, arguments: &[&str], limit: Duration) -> Result<Vec<u8>, Problem> {
    let failed = |message: String| {
        let remedy = format!("see what it says: {name} {}", arguments.join(" "));
        Problem::of_file(name, message).remedy(remedy)
    };
    let child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .spawn();
    let mut child = child.map_err(|error| failed(format!("the program does not start: {error}")))?;
    let stdout = child.stdout.take().ok_or_else(|| failed("the program has no output".to_owned()))?;
    let mut said = Vec::new();
    let finished = timeout(limit, async {
        stdout.take(OUTPUT_LIMIT_BYTES + 1).read_to_end(&mut said).await?;
        child.wait().await
    });
    match finished.await {
        Err(_) => Err(failed(format!("the program takes longer than {} s", limit.as_secs()))),
        Ok(Err(error)) => Err(failed(format!("the program can't be heard: {error}"))),
        Ok(Ok(_)) if said.len() as u64 > OUTPUT_LIMIT_BYTES => {
            Err(failed("the program prints too much".to_owned()))
        }
        Ok(Ok(status)) if !status.success() => Err(failed(format!("the program failed: {status}"))),
        Ok(Ok(_)) => Ok(said),
    }
}
