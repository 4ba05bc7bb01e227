//! A team that shares through a remote execution cache.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};

use larder_shared::testing::{CasdServer, Gate, Server as _};

use crate::lab::Lab;
use crate::shared::{machine_at, run, stats, tree};

/// `larder serve`, on a machine of its own. It ends with this.
pub(crate) struct Serving {
    child: Child,
    url: String,
    lab: Lab,
}

impl Serving {
    pub(crate) fn start() -> Self {
        let lab = Lab::new();
        let mut command = lab.command(&["serve", "--listen", "127.0.0.1:0", "--json"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let said: serde_json::Value = serde_json::from_str(&line).unwrap();
        let url = format!("grpc://{}", said["address"].as_str().unwrap());
        Self { child, url, lab }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Where it keeps what it has.
    pub(crate) fn cache(&self) -> std::path::PathBuf {
        self.lab.path("home/.cache/larder")
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// This server offers BLAKE3, and checks that results are complete.
#[test]
fn what_one_machine_ran_another_gets_from_larders_own_server() {
    let server = Serving::start();
    let [ada, bob, eve] = ["ada", "bob", "eve"].map(|producer| machine_at(&server.url, producer));
    assert_eq!(run(&ada, &[]).ends(), "build ran, count ran");
    assert_eq!(run(&bob, &[]).ends(), "build from shared, count from shared");
    for path in ["project/dist", "project/count.txt"] {
        assert_eq!(tree(&bob, path), tree(&ada, path));
    }
    ada.stdout(&["cache", "invalidate", "kind:task"]);
    assert_eq!(run(&bob, &[]).ends(), "build ran, count ran");
    assert_eq!(run(&eve, &[]).ends(), "build from shared, count from shared");
    assert_eq!(tree(&eve, "project/dist"), tree(&bob, "project/dist"));
}

#[test]
fn what_one_machine_ran_another_gets_from_a_remote_execution_cache_and_runs_nothing() {
    let server = CasdServer::start();
    let (ada, bob) = (machine_at(&server.url(), "ada"), machine_at(&server.url(), "bob"));
    assert_eq!(run(&ada, &[]).ends(), "build ran, count ran");
    let got = run(&bob, &[]);
    assert_eq!(got.ends(), "build from shared, count from shared");
    assert!(got.stderr.contains("build hit, from ada, "), "{}", got.stderr);
    assert_eq!(got.summary["shared"]["tier"], "remote-execution");
    assert!(!bob.path("home/ran").exists(), "nothing ran");
    for path in ["project/dist", "project/count.txt"] {
        assert_eq!(tree(&bob, path), tree(&ada, path));
    }
    assert_eq!(run(&bob, &[]).ends(), "build from disk, count from disk");
    let count = |lab: &Lab, what: &str| stats(lab)[what].as_u64().unwrap();
    assert_eq!((count(&ada, "puts"), count(&ada, "hits"), count(&ada, "failures")), (2, 0, 0));
    assert_eq!((count(&bob, "puts"), count(&bob, "hits"), count(&bob, "corrupt")), (0, 2, 0));
}

#[test]
fn an_invalidation_on_one_machine_has_the_others_compute_anew() {
    let server = CasdServer::start();
    let [ada, bob, eve] = ["ada", "bob", "eve"].map(|producer| machine_at(&server.url(), producer));
    run(&ada, &[]);
    assert_eq!(run(&bob, &[]).ends(), "build from shared, count from shared");
    ada.stdout(&["cache", "invalidate", "tag:task shop#build"]);
    // What the selector does not cover goes too, as nobody can tell what it was.
    assert_eq!(run(&bob, &[]).ends(), "build ran, count ran");
    assert_eq!(run(&eve, &[]).ends(), "build from shared, count from shared");
    assert_eq!(run(&bob, &[]).ends(), "build from disk, count from disk");
}

#[test]
fn content_that_is_damaged_on_the_server_is_a_miss_and_is_sent_anew() {
    let server = CasdServer::start();
    let [ada, bob, eve] = ["ada", "bob", "eve"].map(|producer| machine_at(&server.url(), producer));
    run(&ada, &[]);
    for file in server.content() {
        let mut content = fs::read(&file).unwrap();
        let middle = content.len() / 2;
        content.iter_mut().skip(middle).take(1).for_each(|byte| *byte ^= 1);
        fs::remove_file(&file).unwrap();
        fs::write(&file, content).unwrap();
    }
    // What the other task printed and made is so little that it stands in its action result.
    assert_eq!(run(&bob, &[]).ends(), "build ran, count from shared");
    assert_eq!(tree(&bob, "project/dist"), tree(&ada, "project/dist"));
    assert!(stats(&bob)["corrupt"].as_u64().unwrap() >= 1, "{}", stats(&bob));
    assert_eq!(run(&eve, &[]).ends(), "build from shared, count from shared");
    assert_eq!(tree(&eve, "project/dist"), tree(&ada, "project/dist"));
}

#[test]
fn a_run_of_one_short_task_tells_that_nobody_listens_and_that_its_result_was_not_sent() {
    // Nobody listens at the first port.
    let ada = machine_at("grpc://127.0.0.1:1", "ada");
    let refused =
        "warning: the shared tier remote-execution is left alone: Connection refused (os error 111)";
    for (arguments, ago) in [(&["run", "build"][..], ""), (&["run", "--force", "build"], " s ago")] {
        let output = ada.run(arguments);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && stderr.contains(refused), "{stderr}");
        assert!(stderr.ends_with(&format!("{ago}; 1 result was not sent\n")), "{stderr}");
        assert_eq!(stderr.matches("tier").count(), 1, "{stderr}");
    }
}

#[test]
fn a_cache_that_asks_for_a_token_over_an_encrypted_connection_is_used_with_it_alone() {
    let server = CasdServer::start();
    let gate = Gate::start_encrypted(server.address(), "open-sesame");
    let url = format!("grpcs://localhost:{}", gate.address().port());
    let certificate = gate.certificate().display().to_string();
    let [mut ada, mut bob, mut eve, mut mallory] =
        ["ada", "bob", "eve", "mallory"].map(|producer| machine_at(&url, producer));
    for (machine, token) in [(&mut ada, "open-sesame"), (&mut bob, "open-sesame"), (&mut eve, "hunter2")] {
        machine.variable("LARDER_SHARED_TOKEN", token).variable("SSL_CERT_FILE", &certificate);
    }
    mallory.variable("LARDER_SHARED_TOKEN", "open-sesame");
    assert_eq!(run(&ada, &[]).ends(), "build ran, count ran");
    assert_eq!(run(&bob, &[]).ends(), "build from shared, count from shared");
    let refused = run(&eve, &[]);
    assert_eq!(refused.ends(), "build ran, count ran");
    let trouble = "warning: the shared tier remote-execution is left alone: ";
    assert!(
        refused.stderr.contains(trouble) && refused.stderr.contains("authentication"),
        "{}",
        refused.stderr
    );
    let distrusting = run(&mallory, &[]);
    assert_eq!(distrusting.ends(), "build ran, count ran");
    assert!(distrusting.stderr.contains("certificate"), "{}", distrusting.stderr);
    for arguments in
        [&["config", "show", "--origin"][..], &["config", "show", "--json"], &["run", "build", "-v"]]
    {
        let output = eve.run(arguments);
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(!said.contains("hunter2"), "{arguments:?}: {said}");
    }
    assert!(eve.stdout(&["config", "show", "shared_token"]).contains("***"));
}
