//! Bazel restoring what it built before: from larder over gRPC and over HTTP, from a disk cache of its own, and from
//! files that nginx serves, which shows what asking anybody over HTTP takes.
//!
//! Each has a checkout and a Bazel server to itself, which stays for all rounds. How long larder takes of that is what it
//! says itself, in its metrics.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};

use super::client::Client;
use super::running::Running;
use crate::tools;
use crate::workspace::Workspace;

/// How many outputs are restored.
const OUTPUTS: usize = 100;

pub(super) fn compare(
    workspace: &Workspace,
    larder: &Running,
    directory: &Path,
    rounds: usize,
) -> Result<()> {
    let program = tools::require(workspace, &tools::BAZEL)?;
    let address = larder.address;
    let nginx = Running::nginx(&tools::require(workspace, &tools::NGINX)?, &directory.join("nginx"))?;
    let caches = [
        ("disk cache", format!("--disk_cache={}", directory.join("cache").display())),
        ("larder over gRPC", format!("--remote_cache=grpc://{address}")),
        ("larder over HTTP", format!("--remote_cache=http://{address}")),
        ("nginx over HTTP", format!("--remote_cache=http://{}", nginx.address)),
    ];
    let mut bazels = Vec::new();
    for (nth, (name, cache)) in caches.into_iter().enumerate() {
        let bazel = Bazel::new(&program, &directory.join(nth.to_string()), cache)?;
        // What over gRPC was put would be there over HTTP.
        if name != "larder over HTTP" {
            ensure!(bazel.build()?.contains(" local"), "{name}: the first build runs nothing");
        }
        bazels.push((name, bazel, Vec::new()));
    }
    for round in 0..=rounds {
        for nth in 0..bazels.len() {
            // In turn, and each first as often as the others.
            let at = (nth + round) % bazels.len();
            let (name, bazel, took) = &mut bazels[at];
            bazel.run(&["clean"])?;
            let answered = answering(larder)?;
            let began = Instant::now();
            let said = bazel.build()?;
            let millis = began.elapsed().as_secs_f64() * 1e3;
            let answering = answering(larder)? - answered;
            ensure!(said.contains(&format!("{OUTPUTS} remote cache hit")), "{name}: not restored:\n{said}");
            // The first time its server has yet to warm up.
            if round > 0 {
                took.push((millis, answering));
            }
        }
    }
    println!(
        "bazel: {OUTPUTS} outputs restored, in ms: median / least of {rounds} rounds; ratio to the disk cache"
    );
    let of = |took: &[(f64, f64)], which: fn(&(f64, f64)) -> f64| middle_and_least(took.iter().map(which));
    let disk = of(&bazels[0].2, |took| took.0);
    for (name, _, took) in &bazels {
        let (middle, least) = of(took, |took| took.0);
        println!(
            "bazel: {name}: {middle:.0} / {least:.0}, ratio {:.2} / {:.2}; larder answers for {:.0}",
            middle / disk.0,
            least / disk.1,
            of(took, |took| took.1).0
        );
    }
    Ok(())
}

/// For how many milliseconds a server was at work for its clients so far, all their requests added up.
fn answering(server: &Running) -> Result<f64> {
    let mut client = Client::connect(server.address)?;
    ensure!(client.get("/metrics")? == 200, "it tells no metrics");
    let text = String::from_utf8_lossy(client.body()).into_owned();
    let seconds = text
        .lines()
        .filter(|line| line.starts_with("larder_server_request_seconds_sum") && !line.contains("\"own\""))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    Ok(seconds.sum::<f64>() * 1e3)
}

/// A checkout and its Bazel server, which ends with this.
struct Bazel {
    program: PathBuf,
    checkout: PathBuf,
    root: PathBuf,
    cache: String,
}

impl Bazel {
    fn new(program: &Path, directory: &Path, cache: String) -> Result<Self> {
        let (checkout, root) = (directory.join("checkout"), directory.join("root"));
        super::fresh(&checkout)?;
        super::fresh(&root)?;
        let mut rules = String::new();
        for nth in 0..OUTPUTS {
            // Some kilobytes each, none like another.
            writeln!(
                rules,
                "genrule(name = \"g{nth}\", outs = [\"g{nth}.txt\"], cmd = \"seq {nth} {} > $@\")",
                nth + 1000 + 10 * nth
            )?;
        }
        fs::write(checkout.join("WORKSPACE"), "")?;
        fs::write(checkout.join("BUILD"), rules)?;
        Ok(Self { program: program.to_owned(), checkout, root, cache })
    }

    fn build(&self) -> Result<String> {
        // So many jobs as `docs/clients/bazel.md` says; they serve the disk cache as well.
        let alike = ["--spawn_strategy=local", "--color=no", "--curses=no", "--jobs=100"];
        self.run(&[&["build"], &alike[..], &[&self.cache, "//:all"]].concat())
    }

    /// Runs Bazel, and returns what it said.
    fn run(&self, arguments: &[&str]) -> Result<String> {
        let output = Command::new(&self.program)
            .arg(format!("--output_user_root={}", self.root.display()))
            .args(["--nohome_rc", "--host_jvm_args=-Xmx256m"])
            .args(arguments)
            .current_dir(&self.checkout)
            .stdin(Stdio::null())
            .output()
            .context("cannot start bazel")?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "bazel {arguments:?}: {}\n{said}", output.status);
        Ok(said)
    }
}

impl Drop for Bazel {
    fn drop(&mut self) {
        let _ = self.run(&["shutdown"]);
        // It makes what it keeps read-only, which would outlive this.
        let _ = Command::new("chmod").args(["-R", "u+w"]).arg(&self.root).status();
    }
}

fn middle_and_least(millis: impl Iterator<Item = f64>) -> (f64, f64) {
    let mut millis: Vec<f64> = millis.collect();
    millis.sort_by(f64::total_cmp);
    (millis[millis.len() / 2], millis[0])
}
