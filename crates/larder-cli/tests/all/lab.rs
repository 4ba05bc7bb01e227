//! A home, a current directory and a way to run `larder` in them.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use expect_test::Expect;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use tempfile::TempDir;

/// How long is waited for what has to come.
pub(crate) const BOUND: Duration = Duration::from_secs(60);

/// Does what waits for another program, and panics if that does not come.
pub(crate) fn within_bound<T: Send + 'static>(what: &str, work: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, done) = std::sync::mpsc::channel();
    std::thread::spawn(move || sender.send(work()));
    done.recv_timeout(BOUND).unwrap_or_else(|error| panic!("{what}: {error}"))
}

/// Directories of one test. Nothing of the machine's environment gets through but `PATH`.
pub(crate) struct Lab {
    root: TempDir,
    variables: BTreeMap<String, String>,
}

impl Lab {
    pub(crate) fn new() -> Self {
        let root = tempfile::Builder::new().prefix("larder").tempdir().unwrap();
        fs::create_dir_all(root.path().join("home")).unwrap();
        fs::create_dir_all(root.path().join("project")).unwrap();
        let mut variables = BTreeMap::new();
        variables.insert("PATH".to_owned(), std::env::var("PATH").unwrap());
        variables.insert("HOME".to_owned(), root.path().join("home").display().to_string());
        variables.insert("LARDER_PRODUCER".to_owned(), "ada".to_owned());
        Self { root, variables }
    }

    pub(crate) fn variable(&mut self, name: &str, value: &str) -> &mut Self {
        self.variables.insert(name.to_owned(), value.to_owned());
        self
    }

    pub(crate) fn without_variable(&mut self, name: &str) -> &mut Self {
        self.variables.remove(name);
        self
    }

    /// A path below the lab: `home/…` or `project/…`.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    pub(crate) fn write(&self, path: &str, text: &str) -> &Self {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    /// `larder` with these arguments, in `project`.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_larder"));
        command.args(arguments).current_dir(self.path("project")).stdin(Stdio::null());
        command.env_clear().envs(&self.variables);
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs on a terminal of its own and returns all that appeared there, as it was sent.
    pub(crate) fn terminal(&self, arguments: &[&str]) -> String {
        let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&controller).unwrap();
        unlockpt(&controller).unwrap();
        let name = ptsname(&controller, Vec::new()).unwrap();
        let terminal = fs::File::options().read(true).write(true).open(name.to_str().unwrap()).unwrap();
        let mut command = self.command(arguments);
        command.stdout(terminal.try_clone().unwrap()).stderr(terminal).env("TERM", "xterm");
        let mut child = command.spawn().unwrap();
        // The command holds the terminal's other end open as well.
        drop(command);
        let mut sent = Vec::new();
        // On Linux, the end of the last program on a terminal is an error to whoever reads from it.
        let _ = fs::File::from(controller).read_to_end(&mut sent);
        child.wait().unwrap();
        String::from_utf8(sent).unwrap()
    }

    /// Runs and returns what it printed, which has to have gone well.
    pub(crate) fn stdout(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs and compares stdout, stderr and the exit code, with the lab's own paths taken out.
    pub(crate) fn check(&self, arguments: &[&str], expect: Expect) {
        expect.assert_eq(&self.shown(&self.run(arguments)));
    }

    fn shown(&self, output: &Output) -> String {
        let mut text = String::from_utf8(output.stdout.clone()).unwrap();
        for line in String::from_utf8(output.stderr.clone()).unwrap().lines() {
            text += &format!("! {line}\n");
        }
        if !output.status.success() {
            text += &format!("exit code {}\n", output.status.code().unwrap());
        }
        clean(&text, self.root.path())
    }
}

/// Takes out what differs from run to run: the lab's path, times, digests of what has a time in it, and numbers
/// of bytes, as what a time takes to write down varies.
fn clean(text: &str, root: &Path) -> String {
    let text = text.replace(&root.display().to_string(), "[lab]");
    let mut clean = String::with_capacity(text.len());
    let mut words = text.split_inclusive([' ', '\n']).peekable();
    while let Some(word) = words.next() {
        let is_number = word.strip_suffix(' ').is_some_and(|word| {
            word.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') && !word.is_empty()
        });
        let unit = words.peek().map(|next| next.trim_end().trim_end_matches([',', ':']));
        let is_digest =
            word.trim_end().len() == 64 && word.trim_end().bytes().all(|byte| byte.is_ascii_hexdigit());
        match unit {
            _ if is_digest => clean += &word.replace(word.trim_end(), "[digest]"),
            Some("B") if is_number => clean += "[n] ",
            Some("µs" | "ms" | "s") if is_number => {
                clean += "[time]";
                clean += words.next().unwrap_or_default().trim_start_matches(char::is_alphabetic);
            }
            _ => clean += word,
        }
    }
    clean
}
