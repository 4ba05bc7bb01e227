//! ansible-playbook as the judge: the same playbooks, the same arguments, the same bytes.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use crate::lab::{listing, planner, playbooks};

#[derive(Serialize)]
struct Run<'a> {
    cwd: PathBuf,
    argv: Vec<&'a str>,
}

#[derive(Deserialize)]
struct Ran {
    code: i32,
    out: String,
    err: String,
}

/// The interpreter of the environment that has ansible-core.
pub(crate) fn python() -> PathBuf {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/tools");
    let entries = std::fs::read_dir(&tools).into_iter().flatten().flatten();
    let environments =
        entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("ansible-core-"));
    let mut pythons: Vec<PathBuf> = environments.map(|entry| entry.path().join("bin/python")).collect();
    pythons.sort_unstable();
    pythons.pop().unwrap_or_else(|| {
        let place = tools.join("ansible-core-2.19.4");
        let place = place.display();
        panic!(
            "ansible-core is missing; install it with `cargo xtask test`, or with\n\
             python3 -m venv {place} && {place}/bin/python -m pip install ansible-core==2.19.4"
        )
    })
}

/// Runs ansible-playbook with each list of arguments, in one start of Python.
fn ansible(cases: &[Vec<&str>]) -> Vec<Ran> {
    let runs: Vec<Run<'_>> = cases
        .iter()
        .map(|case| Run { cwd: playbooks(), argv: [case.as_slice(), &["-i", "inventory.ini"]].concat() })
        .collect();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle.py");
    let mut child = Command::new(python())
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .env_remove("ANSIBLE_CONFIG")
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&serde_json::to_vec(&runs).unwrap()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A play's own tags in order: Ansible prints them in the order of a set, which no two starts agree on.
fn with_sorted_tags(text: &str) -> String {
    let line = |line: &str| match line.rsplit_once("\tTAGS: [") {
        Some((before, tags)) if line.starts_with("  play #") => {
            let mut tags: Vec<&str> = tags.trim_end_matches(']').split(',').collect();
            tags.sort_unstable();
            format!("{before}\tTAGS: [{}]", tags.join(","))
        }
        _ => line.to_owned(),
    };
    text.split('\n').map(line).collect::<Vec<_>>().join("\n")
}

/// The names of the playbooks in a directory.
fn named(directory: &str) -> Vec<String> {
    let entries = std::fs::read_dir(playbooks().join(directory)).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| name.ends_with(".yml")).collect();
    names.sort_unstable();
    assert!(!names.is_empty());
    names
}

const ALL: [&str; 2] = ["--list-tasks", "--list-tags"];

#[test]
fn listings_are_those_of_ansible_playbook() {
    let names = named("");
    let mut cases: Vec<Vec<&str>> = names.iter().map(|name| [&[name.as_str()], &ALL[..]].concat()).collect();
    for tags in ["one", "untagged", "tagged", "all,never", "debug", "a,pre"] {
        cases.push(vec!["plays.yml", "--list-tasks", "--tags", tags]);
    }
    for tags in ["two", "always", "tagged", "from_site", "all"] {
        cases.push(vec!["site.yml", "--list-tasks", "--skip-tags", tags]);
    }
    cases.extend([
        vec!["plays.yml", "--list-tasks"],
        vec!["site.yml"],
        vec!["roles.yml", "--list-tags", "--tags", "called"],
        vec!["site.yml", "blocks.yml", "--list-tags"],
        vec!["plays.yml", "-e", "target=db", "--list-tasks"],
        vec!["plays.yml", "-e", "{\"target\": [\"web\", \"db\"]}", "--list-tasks"],
        vec!["plays.yml", "-e", "{target: web}", "--list-tasks"],
        vec!["imports.yml", "-e", "os=plain", "--list-tasks"],
        vec!["imports.yml", "-e", "from_vars_file=tasks/nested/inner.yml", "--list-tasks"],
        vec!["keywords.yml", "-e", "flavour=other", "--list-tasks"],
        vec!["modes.yml", "--check", "--list-tasks", "--list-tags"],
        vec!["modes.yml", "--diff", "--list-tasks", "-e", "ansible_check_mode=true"],
        vec!["modes.yml", "--check", "--diff", "--list-tasks"],
    ]);
    // Without anything to list, Ansible would run the playbook.
    cases.retain(|case| case.iter().any(|argument| argument.starts_with("--list")));
    let planner = planner();
    for (case, judged) in cases.iter().zip(ansible(&cases)) {
        assert_eq!(judged.code, 0, "Ansible refuses {case:?}: {}", judged.err);
        let ours =
            listing(&planner, &playbooks(), case).unwrap_or_else(|problem| panic!("{}", problem.render()));
        assert_eq!(with_sorted_tags(&judged.out), ours, "of {case:?}");
    }
}

#[test]
fn what_ansible_playbook_refuses_is_refused() {
    let names: Vec<String> = named("refused").iter().map(|name| format!("refused/{name}")).collect();
    let cases: Vec<Vec<&str>> = names.iter().map(|name| [&[name.as_str()], &ALL[..]].concat()).collect();
    let planner = planner();
    for (case, judged) in cases.iter().zip(ansible(&cases)) {
        assert_ne!(judged.code, 0, "Ansible accepts {case:?}");
        assert!(listing(&planner, &playbooks(), case).is_err(), "{case:?} is accepted");
    }
}
