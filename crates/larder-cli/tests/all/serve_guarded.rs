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
fn check_says_whether_a_server_could_begin_and_mistakes_have_a_place() {
    let lab = Lab::new();
    lab.write("project/good.toml", "anybody = \"read\"\n");
    lab.write("project/bad.toml", "anybody = \"read\"\n[tokens.ci]\nsecret = \"short\"\nroel = \"read\"\n");
    lab.check(
        &["serve", "--check", "--access", "good.toml"],
        expect![[r#"
        all can be used
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
