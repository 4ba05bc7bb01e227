//! Larder that runs in a command of larder.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::lab::{Lab, within_bound};

/// `outer` runs `larder run inner`; `inner` does what `script` says.
fn workspace(script: &str) -> Lab {
    let lab = Lab::new();
    let larder = env!("CARGO_BIN_EXE_larder");
    lab.write(
        "project/larder.toml",
        &format!(
            "[tasks.outer]\ncommand = \"echo $LARDER_PLACE; {larder} run inner -q\"\n\
             [tasks.stats]\ncommand = \"{larder} cache stats && {larder} config validate\"\n\
             [tasks.inner]\ncommand = '''{script}'''\ninputs = []\n"
        ),
    );
    lab
}

#[test]
fn every_verb_works_in_a_command_of_larder() {
    let lab = workspace("echo inner");
    let larder = env!("CARGO_BIN_EXE_larder");
    assert!(lab.stdout(&["exec", "--cache", "off", "--", larder, "cache", "stats"]).contains("entries"));
    assert!(lab.stdout(&["run", "outer"]).ends_with("inner\n"));
    assert!(lab.stdout(&["run", "stats"]).contains("entries"));
    let kept = lab.run(&["run", "inner"]);
    assert!(String::from_utf8_lossy(&kept.stderr).contains("hit"), "{kept:?}");
}

#[test]
fn what_a_run_inside_starts_has_the_marks_of_both() {
    let lab = workspace("echo $LARDER_PLACE");
    let said = lab.stdout(&["run", "outer"]);
    let [outer, both] = said.lines().collect::<Vec<_>>()[..] else { panic!("{said}") };
    let own = both.strip_prefix(outer).and_then(|rest| rest.strip_prefix(' '));
    assert!(own.is_some_and(|own| !own.contains(' ') && own != outer), "{said}");
    let alone = lab.stdout(&["run", "inner", "--force"]);
    assert_eq!(own, Some(alone.trim_end()));
}

/// Starts `outer` and waits until `inner` has begun.
fn begun(lab: &Lab) -> std::process::Child {
    let fifo = lab.path("project/started");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let mut command = lab.command(&["run", "outer"]);
    let child = command.stderr(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    within_bound("the command inside begins", move || fs::read(fifo).unwrap());
    child
}

fn signal(child: &std::process::Child, name: &str) {
    assert!(Command::new("kill").args([name, &child.id().to_string()]).status().unwrap().success());
}

#[test]
fn a_run_that_is_asked_to_end_has_the_run_inside_end_its_command_first() {
    let lab =
        workspace("trap 'echo ended > ended; exit 1' TERM; echo > started; while :; do sleep 0.01; done");
    let child = begun(&lab);
    signal(&child, "-TERM");
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(143), "{output:?}");
    assert!(lab.path("project/ended").exists());
}

#[test]
fn a_run_that_is_to_end_at_once_ends_what_the_run_inside_has_started() {
    let lab =
        workspace("trap 'echo > asked' TERM; echo $$ > id; echo > started; while :; do sleep 0.01; done");
    assert!(Command::new("mkfifo").arg(lab.path("project/asked")).status().unwrap().success());
    let child = begun(&lab);
    let id = fs::read_to_string(lab.path("project/id")).unwrap();
    signal(&child, "-TERM");
    let asked = lab.path("project/asked");
    within_bound("the command inside is asked", move || fs::read(asked).unwrap());
    signal(&child, "-TERM");
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(143), "{output:?}");
    assert!(!Path::new(&format!("/proc/{}/exe", id.trim())).exists());
}
