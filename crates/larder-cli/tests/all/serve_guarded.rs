//! `larder serve` with an access file, an audit log, limits: the real process.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use expect_test::expect;
use larder::key::{Algorithm, Digest};

use crate::lab::Lab;
use crate::shared::{machine_at, run};

/// A server that ends with its test.
struct Serving {
    child: Child,
    address: String,
    /// What it says on stderr, so far.
    said: Arc<Mutex<String>>,
    listens: Option<JoinHandle<()>>,
}

impl Serving {
    fn start(lab: &Lab, arguments: &[&str]) -> Self {
        let mut command = lab.command(&[&["serve", "--listen", "127.0.0.1:0", "--json"], arguments].concat());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let said: serde_json::Value = serde_json::from_str(&line).expect("the server says where it listens");
        let address = said["address"].as_str().unwrap().to_owned();
        let said = Arc::new(Mutex::new(String::new()));
        let (stderr, heard) = (BufReader::new(child.stderr.take().unwrap()), Arc::clone(&said));
        let listens = std::thread::spawn(move || {
            for line in stderr.lines() {
                *heard.lock().unwrap() += &(line.unwrap() + "\n");
            }
        });
        Self { child, address, said, listens: Some(listens) }
    }

    fn status(&self, method: &str, path: &str, token: &str, body: &str) -> u16 {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        );
        stream.write_all(head.as_bytes()).unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).unwrap();
        said.split(' ').nth(1).unwrap().parse().unwrap()
    }

    fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Ends it, and returns what it said on stderr.
    fn end(mut self) -> String {
        self.signal("-TERM");
        assert!(self.child.wait().unwrap().success());
        self.listens.take().unwrap().join().unwrap();
        self.said.lock().unwrap().clone()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // One that has ended is no trouble.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..3000 {
        if holds() {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("{what} does not come");
}

#[test]
fn a_token_is_made_used_and_taken_away_while_the_server_runs() {
    let lab = Lab::new();
    let made: serde_json::Value =
        serde_json::from_str(&lab.stdout(&["serve", "token", "ci", "--json"])).unwrap();
    let (secret, digest) = (made["secret"].as_str().unwrap(), made["digest"].as_str().unwrap());
    assert_eq!(Digest::of(secret.as_bytes()).to_string(), digest);
    assert_ne!(lab.stdout(&["serve", "token", "ci"]), lab.stdout(&["serve", "token", "ci"]));
    let access = format!("[tokens.ci]\ndigest = \"{digest}\"\nrole = \"write\"\n");
    lab.write("project/access.toml", &access);
    let serving = Serving::start(&lab, &["--access", "access.toml", "--audit", "audit"]);
    let path = format!("/cas/{}", Algorithm::Sha256.digest(b"content"));
    assert_eq!(serving.status("PUT", &path, "wrong-wrong-wrong-wrong", "content"), 401);
    assert_eq!(serving.status("PUT", &path, secret, "content"), 200);
    // A mistake is told, and changes nothing.
    lab.write("project/access.toml", "anybody = 5");
    serving.signal("-HUP");
    let mistake = "access.toml:1:11: `anybody` is an integer";
    until("what is said of the mistake", || serving.said.lock().unwrap().contains(mistake));
    assert_eq!(serving.status("GET", &path, secret, ""), 200);
    lab.write("project/access.toml", &access.replace("write", "read"));
    serving.signal("-HUP");
    until("the new role", || serving.status("PUT", &path, secret, "content") == 403);
    assert_eq!(serving.status("GET", &path, secret, ""), 200);
    let audit = lab.path("project/audit");
    let said = serving.end();
    let audit = std::fs::read_to_string(audit).unwrap();
    assert!(audit.contains(r#""who":"ci""#) && audit.contains(r#""outcome":"refused""#), "{audit}");
    assert!(!said.contains(secret) && !audit.contains(secret));
}

#[test]
fn a_tier_that_can_only_drop_everything_is_warned_of() {
    let mut lab = Lab::new();
    lab.variable("LARDER_SHARED", "grpc://127.0.0.1:1");
    assert!(
        Serving::start(&lab, &[])
            .end()
            .contains("warning: a remote execution cache can only drop everything")
    );
}

#[test]
fn check_says_whether_a_server_could_begin_and_mistakes_have_a_place() {
    let lab = Lab::new();
    lab.write("project/good.toml", "anybody = \"read\"\n");
    lab.write("project/bad.toml", "anybody = \"read\"\n[tokens.ci]\nsecret = \"short\"\nroel = \"read\"\n");
    lab.check(
        &["serve", "--check", "--access", "good.toml"],
        expect![[r#"
        the access file and certificates are valid
    "#]],
    );
    lab.check(
        &["serve", "--check", "--access", "bad.toml"],
        expect![[r#"
        ! error: the access file can't be used
        ! bad.toml:3:10: the secret has fewer than 16 bytes
        !     `larder serve token` makes one that nobody guesses
        ! bad.toml:4:1: unknown key `roel` in [tokens.ci]
        !     did you mean `role`?
        exit code 2
    "#]],
    );
    lab.check(
        &["serve", "--check", "--access", "none.toml"],
        expect![[r#"
        ! error: cannot read none.toml: No such file or directory (os error 2)
        exit code 2
    "#]],
    );
    lab.check(
        &["serve", "--check", "--tls-cert", "good.toml", "--tls-key", "good.toml"],
        expect![[r#"
        ! error: cannot read good.toml: no items found
        ! hint: --tls-cert, --tls-key and --client-ca name files in PEM
        exit code 2
    "#]],
    );
    lab.check(
        &["serve", "--listen", "0.0.0.0:0"],
        expect![[r#"
        ! error: 0.0.0.0:0 is reachable for others, and nobody needs a token to write
        ! hint: listen on 127.0.0.1, or say who may do what with --access FILE
        exit code 2
    "#]],
    );
    lab.check(
        &["serve", "--audit-reads"],
        expect![[r#"
        ! error: the following required arguments were not provided:
        !   --audit <FILE>
        ! 
        ! Usage: larder serve --audit <FILE> --audit-reads
        ! 
        ! For more information, try '--help'.
        exit code 2
    "#]],
    );
}

#[test]
fn check_refuses_what_a_server_would_not_begin_with() {
    let lab = Lab::new();
    lab.write("project/open.toml", "anybody = \"write\"\n[limits]\nrequests_per_second = 1\n");
    let check = |arguments: &[&str], expect| lab.check(&[&["serve", "--check"], arguments].concat(), expect);
    check(
        &["--access", "open.toml", "--listen", "0.0.0.0:1"],
        expect![[r#"
        ! error: 0.0.0.0:1 is reachable for others, and nobody needs a token to write
        ! hint: listen on 127.0.0.1, or say who may do what with --access FILE
        exit code 2
    "#]],
    );
    check(
        &["--scope", "a/b"],
        expect![[r#"
        ! error: scope "a/b" must be 1 to 64 characters of a-z, A-Z, 0-9, '.', '_' and '-'
        exit code 2
    "#]],
    );
    check(
        &["--audit", "none/audit"],
        expect![[r#"
        ! error: cannot write none/audit: No such file or directory (os error 2)
        exit code 2
    "#]],
    );
    check(
        &["--otlp", "collector"],
        expect![[r#"
        ! error: "collector" is no URL of a collector
        ! hint: write it as http://HOST:PORT; a collector beside the server speaks TLS to others
        exit code 2
    "#]],
    );
    check(
        &["--set", "mode=read"],
        expect![[r#"
        ! error: a server needs the disk tier, to read and to write
        ! hint: `larder config show --origin` tells what switches it off
        exit code 2
    "#]],
    );
    check(
        &["--connections", "0"],
        expect![[r#"
        ! error: invalid value '0' for '--connections <NUMBER>': 0 is not in 1..=4294967295
        ! 
        ! For more information, try '--help'.
        exit code 2
    "#]],
    );
}

#[test]
fn check_tells_of_tokens_that_are_worth_nothing_and_makes_no_audit_log() {
    let lab = Lab::new();
    let check = |arguments: &[&str], expect| lab.check(&[&["serve", "--check"], arguments].concat(), expect);
    let token =
        |name: &str, rest: &str| format!("[tokens.{name}]\nsecret = \"{}\"\n{rest}\n", name.repeat(8));
    let role = "role = \"read\"";
    let tokens = [
        token("good", &format!("{role}\nexpires = 9999-01-01")),
        token("gone", &format!("{role}\nexpires = 2020-01-01")),
        token("idle", ""),
    ];
    lab.write("project/doubts.toml", &(tokens.concat() + "[certificates.host]\n"));
    check(
        &["--access", "doubts.toml", "--audit", "audit"],
        expect![[r#"
        the access file and certificates are valid
        ! warning: the token gone expired at 2020-01-01T00:00:00Z
        ! warning: idle may do nothing, as it has no role
        ! warning: host may do nothing, as it has no role
        ! warning: the certificate host counts for nothing, as the server has no authority for clients (--client-ca)
    "#]],
    );
    check(
        &["--access", "doubts.toml", "--json"],
        expect![[r#"
        {
          "doubts": [
            "the token gone expired at 2020-01-01T00:00:00Z",
            "idle may do nothing, as it has no role",
            "host may do nothing, as it has no role",
            "the certificate host counts for nothing, as the server has no authority for clients (--client-ca)"
          ],
          "valid": true
        }
    "#]],
    );
    assert!(!lab.path("project/audit").exists());
}

/// A server, on a machine of its own, that has these rules and three tokens.
fn guarded(rules: &str) -> (Lab, Serving) {
    let lab = Lab::new();
    let token = |role: &str| format!("[tokens.{role}]\nsecret = \"{}\"\nrole = \"{role}\"\n", secret(role));
    lab.write("project/access.toml", &(["read", "write", "admin"].map(token).concat() + rules));
    let serving = Serving::start(&lab, &["--access", "access.toml"]);
    (lab, serving)
}

fn secret(role: &str) -> String {
    format!("{role}-").repeat(5)
}

/// A machine of a team that shares by that server, with the token of this role.
fn teammate(serving: &Serving, scope: &str, role: &str) -> Lab {
    let mut lab = machine_at(&format!("grpc://{}/{scope}", serving.address), role);
    lab.variable("LARDER_SHARED_TOKEN", &secret(role));
    lab
}

const BOTH_RAN: &str = "build ran, count ran";
const BOTH_SHARED: &str = "build from shared, count from shared";

#[test]
fn results_of_tasks_come_and_go_by_the_role_of_a_token_and_what_its_scope_protects() {
    let (_lab, serving) = guarded("[scopes.protected]\nresults = \"read-only\"\n");
    for (scope, sends) in [("open", "write"), ("protected", "admin")] {
        for role in ["read", "write"].into_iter().filter(|role| *role != sends) {
            let refused = run(&teammate(&serving, scope, role), &[]);
            assert_eq!(refused.ends(), BOTH_RAN);
            assert!(refused.stderr.contains("may only be read"), "{}", refused.stderr);
            assert_eq!(refused.summary["shared"]["trouble"], serde_json::Value::Null);
        }
        assert_eq!(run(&teammate(&serving, scope, sends), &[]).ends(), BOTH_RAN, "{scope}: nothing was sent");
        let reads = teammate(&serving, scope, "read");
        assert_eq!(run(&reads, &[]).ends(), BOTH_SHARED);
        // Nobody else hears of it, and what is done here stays done here.
        let refused = reads.run(&["cache", "invalidate", "all"]);
        let said = String::from_utf8_lossy(&refused.stderr);
        assert!(said.contains("could not be told: tier may not be written to"), "{said}");
        assert_eq!(run(&teammate(&serving, scope, "read"), &[]).ends(), BOTH_SHARED);
        assert_eq!(run(&reads, &[]).ends(), BOTH_SHARED, "one that may never tell owes nothing");
    }
    let stranger = run(&teammate(&serving, "open", "nobody"), &[]);
    assert_eq!(stranger.ends(), BOTH_RAN);
    assert!(stranger.stderr.contains("is left alone: "), "{}", stranger.stderr);
    // A single task that takes a moment asks little, and is told so too.
    let stranger = teammate(&serving, "open", "nobody").run(&["run", "build"]);
    let said = String::from_utf8_lossy(&stranger.stderr);
    assert!(said.contains("is left alone: ") && said.ends_with("; 1 result was not sent\n"), "{said}");
}

#[test]
fn where_things_are_written_once_the_first_result_stays_and_nothing_is_invalidated() {
    let (_lab, serving) = guarded("[scopes.once]\nwrite_once = true\n");
    let [ada, bob, eve] = [(); 3].map(|()| teammate(&serving, "once", "write"));
    assert_eq!(run(&ada, &[]).ends(), BOTH_RAN);
    let anew = run(&bob, &["--force"]);
    assert_eq!(
        (anew.ends().as_str(), &anew.summary["shared"]["trouble"]),
        (BOTH_RAN, &serde_json::Value::Null)
    );
    let got = run(&eve, &[]);
    assert_eq!(got.ends(), BOTH_SHARED);
    let said = |lab: &Lab| {
        let untold = lab.run(&["cache", "invalidate", "kind:task"]);
        assert!(!untold.status.success());
        String::from_utf8_lossy(&untold.stderr).into_owned()
    };
    assert!(said(&ada).contains("the remote-execution tier could not be told: tier may not be written to"));
    assert_eq!(run(&teammate(&serving, "once", "read"), &[]).ends(), BOTH_SHARED);
}
