//! What changes while a command runs: its result belongs to no key then, and is not kept.

use std::time::Duration;

use larder_tasks::Stop;
use larder_tasks::event::Event;
use larder_tasks::job::RunOptions;
use tokio::sync::watch;

use crate::lab::{Lab, Ran};

/// A task that says when it has read its input and then waits to be let go.
fn slow_copier() -> Lab {
    let lab = Lab::new();
    lab.manifest(
        "larder.toml",
        r#"
[tasks.build]
command = "echo build >> RAN; mkdir -p dist; cp src/a dist/a; echo read; while [ ! -e go ]; do sleep 0.01; done; rm go"
inputs = ["src/**"]
outputs = ["dist"]
"#,
    );
    lab.write("src/a", "one");
    lab
}

/// Runs the slow copier and does something once it has read its input.
fn run_meanwhile(lab: &Lab, work: impl Fn()) -> Ran {
    let (_keep, stop) = watch::channel(Stop::No);
    lab.run_until(&["build"], &[], &RunOptions::default(), stop, |event| {
        if matches!(event, Event::Output { bytes, .. } if bytes == b"read\n") {
            work();
            lab.write("go", "");
        }
    })
}

#[test]
fn an_input_that_is_edited_while_its_task_runs_leaves_nothing_kept() {
    let lab = slow_copier();
    let run = run_meanwhile(&lab, || lab.write("src/a", "two"));
    assert_eq!(run.lines, "lab#build: ran, not kept: input src/a changed while it ran\n");
    // Neither the old content nor the new one is a hit.
    for content in ["one", "two"] {
        lab.write("src/a", content);
        let run = run_meanwhile(&lab, || {});
        assert_eq!((run.lines.as_str(), lab.read("dist/a").as_str()), ("lab#build: ran, kept\n", content));
    }
    assert_eq!(lab.ran(), "build build build");
}

#[test]
fn an_input_that_was_other_in_between_leaves_nothing_kept() {
    let lab = slow_copier();
    let run = run_meanwhile(&lab, || {
        lab.write("src/a", "two");
        lab.write("src/a", "one");
    });
    assert_eq!(run.lines, "lab#build: ran, not kept: input src/a changed while it ran\n");
    let path = lab.root().join("src/a");
    let run = run_meanwhile(&lab, || {
        let modified = path.metadata().unwrap().modified().unwrap();
        lab.write("src/a", "two");
        lab.write("src/a", "one");
        std::fs::File::options().append(true).open(&path).unwrap().set_modified(modified).unwrap();
    });
    assert_eq!(run.lines, "lab#build: ran, not kept: input src/a changed while it ran\n");
    let run = run_meanwhile(&lab, || {
        lab.write("src/b", "");
        lab.write("src/c", "");
    });
    assert_eq!(run.lines, "lab#build: ran, not kept: input src/b changed while it ran (and 1 more)\n");
}

/// A task that copies what one before it left behind, slowly.
fn slow_taker() -> Lab {
    let lab = Lab::new();
    lab.manifest(
        "larder.toml",
        r#"
[tasks.before]
command = "cp a left"
inputs = ["a"]
outputs = ["left"]
[tasks.build]
depends_on = ["before"]
command = "echo build >> RAN; echo read; while [ ! -e go ]; do sleep 0.01; done; rm go; cp left out"
inputs = []
outputs = ["out"]
"#,
    );
    lab.write("a", "one");
    lab
}

#[test]
fn what_a_task_before_left_behind_and_that_changes_meanwhile_leaves_nothing_kept() {
    let unkept = "lab#build: ran, not kept: outputs of `//#before` changed while it ran\n";
    let lab = slow_taker();
    let run = run_meanwhile(&lab, || lab.write("left", "two"));
    assert_eq!((run.lines, lab.read("out")), (format!("lab#before: ran, kept\n{unkept}"), "two".to_owned()));
    // What was other in between may have been what the command read.
    let run = run_meanwhile(&lab, || {
        lab.write("left", "two");
        lab.write("left", "one");
    });
    assert_eq!(run.lines, format!("lab#before: hit, 0 right, 1 written, 0 removed\n{unkept}"));
    let run = run_meanwhile(&lab, || {});
    assert_eq!(run.lines, "lab#before: hit, 1 right, 0 written, 0 removed\nlab#build: ran, kept\n");
    assert_eq!((lab.read("out").as_str(), lab.ran().as_str()), ("one", "build build build"));
}

