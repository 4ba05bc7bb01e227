//! A stop of a run while larder itself is at work: it looks at files, keeps them, or puts them back.

use std::time::Duration;

use larder_tasks::Stop;
use larder_tasks::job::RunOptions;
use tokio::sync::watch;

use crate::lab::Lab;

/// What no test waits for until it is read: a file without anything in it, which takes no place on a disk.
const ENDLESS_BYTES: u64 = 1 << 40;

#[test]
fn a_stop_ends_the_look_at_inputs() {
    let lab = Lab::of(&[("larder.toml", "[tasks.b]\ncommand = 'echo ran > ran'\ninputs = ['large']\n")]);
    std::fs::File::create(lab.path("large")).unwrap().set_len(ENDLESS_BYTES).unwrap();
    let (stop, stopped) = watch::channel(Stop::No);
    let run = std::thread::scope(|scope| {
        scope.spawn(|| {
            // It can't end before, however long this takes.
            std::thread::sleep(Duration::from_millis(100));
            stop.send_replace(Stop::Gently);
        });
        lab.run_until(&["b"], &[], &RunOptions::default(), stopped, |_| {})
    });
    assert!(run.summary.stopped);
    assert_eq!(run.lines, "lab#b: not run: the run ended before its turn\n");
    assert_eq!((lab.path("ran").exists(), run.notes.len()), (false, 0), "{:?}", run.notes);
}

#[test]
fn a_stop_ends_the_look_at_what_a_command_has_left_and_the_next_run_takes_that_away() {
    let lab = Lab::of(&[(
        "larder.toml",
        "[tasks.b]\ncommand = 'mkdir -p out; : > out/$(cat name); [ -e short ] || { truncate -s 1T out/large; : > wrote; }'\n\
         inputs = ['name', 'short']\noutputs = ['out/*']\n",
    )]);
    lab.write("name", "one");
    let (stop, stopped) = watch::channel(Stop::No);
    let run = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !lab.path("wrote").exists() {
                std::thread::yield_now();
            }
            // For the shell to end; the look that follows does not, however long this takes.
            std::thread::sleep(Duration::from_secs(1));
            stop.send_replace(Stop::Gently);
        });
        lab.run_until(&["b"], &[], &RunOptions::default(), stopped, |_| {})
    });
    assert!(run.lines.ends_with("not kept: it was stopped\n"), "{}", run.lines);
    lab.sh("rm out/large; touch short; echo two > name");
    let run = lab.run(&["b"]);
    assert_eq!((&*run.lines, lab.path("out/one").exists()), ("lab#b: ran, kept\n", false), "{:?}", run.notes);
}

#[test]
fn a_stop_ends_a_restoration_and_the_next_run_goes_on_with_it() {
    let lab = Lab::of(&[(
        "larder.toml",
        "[tasks.a]\ncommand = 'mkdir dist; cd dist; seq 10000 17999 | xargs touch'\noutputs = ['dist']\n",
    )]);
    assert_eq!(lab.run(&["a"]).lines, "lab#a: ran, kept\n");
    std::fs::remove_dir_all(lab.path("dist")).unwrap();
    let (stop, stopped) = watch::channel(Stop::No);
    let run = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !lab.path("dist/10000").exists() {
                std::thread::yield_now();
            }
            stop.send_replace(Stop::Gently);
        });
        lab.run_until(&["a"], &[], &RunOptions::default(), stopped, |_| {})
    });
    assert_eq!(run.lines, "lab#a: not run: the run ended before its turn\n");
    assert_eq!(run.notes, [] as [&str; 0]);
    assert!(!lab.path("dist/17999").exists());
    let there = std::fs::read_dir(lab.path("dist")).unwrap().count();
    let rest = format!("lab#a: hit, {} right, {} written, 0 removed\n", there + 1, 8_000 - there);
    assert_eq!(lab.run(&["a"]).lines, rest);
}

#[test]
fn what_a_stopped_restoration_left_is_its_own_also_for_another_result() {
    let lab = Lab::of(&[
        (
            "larder.toml",
            "[tasks.a]\ncommand = 'mkdir -p dist; cd dist; seq $(cat ../first) 17999 | xargs touch'\n\
             inputs = ['first']\noutputs = ['dist/*']\n",
        ),
        ("first", "10000"),
    ]);
    assert_eq!(lab.run(&["a"]).lines, "lab#a: ran, kept\n");
    std::fs::remove_dir_all(lab.path("dist")).unwrap();
    let (stop, stopped) = watch::channel(Stop::No);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !lab.path("dist/10000").exists() {
                std::thread::yield_now();
            }
            stop.send_replace(Stop::Gently);
        });
        lab.run_until(&["a"], &[], &RunOptions::default(), stopped, |_| {})
    });
    assert!(!lab.path("dist/17999").exists());
    lab.write("first", "17998");
    assert_eq!(lab.run(&["a"]).lines, "lab#a: ran, kept\n");
    let there = std::fs::read_dir(lab.path("dist")).unwrap().count();
    assert_eq!(there, 2);
}
