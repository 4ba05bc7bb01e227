//! Verbs that stay: `larder run --watch` and `larder plan --watch`.

use std::fs;
use std::io::{BufRead as _, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use crate::lab::{BOUND, Lab, within_bound};

/// A `larder` that stays.
struct Staying {
    child: Child,
    out: Receiver<String>,
    err: Receiver<String>,
}

impl Staying {
    fn start(lab: &Lab, arguments: &[&str]) -> Self {
        let mut command = lab.command(arguments);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (out, err) = (lines(child.stdout.take().unwrap()), lines(child.stderr.take().unwrap()));
        Self { child, out, err }
    }

    /// What it says until it waits for changes.
    fn said(&self) -> Vec<String> {
        let mut said = Vec::new();
        loop {
            match self.err.recv_timeout(BOUND) {
                Ok(line) if line.starts_with("watching for changes") => return said,
                Ok(line) => said.push(line),
                Err(error) => panic!("{error} after {said:?}"),
            }
        }
    }

    fn printed(&self) -> String {
        self.out.recv_timeout(BOUND).unwrap()
    }

    /// Interrupts it, and returns its exit code and what it printed since.
    fn end(mut self) -> (Option<i32>, Vec<String>) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
        let code = self.child.wait().unwrap().code();
        (code, self.out.iter().chain(self.err.iter()).collect())
    }
}

impl Drop for Staying {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lines(from: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines() {
            if sender.send(line.unwrap()).is_err() {
                return;
            }
        }
    });
    lines
}

/// Two packages of which one depends on the other, and a third whose task is never kept. Each task counts its runs.
fn workspace() -> Lab {
    let lab = Lab::new();
    let task = |depends: &str, command: &str, more: &str| {
        format!("[package]\n{depends}[tasks.build]\ncommand = \"{command}\"\ninputs = [\"src/**\"]\n{more}")
    };
    lab.write("project/larder.toml", "[workspace]\nmembers = [\"packages/*\"]\n");
    for (name, depends) in [("core", ""), ("web", "depends_on = [\"core\"]\n")] {
        let copies = format!("cat src/a > out; echo ran >> ../../../ran-{name}");
        let definition = task(depends, &copies, "outputs = [\"out\"]\ndepends_on = [\"^build\"]\n");
        lab.write(&format!("project/packages/{name}/larder.toml"), &definition);
        lab.write(&format!("project/packages/{name}/src/a"), "1\n");
    }
    let notes = task("", "echo ran >> ../../../ran-notes; date > src/../made", "cache = false\n");
    lab.write("project/packages/notes/larder.toml", &notes);
    lab.write("project/packages/notes/src/a", "1\n");
    lab
}

/// How often the tasks ran.
fn runs(lab: &Lab) -> [usize; 3] {
    ["core", "web", "notes"].map(|name| {
        let counted = fs::read_to_string(lab.path(&format!("ran-{name}"))).unwrap_or_default();
        counted.lines().count()
    })
}

#[test]
fn only_what_an_edit_touches_is_run_again() {
    let lab = workspace();
    let staying = Staying::start(&lab, &["run", "build", "--watch"]);
    staying.said();
    assert_eq!(runs(&lab), [1, 1, 1]);
    lab.write("project/packages/web/src/a", "2\n");
    let said = staying.said();
    assert_eq!(said[0], "changed: inputs of web#build");
    assert_eq!(runs(&lab), [1, 2, 1]);
    // What depends on it reads what it made.
    lab.write("project/packages/core/src/a", "3\n");
    staying.said();
    assert_eq!(runs(&lab), [2, 3, 1]);
    lab.write("project/packages/core/src/new/b", "3\n");
    staying.said();
    assert_eq!(runs(&lab), [3, 3, 1], "the same was made");
    lab.write("project/packages/notes/src/a", "2\n");
    staying.said();
    assert_eq!(runs(&lab), [3, 3, 2]);
    // In what came since as well; and what is written and stays the same touches nothing.
    lab.write("project/packages/notes/src/a", "2\n").write("project/packages/core/src/new/b", "4\n");
    staying.said();
    assert_eq!(runs(&lab), [4, 3, 2]);
    assert_eq!(fs::read_to_string(lab.path("project/packages/web/out")).unwrap(), "2\n");
    assert_eq!(staying.end(), (Some(0), vec![]));
    let planned = lab.stdout(&["run", "core#build", "web#build", "--dry-run"]);
    assert!(!planned.contains("would run"), "{planned}");
}