#[test]
fn a_tool_that_changes_meanwhile_leaves_nothing_kept() {
    let tool = |lab: &Lab, says: &str| lab.write("tool", &format!("#!/bin/sh\necho {says}\n"));
    let lab = Lab::new();
    lab.manifest(
        "larder.toml",
        r#"
[tasks.build]
command = "echo build >> RAN; echo read; while [ ! -e go ]; do sleep 0.01; done; rm go; ./tool > out"
inputs = []
outputs = ["out"]
tools = ["./tool"]
"#,
    );
    tool(&lab, "one");
    lab.sh("chmod +x tool");
    let unkept = "lab#build: ran, not kept: tool \"./tool\" changed while it ran\n";
    assert_eq!(run_meanwhile(&lab, || tool(&lab, "two")).lines, unkept);
    assert_eq!(lab.read("out"), "two\n");
    tool(&lab, "one");
    let gone = run_meanwhile(&lab, || lab.sh("mv tool gone; cp gone tool"));
    assert_eq!(gone.lines, unkept);
    assert_eq!(run_meanwhile(&lab, || {}).lines, "lab#build: ran, kept\n");
    assert_eq!((lab.read("out").as_str(), lab.ran().as_str()), ("one\n", "build build build"));
}

#[test]
fn what_was_written_once_more_before_the_command_started_is_no_change() {
    let lab = Lab::of(&[
        (
            "larder.toml",
            "[tasks.before]\ncommand = 'cp a left'\ninputs = ['a']\noutputs = ['left']\n\
             [tasks.build]\ncommand = 'cat left b > out'\ninputs = ['b']\noutputs = ['out']\ndepends_on = ['before']\n",
        ),
        ("a", "one"),
        ("b", "1"),
    ]);
    lab.run(&["build"]);
    lab.write("left", "one");
    lab.write("b", "2");
    assert_eq!(
        lab.run(&["build"]).lines,
        "lab#before: hit, 1 right, 0 written, 0 removed\nlab#build: ran, kept\n"
    );
    // Also where the task that made it is left out, so that nobody remembers how it looks now.
    lab.write("left", "one");
    lab.write("b", "3");
    assert_eq!(lab.run_only(&["build"]).lines, "lab#build: ran, kept\n");
}

#[test]
fn a_stop_ends_the_wait_for_another_larder_that_is_at_it() {
    let lab = slow_copier();
    let run = run_meanwhile(&lab, || {
        let (stop, stopped) = watch::channel(Stop::No);
        let second = || lab.run_until(&["build"], &[], &RunOptions::default(), stopped, |_| {});
        let ended = std::thread::scope(|scope| {
            let second = scope.spawn(second);
            // It can't end before, as the first one waits for this.
            std::thread::sleep(Duration::from_millis(100));
            stop.send_replace(Stop::Gently);
            second.join().unwrap()
        });
        assert_eq!(ended.lines, "lab#build: not run: the run ended before its turn\n");
    });
    assert_eq!((run.lines.as_str(), lab.ran().as_str()), ("lab#build: ran, kept\n", "build"));
}

#[test]
fn a_tool_is_the_same_however_its_path_is_written() {
    for path in ["real/tool", "./real/../real/tool", "linked/tool", "./link"] {
        let lab = Lab::of(&[(
            "larder.toml",
            &format!(
                "[tasks.build]\ncommand = '{path} > out'\ninputs = []\noutputs = ['out']\ntools = ['{path}']\n"
            ),
        )]);
        lab.write("real/tool", "#!/bin/sh\necho one\n");
        lab.sh("chmod +x real/tool; ln -s real linked; ln -s real/tool link");
        assert_eq!(lab.run(&["build"]).lines, "lab#build: ran, kept\n", "{path}");
        assert_eq!(lab.run(&["build"]).lines, "lab#build: hit, 1 right, 0 written, 0 removed\n", "{path}");
    }
}
