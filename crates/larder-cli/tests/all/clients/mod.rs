//! The tools that the server is for, as their users run them, with the lines that `docs/clients/` tells them to add and a
//! token of an access file.

mod bazel;
mod ccache;
mod gradle;
mod moon;
mod nx;
mod sccache;
mod turborepo;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use larder::key::Digest;
use rustix::process::Signal;
use tempfile::TempDir;

use crate::lab::Lab;
use crate::serving::{Server, content};

/// What stands in the pages where a user puts their own.
const ADDRESS: &str = "127.0.0.1:9092";
const TOKEN: &str = "s3cret";

/// A token that nobody has.
const WRONG: &str = "wrong-wrong-wrong-wrong-wrong";

/// A server that lets in whoever has its one token, and nobody else.
struct Served {
    lab: Lab,
    server: Server,
    secret: String,
}

impl Served {
    fn start() -> Self {
        let lab = Lab::new();
        let made = lab.stdout(&["serve", "token", "ci", "--json"]);
        let made: serde_json::Value = serde_json::from_str(&made).unwrap();
        let [secret, digest] = ["secret", "digest"].map(|name| made[name].as_str().unwrap().to_owned());
        lab.write("project/access.toml", &format!("[tokens.ci]\ndigest = \"{digest}\"\nrole = \"write\"\n"));
        let server = begin(&lab, "127.0.0.1:0");
        Self { lab, server, secret }
    }

    /// Ends the server and begins it anew, where it was.
    fn restart(&mut self) {
        self.server.signal(Signal::TERM);
        assert!(self.server.wait().success());
        self.server = begin(&self.lab, &self.server.address.to_string());
    }

    /// Flips a byte in the middle of each file that holds a content, and says how many that were.
    fn damage(&self) -> usize {
        let mut damaged = 0;
        for folder in fs::read_dir(self.lab.path("project/kept/v1/blobs")).unwrap().map(Result::unwrap) {
            for file in fs::read_dir(folder.path()).unwrap().map(Result::unwrap) {
                let mut bytes = fs::read(file.path()).unwrap();
                let middle = bytes.len() / 2;
                bytes[middle] ^= 0x10;
                // In the same file, as a bad disk would.
                fs::write(file.path(), bytes).unwrap();
                damaged += 1;
            }
        }
        damaged
    }

    /// The lines that a page tells a user to add: the fenced blocks of `docs/clients/{client}.md` that have these names
    /// behind their language, with the server's address and token. A page has them all, in this order, and no others.
    fn lines<const N: usize>(&self, client: &str, names: [&str; N]) -> [String; N] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../docs/clients/{client}.md"));
        let text = fs::read_to_string(path).unwrap();
        let text = text.replace(ADDRESS, &self.server.address.to_string()).replace(TOKEN, &self.secret);
        let fenced = text.split("```").skip(1).step_by(2).map(|block| {
            let (head, lines) = block.split_once('\n').unwrap();
            (head.split_once(' ').map_or("", |(_, name)| name).to_owned(), lines.to_owned())
        });
        let (found, lines): (Vec<_>, Vec<_>) = fenced.unzip();
        assert_eq!(found, names, "the blocks of {client}.md");
        lines.try_into().unwrap()
    }

    /// Proves that a build is turned away whose token is wrong: `build` gets lines with one in them.
    fn prove_refused(&self, lines: &str, build: impl FnOnce(&str)) {
        assert!(lines.contains(&self.secret));
        let count = |outcomes: &[&str]| {
            let of = |outcome: &&str| {
                let label = format!("outcome=\"{outcome}\"");
                self.server.metric("larder_server_requests_total", &[&label]).unwrap_or(0.0)
            };
            outcomes.iter().map(of).sum::<f64>()
        };
        let (refused, served) = (count(&["denied"]), count(&["done", "missing"]));
        build(&lines.replace(&self.secret, WRONG));
        assert!(count(&["denied"]) > refused, "it asked, and was turned away");
        assert_eq!(count(&["done", "missing"]), served, "nothing was given to it, nor taken from it");
    }
}

