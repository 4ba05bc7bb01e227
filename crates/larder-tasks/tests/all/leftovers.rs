//! What lies among the outputs that a run did not make: no result takes it along, and nobody loses it.

use std::os::unix::fs::symlink;
use std::time::Duration;

use larder_tasks::Stop;
use larder_tasks::event::Event;
use larder_tasks::job::RunOptions;
use tokio::sync::watch;

use crate::lab::{Lab, Ran};

const TASKS: &str =
    "[tasks.build]\ncommand = 'mkdir -p d; cp in d/$(cat in)'\ninputs = ['in']\noutputs = ['d']\n";

/// A task whose output is called as its input says.
fn lab() -> Lab {
    Lab::of(&[("larder.toml", TASKS), ("in", "v1")])
}

/// The same project in another place, over the same cache.
fn twin(lab: &Lab) -> Lab {
    let twin = Lab::new();
    symlink(lab.cache(), twin.cache()).unwrap();
    for file in ["larder.toml", "in"] {
        twin.write(file, &lab.read(file));
    }
    twin
}

fn there(lab: &Lab, folder: &str) -> String {
    let names = std::fs::read_dir(lab.path(folder)).into_iter().flatten();
    let mut names: Vec<_> = names.map(|name| name.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names.join(" ")
}

fn run(lab: &Lab, input: &str) -> String {
    lab.write("in", input);
    lab.run(&["build"]).lines
}

const KEPT: &str = "lab#build: ran, kept\n";

fn unkept(path: &str) -> String {
    format!(
        "lab#build: ran, not kept: {path} was there before, and no run of this task made it so: `--clean` removes it \
         first; or leave it out of the outputs\n"
    )
}

#[test]
fn what_nobody_is_known_to_have_made_is_not_kept_and_is_named() {
    let lab = lab();
    lab.write("d/mine", "mine");
    assert_eq!(run(&lab, "v1"), unkept("d/mine"));
    assert_eq!(there(&lab, "d"), "mine v1");
    lab.sh("rm d/mine; mkdir d/empty");
    assert_eq!(run(&lab, "v2"), unkept("d/empty"));
    lab.sh("rm -r d; mkdir d");
    assert_eq!(run(&lab, "v3"), KEPT, "a directory in which something is made has to be there");
    // What was there and is written to may be in what is written, or may have been read.
    lab.write("d/v4", "before");
    assert_eq!(run(&lab, "v4"), unkept("d/v4"));
    assert_eq!(there(&lab, "d"), "v4");
    let clean = RunOptions { clean: true, ..RunOptions::default() };
    assert_eq!(lab.run_with(&["build"], &[], &clean).lines, KEPT);
    assert!(run(&twin(&lab), "v4").contains("hit"));
}

#[test]
fn what_is_to_be_cleaned_goes_also_before_a_result_is_given_back() {
    let lab = lab();
    run(&lab, "v1");
    let clean = RunOptions { clean: true, ..RunOptions::default() };
    // What was built by hand, right or not, is a run's own from then on.
    for (by_hand, next) in [(&[("d/v1", "v1")][..], "v2"), (&[("d/v1", "v0"), ("d/stale", "")], "v3")] {
        let twin = twin(&lab);
        by_hand.iter().for_each(|(path, text)| twin.write(path, text));
        assert_eq!(
            twin.run_with(&["build"], &[], &clean).lines,
            "lab#build: hit, 0 right, 2 written, 0 removed\n"
        );
        assert_eq!((there(&twin, "d").as_str(), twin.read("d/v1").as_str()), ("v1", "v1"));
        assert_eq!((run(&twin, next).as_str(), there(&twin, "d").as_str()), (KEPT, next));
    }
}

#[test]
fn what_a_command_builds_on_and_no_run_has_made_is_not_kept() {
    let tasks =
        "[tasks.build]\ncommand = 'cat in >> log; rm -f old'\ninputs = ['in']\noutputs = ['log', '*old']\n";
    let lab = Lab::of(&[("larder.toml", tasks), ("in", "v1")]);
    assert_eq!(run(&lab, "v1"), KEPT);
    lab.sh("echo more >> log");
    assert_eq!(run(&lab, "v2"), KEPT);
    assert_eq!(lab.read("log"), "v2");
    // Taken away by the command: a fresh clone has nothing to take away.
    lab.sh("touch old");
    assert_eq!(run(&lab, "v4"), unkept("old"));
    assert_eq!(run(&lab, "v5"), KEPT);
    assert_eq!(lab.read("log"), "v5");
    // Moved to another place, nothing is known of it there.
    let moved = Lab::of(&[("larder.toml", tasks), ("in", "v6"), ("log", "v5")]);
    assert_eq!(run(&moved, "v6"), unkept("log"));
}

#[test]
fn what_another_task_made_in_the_same_place_is_not_kept() {
    let lab = lab();
    let other = "[tasks.dev]\ncommand = 'mkdir -p d; echo dev > d/dev'\ninputs = []\noutputs = ['d']\n";
    lab.write("larder.toml", &(TASKS.to_owned() + other));
    lab.run(&["dev"]);
    assert_eq!(run(&lab, "v1"), unkept("d/dev"));
}

#[test]
fn an_output_that_was_edited_goes_before_the_next_run() {
    let lab = lab();
    run(&lab, "v1");
    lab.sh("echo more >> d/v1");
    assert_eq!((run(&lab, "v2").as_str(), there(&lab, "d").as_str()), (KEPT, "v2"));
    // Something else in its place is somebody's.
    lab.sh("rm d/v2; mkdir d/v2; echo mine > d/v2/mine");
    assert_eq!(run(&lab, "v3"), unkept("d/v2/mine"));
    // A command that sees to that itself may take the edit along.
    lab.write("larder.toml", &format!("{TASKS}clean = false\n"));
    lab.sh("rm -r d");
    assert_eq!(run(&lab, "v4"), KEPT);
    lab.sh("echo more >> d/v4");
    assert_eq!(run(&lab, "v5"), unkept("d/v4"));
}

#[test]
fn what_another_process_has_made_meanwhile_is_known() {
    let lab = lab();
    let lines = lab.run_again_and_again(&["build"], 4, |n| {
        // Another process, while this one goes on.
        std::thread::scope(|scope| {
            scope.spawn(|| match n {
                0 => assert_eq!(run(&lab, "v2"), KEPT),
                1 => assert!(run(&lab, "v4").ends_with("kept\n")),
                _ => {}
            });
        });
        lab.write("in", ["v3", "v4", "v5", ""][n]);
    });
    assert_eq!(lines[..2], [KEPT; 2]);
    assert_eq!((lines[2].contains("hit"), lines[3].as_str()), (true, KEPT), "{lines:?}");
    assert_eq!(there(&lab, "d"), "v5");
    for version in ["v1", "v2", "v3", "v4", "v5"] {
        let clone = twin(&lab);
        assert!(run(&clone, version).contains("hit"));
        assert_eq!(there(&clone, "d"), version);
    }
}

#[test]
fn what_was_found_stays_when_a_result_is_put_back() {
    let lab = lab();
    run(&lab, "v1");
    let clone = twin(&lab);
    clone.write("d/precious", "mine");
    for _ in 0..2 {
        assert!(run(&clone, "v1").contains("hit"));
        assert_eq!(there(&clone, "d"), "precious v1");
    }
    // What comes later into an output that is all the task's goes.
    clone.write("d/extra", "");
    assert!(run(&clone, "v1").contains("1 removed"));
    assert_eq!(there(&clone, "d"), "precious v1");
}

/// Runs until the command has said something, and is stopped then.
fn stopped_after(lab: &Lab, meanwhile: impl Fn()) -> Ran {
    let (stop, stopped) = watch::channel(Stop::No);
    lab.run_until(&["build"], &[], &RunOptions::default(), stopped, |event| {
        if matches!(event, Event::Output { .. }) {
            meanwhile();
            stop.send_replace(Stop::Gently);
        }
    })
}

#[test]
fn a_stop_takes_nothing_away_that_was_there_before() {
    let lab = Lab::of(&[(
        "larder.toml",
        "[tasks.build]\ncommand = 'echo more >> d/notes; echo half > d/half; echo ready; sleep 100'\ninputs = []\noutputs = ['d']\n",
    )]);
    lab.write("d/notes", "mine\n");
    lab.write("d/saved", "mine\n");
    let run = stopped_after(&lab, || lab.write("d/saved", "saved meanwhile\n"));
    assert_eq!(
        run.notes,
        ["1 unfinished output was removed", "d/notes, d/saved was there before, and stays as it is now"]
    );
    assert_eq!(there(&lab, "d"), "notes saved");
    assert_eq!(
        (lab.read("d/notes"), lab.read("d/saved")),
        ("mine\nmore\n".into(), "saved meanwhile\n".into())
    );
}

#[test]
fn a_killed_run_is_no_reason_to_take_away_what_was_there_before_it() {
    let slow = |outputs: &str| {
        format!(
            "[tasks.build]\ncommand = '[ -e go ] || {{ echo $$ > began; touch d/half; sleep 100; }}; cp in d/$(cat in)'\ninputs = ['in']\n\
             outputs = ['{outputs}']\n"
        )
    };
    let lab = Lab::of(&[("larder.toml", &slow("d")), ("in", "v1"), ("d/first", ""), ("data/precious", "")]);
    lab.write("go", "");
    assert_eq!(run(&lab, "v1"), unkept("d/first"));
    // It came after the last run, and before the one that is killed.
    lab.write("d/second", "");
    lab.sh("rm go");
    lab.write("in", "v2");
    lab.leave_an_orphan("build");
    while !lab.path("d/half").exists() {
        std::thread::yield_now();
    }
    lab.write("go", "");
    // What was not among the outputs of that run is none of its leavings.
    lab.write("larder.toml", &slow("data"));
    lab.run(&["build"]);
    assert!(lab.path("data/precious").exists());
    lab.write("larder.toml", &slow("d"));
    lab.run(&["build"]);
    assert!(there(&lab, "d").starts_with("first "), "{}", there(&lab, "d"));
    assert!(lab.path("d/second").exists());
}

#[test]
fn what_somebody_writes_after_a_kill_is_not_taken_away_with_what_is_unfinished() {
    let lab = Lab::of(&[
        (
            "larder.toml",
            "[tasks.build]\ncommand = '[ -e go ] || { touch d/half; echo $$ > began; exec sleep 100; }; cp in d/$(cat in)'\n\
             inputs = ['in']\noutputs = ['d']\n",
        ),
        ("in", "v1"),
        ("d/.keep", ""),
    ]);
    lab.sh("rm d/.keep");
    lab.leave_an_orphan("build");
    // What is touched within moments of a kill may be the command's.
    lab.write("d/mine", "");
    let until = std::time::SystemTime::now() + Duration::from_secs(2);
    let path = lab.path("d/mine");
    while std::fs::metadata(&path).unwrap().modified().unwrap() < until {
        lab.write("d/mine", "mine");
    }
    lab.write("go", "");
    assert_eq!(run(&lab, "v2"), unkept("d/mine"));
    assert_eq!(there(&lab, "d"), "mine v2");
}

#[test]
fn a_result_that_comes_after_a_wait_is_of_the_inputs_that_are_there_then() {
    let lab = Lab::of(&[
        (
            "larder.toml",
            "[tasks.build]\ncommand = 'echo read; while [ ! -e $GO ]; do sleep 0.01; done; cp in out'\ninputs = ['in']\n\
             outputs = ['out']\nenv = { include = ['GO'] }\n",
        ),
        ("in", "v1"),
    ]);
    let go = lab.path("go").display().to_string();
    let clone = twin(&lab);
    let (_keep, stop) = watch::channel(Stop::No);
    std::thread::scope(|scope| {
        lab.run_until(&["build"], &[("GO", &go)], &RunOptions::default(), stop, |event| {
            if matches!(event, Event::Output { bytes, .. } if bytes == b"read\n") {
                scope.spawn(|| clone.run_with(&["build"], &[("GO", &go)], &RunOptions::default()));
                // Whenever it looks at its input, it has to end with the right output.
                std::thread::sleep(Duration::from_millis(300));
                clone.write("in", "v2");
                lab.write("go", "");
            }
        });
    });
    assert_eq!((lab.read("out"), clone.read("out")), ("v1".into(), "v2".into()));
}

#[test]
fn what_a_result_that_proves_damaged_has_put_back_is_in_nobodys_way() {
    let lab = Lab::of(&[
        (
            "larder.toml",
            "[tasks.build]\ncommand = 'mkdir d && echo one > d/one && seq 30000 > d/two'\ninputs = []\noutputs = ['d']\n",
        ),
        ("in", ""),
    ]);
    assert_eq!(lab.run(&["build"]).lines, KEPT);
    let clone = twin(&lab);
    lab.sh(&format!("find {}/v1/blobs -type f -exec truncate -s 100 {{}} +", lab.cache().display()));
    let run = clone.run(&["build"]);
    assert!(run.lines.starts_with("lab#build: ran, "), "{} {:?}", run.lines, run.notes);
    assert_eq!((there(&clone, "d"), clone.read("d/one")), ("one two".into(), "one\n".into()));
}

#[test]
fn a_directory_in_which_another_task_has_its_place_stays() {
    let lab = Lab::of(&[
        (
            "larder.toml",
            "[tasks.build]\ncommand = 'ls -d dist; mkdir -p dist; cp in dist/a'\ninputs = ['in']\n\
             outputs = ['dist', '!dist/sub']\n",
        ),
        ("in", "v1"),
    ]);
    let said = |version| {
        lab.write("in", version);
        let run = lab.run(&["build"]);
        assert_eq!(run.lines, KEPT);
        run.live
    };
    assert!(!said("v1").contains("dist\n"));
    assert_eq!(said("v2"), "dist\n", "it may be about to write there");
}

#[test]
fn what_lies_beside_a_result_that_others_build_on_is_the_reason_why_theirs_is_not_kept() {
    let tasks = "[tasks.build]\ncommand = 'cp $(cat d/*) out'\ninputs = ['in']\noutputs = ['out']\ndepends_on = ['before']\n\
                 [tasks.before]\ncommand = 'mkdir -p d; echo in > d/name'\ninputs = []\noutputs = ['d']\n";
    let lab = Lab::of(&[("larder.toml", tasks), ("in", "v1")]);
    lab.run(&["before"]);
    let clone = twin(&lab);
    clone.write("d/mine", "");
    let lines = clone.run(&["build"]).lines;
    let reason = "not kept: outputs of `//#before` are not as it made them: something else lies there, too, or they were changed since\n";
    assert!(lines.ends_with(reason), "{lines}");
}