#[test]
fn an_edit_during_a_run_is_followed_by_another() {
    let lab = Lab::new();
    let fifos = ["started", "go"].map(|name| lab.path(name));
    assert!(Command::new("mkfifo").args(&fifos).status().unwrap().success());
    lab.write(
        "project/larder.toml",
        "[tasks.build]\ncommand = \"cat in > out; echo > ../started; cat ../go\"\ninputs = [\"in\"]\noutputs = [\"out\"]\n",
    );
    lab.write("project/in", "1\n");
    let staying = Staying::start(&lab, &["run", "build", "-w"]);
    let [begins, goes_on] = fifos;
    let started = || {
        let begins = begins.clone();
        within_bound("a command begins", move || fs::read(begins).unwrap());
    };
    let go = || {
        let goes_on = goes_on.clone();
        within_bound("the command reads", move || fs::write(goes_on, "").unwrap());
    };
    started();
    lab.write("project/in", "2\n");
    go();
    started();
    go();
    assert!(staying.said().iter().any(|line| line.contains("ran")));
    let said = staying.said();
    assert_eq!(said[0], "changed: inputs of project#build");
    assert_eq!(fs::read_to_string(lab.path("project/out")).unwrap(), "2\n");
    // In the middle of a run an interrupt ends that, and everything.
    lab.write("project/in", "3\n");
    started();
    let (code, said) = staying.end();
    assert_eq!(code, Some(130), "{said:?}");
    assert!(said.iter().any(|line| line.contains("interrupted")), "{said:?}");
}

#[test]
fn a_definition_is_read_again_and_may_be_wrong_for_a_while() {
    let lab = workspace();
    let staying = Staying::start(&lab, &["run", "core#build", "--watch"]);
    staying.said();
    let path = "project/packages/core/larder.toml";
    let defined = fs::read_to_string(lab.path(path)).unwrap();
    lab.write(path, &defined.replace("command =", "comand ="));
    assert!(staying.said().iter().any(|line| line.contains("comand")));
    lab.write(path, &defined.replace("cat src/a", "cat src/a src/a"));
    staying.said();
    assert_eq!(fs::read_to_string(lab.path("project/packages/core/out")).unwrap(), "1\n1\n");
    assert_eq!(runs(&lab), [2, 0, 0]);
    // A task that fails is tried again with the next edit, and its exit code is told at the end.
    lab.write(path, &defined.replace("cat src/a", "exit 3; cat src/a"));
    staying.said();
    assert_eq!(staying.end().0, Some(1));
}

#[test]
fn a_plan_is_printed_again_when_an_edit_changes_it() {
    let lab = Lab::new();
    lab.write("project/site.yml", "- hosts: all\n  roles: [web]\n");
    lab.write("project/roles/web/tasks/main.yml", "- name: One\n  ping:\n");
    let staying = Staying::start(&lab, &["plan", "site.yml", "--list-tasks", "--watch"]);
    let listed = |task: &str| {
        let lines: Vec<String> = (0..6).map(|_| staying.printed()).collect();
        assert_eq!(lines[1], "playbook: site.yml");
        assert_eq!(lines[5], format!("      web : {task}\tTAGS: []"));
    };
    staying.said();
    listed("One");
    lab.write("project/roles/web/tasks/main.yml", "- name: Two\n  ping:\n");
    assert_eq!(staying.said(), ["changed: roles/web/tasks/main.yml"]);
    listed("Two");
    // What changes nothing prints nothing.
    lab.write("project/roles/web/tasks/main.yml", "# Only a comment.\n- name: Two\n  ping:\n");
    staying.said();
    lab.write("project/roles/web/tasks/main.yml", "- name: Two\n  ping:\n  bogus: true\n- [\n");
    assert!(staying.said().iter().any(|line| line.contains("roles/web/tasks/main.yml:")));
    lab.write("project/roles/web/tasks/main.yml", "- name: Three\n  ping:\n");
    staying.said();
    listed("Three");
    assert_eq!(staying.end(), (Some(0), vec![]));
}

#[test]
fn each_round_is_one_line_of_json() {
    let lab = workspace();
    let staying = Staying::start(&lab, &["run", "build", "--watch", "--json"]);
    for (round, ran) in [("1\n", 3), ("2\n", 1), ("3\n", 1)] {
        if ran == 1 {
            lab.write("project/packages/web/src/a", round);
        }
        staying.said();
        let said: serde_json::Value = serde_json::from_str(&staying.printed()).unwrap();
        assert_eq!((&said["success"], &said["ran"]), (&true.into(), &ran.into()));
    }
    assert_eq!(staying.end(), (Some(0), vec![]));
    lab.write("project/site.yml", "- hosts: all\n  tasks:\n  - ping:\n");
    lab.write("project/hosts", "one\n");
    let staying = Staying::start(&lab, &["plan", "site.yml", "-i", "hosts", "--watch", "--json"]);
    for hosts in [1, 2] {
        if hosts == 2 {
            lab.write("project/hosts", "one\ntwo\n");
        }
        staying.said();
        let said: serde_json::Value = serde_json::from_str(&staying.printed()).unwrap();
        assert!(said["format"].is_number(), "{said}");
    }
    assert_eq!(staying.end(), (Some(0), vec![]));
}