fn begin(lab: &Lab, listen: &str) -> Server {
    let arguments = ["--listen", listen, "--access", "access.toml", "--dir", "kept"];
    Server::spawn(lab.command(&[&["serve", "--json", "--metrics", "127.0.0.1:0"], &arguments[..]].concat()))
}

/// Lines of `export NAME=VALUE`, as variables.
fn variables(lines: &str) -> Vec<(&str, &str)> {
    lines.lines().map(|line| line.strip_prefix("export ").unwrap().split_once('=').unwrap()).collect()
}

/// A program that `cargo xtask test` puts under `target/tools`.
fn tool(path: &str) -> PathBuf {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/tools");
    let program = tools.join(path);
    assert!(program.exists(), "{} is missing; install it with `cargo xtask test`", program.display());
    program.canonicalize().unwrap()
}

/// A machine that builds: a home of its own, and a new checkout for each build.
struct Machine {
    root: TempDir,
    files: Vec<(&'static str, String)>,
    checkouts: usize,
}

impl Machine {
    /// A checkout has these files.
    fn new(files: impl IntoIterator<Item = (&'static str, String)>) -> Self {
        let root = tempfile::Builder::new().prefix("client").tempdir().unwrap();
        fs::create_dir(root.path().join("home")).unwrap();
        Self { root, files: files.into_iter().collect(), checkouts: 0 }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    /// A new checkout, at a path of its own.
    fn checkout(&mut self) -> PathBuf {
        self.checkouts += 1;
        let at = self.path(&format!("checkout-{}", self.checkouts));
        fs::create_dir(&at).unwrap();
        for (path, text) in &self.files {
            let path = at.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        at
    }

    /// A command in a checkout. Nothing of the machine's environment gets through but `PATH`.
    fn command(&self, program: impl AsRef<OsStr>, at: &Path) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("PATH", std::env::var("PATH").unwrap()).env("HOME", self.path("home"));
        command.env("LC_ALL", "C.UTF-8").env("TMPDIR", self.root.path());
        command.current_dir(at).stdin(Stdio::null());
        command
    }
}

/// Runs a command, and returns all that it said. It has to end well.
fn said(command: &mut Command) -> String {
    let output = command.output();
    let Output { status, stdout, stderr } =
        output.unwrap_or_else(|error| panic!("{command:?}: {error}; install it with `cargo xtask test`"));
    let said = String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned();
    assert!(status.success(), "{command:?} ended with {status}:\n{said}");
    said
}

/// A source in C whose object does not shrink to what stands in an entry.
fn noisy_source() -> String {
    let numbers: String = content(1, 60_000).0.iter().map(|byte| format!("{byte},")).collect();
    format!("const unsigned char noise[] = {{{numbers}}};\n")
}

/// What a build came to.
#[derive(Debug, PartialEq, Eq)]
struct Built {
    hits: usize,
    ran: usize,
    outputs: BTreeMap<String, Digest>,
}

impl Built {
    /// What a build came to that left these files.
    fn with(hits: usize, ran: usize, at: &Path, outputs: &[&str]) -> Self {
        let digest = |path: &&str| {
            let content = fs::read(at.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
            assert!(!content.is_empty(), "{path} is empty");
            ((*path).to_owned(), Digest::of(&content))
        };
        Self { hits, ran, outputs: outputs.iter().map(digest).collect() }
    }
}

/// Proves what the server promises to a client whose build has so many steps: the first build fills, the next one on a
/// clean checkout hits, also after the server was begun anew; what is damaged meanwhile is never served, and is
/// replaced by what is built for it. `build` is told which build it is.
fn prove(served: &mut Served, steps: usize, mut build: impl FnMut(usize) -> Built) {
    let first = build(0);
    assert_eq!((first.hits, first.ran), (0, steps), "the first build fills");
    served.restart();
    assert_eq!(build(1), Built { hits: steps, ran: 0, outputs: first.outputs.clone() }, "the next one hits");
    assert!(served.damage() > 0, "something is kept in files");
    let third = build(2);
    assert_eq!(third.outputs, first.outputs, "what is damaged is not served");
    assert!(third.ran > 0, "it was built anew: {third:?}");
    assert_eq!(build(3), Built { hits: steps, ran: 0, outputs: first.outputs }, "and is served again");
}
