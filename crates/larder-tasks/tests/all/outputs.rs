//! What is an output and what is not, and what becomes of outputs of earlier runs.

use std::num::NonZeroUsize;
use std::os::unix::fs::PermissionsExt as _;

use larder::config::Mode;
use larder_tasks::Stop;
use larder_tasks::event::Event;
use larder_tasks::job::RunOptions;
use tokio::sync::watch;

use crate::lab::{Lab, where_modes_hold};

#[test]
fn files_that_may_not_be_read_are_named_and_nothing_is_kept() {
    let lab = Lab::of(&[(
        "larder.toml",
        "[tasks.in]\ncommand = 'true'\ninputs = ['src/*']\n\
         [tasks.out]\ncommand = 'echo x > out; chmod 0 out'\ninputs = []\noutputs = ['out']\n",
    )]);
    lab.write("src/a", "");
    lab.sh("chmod 0 src/a");
    let run = where_modes_hold(|| lab.run(&["in", "out"]));
    let root = lab.root().display().to_string();
    let unread = |what: &str| format!("not kept: {what}{root}/");
    assert!(run.lines.contains(&(unread("inputs cannot be read: ") + "src/a")), "{}", run.lines);
    assert!(run.lines.contains(&(unread("") + "out")), "{}", run.lines);
    assert_eq!(run.lines.matches("Permission denied").count(), 2, "{}", run.lines);
}

#[test]
fn an_output_behind_a_link_is_kept_only_with_what_the_link_leads_to() {
    let check = |command: &str, outputs: &str, expected: &str| {
        let keys = format!("command = '{command}'\ninputs = []\noutputs = {outputs}");
        let lab = Lab::of(&[("larder.toml", &format!("[tasks.a]\n{keys}\n"))]);
        assert_eq!(lab.run(&["a"]).lines.trim_end(), format!("lab#a: {expected}"), "{keys}");
    };
    let link = "mkdir real; echo x > real/o; ln -s real dist";
    for output in ["dist", "dist/o", "dist/*"] {
        let expected = format!(
            "ran, not kept: output \"{output}\" is, or lies behind, the link dist, which leads to what is not among \
             the outputs"
        );
        check(link, &format!("[\"{output}\"]"), &expected);
    }
    check(link, "['real', 'dist']", "ran, kept");
    check("mkdir dist; echo x > dist/o; ln -s dist/o latest", "['latest', 'dist']", "ran, kept");
    check("ln -s nowhere dist", "['dist']", "ran, kept");
}

#[test]
fn globs_of_two_tasks_that_choose_one_file_are_told_when_it_is_kept_or_given_back() {
    let lab = Lab::of(&[(
        "larder.toml",
        "[tasks.a]\ncommand = 'echo a > x.o; echo a > a.o'\ninputs = []\noutputs = ['*.o']\n\
         [tasks.b]\ncommand = 'echo b > x.o; echo b > xb.o'\ninputs = []\noutputs = ['x*.o']\n",
    )]);
    let by_the_other = |told: &str| {
        ["a", "b"].map(|task| told.matches(&format!("output x.o is written by `lab#{task}`, too")).count())
    };
    // Whoever comes second is told of the first.
    let one = RunOptions { jobs: NonZeroUsize::new(1), ..RunOptions::default() };
    let both = lab.run_with(&["a", "b"], &[], &one).lines;
    assert_eq!(
        (both.matches("ran, kept").count(), by_the_other(&both).iter().sum::<usize>()),
        (1, 1),
        "{both}"
    );
    let second = if by_the_other(&both)[0] == 1 { "b" } else { "a" };
    // One that runs alone has nobody to meet.
    lab.sh("rm *.o");
    assert_eq!(lab.run(&[second]).lines, format!("lab#{second}: ran, kept\n"));
    let notes = lab.run_with(&["a", "b"], &[], &one).notes;
    assert_eq!((notes.len(), by_the_other(&notes.concat()).iter().sum::<usize>()), (1, 1), "{notes:?}");
}

#[test]
fn what_is_kept_of_outputs_that_are_not_cleaned_is_not_what_is_kept_of_others() {
    let lab = Lab::new();
    let manifest = |clean: &str| {
        let keys = "command = 'mkdir -p dist; cp src/* dist'\ninputs = ['src/*']\noutputs = ['dist']";
        lab.manifest("larder.toml", &format!("[tasks.a]\n{keys}\n{clean}\n"));
    };
    manifest("clean = false");
    lab.write("src/a", "");
    lab.write("src/b", "");
    lab.run(&["a"]);
    lab.sh("rm src/b");
    assert_eq!(lab.run(&["a"]).lines, "lab#a: ran, kept\n");
    assert!(lab.path("dist/b").exists());
    manifest("");
    assert_eq!(lab.run(&["a"]).lines, "lab#a: ran, kept\n");
    assert!(!lab.path("dist/b").exists());
}

#[test]
fn stale_outputs_of_an_earlier_run_are_not_taken_for_outputs_and_work_of_others_is_left_alone() {
    let lab = Lab::of(&[(
        "larder.toml",
        "[tasks.build]\ncommand = \"mkdir -p dist; for f in src/*; do cp $f dist/; done\"\ninputs = [\"src/*\"]\noutputs = [\"dist\"]\n",
    )]);
    lab.sh("mkdir src; echo a > src/a; echo b > src/b");
    lab.run(&["build"]);
    lab.sh("rm src/b; echo mine > dist/mine");
    lab.run(&["build"]);
    assert!(!lab.path("dist/b").exists(), "a fresh clone would not have it");
    assert_eq!(lab.read("dist/mine"), "mine\n");
}

#[test]
fn stale_outputs_in_directories_without_write_permission_go_as_well() {
    let lab = Lab::of(&[(
        "larder.toml",
        "[tasks.build]\ncommand = \"mkdir -p dist/deep; for f in src/*; do cp $f dist/; cp $f dist/deep/; done; chmod 555 dist/deep dist\"\n\
         inputs = [\"src/*\"]\noutputs = [\"dist\"]\n",
    )]);
    lab.sh("mkdir src; echo a > src/a; echo b > src/b");
    let run = || where_modes_hold(|| lab.run(&["build"]).lines);
    assert_eq!(run(), "lab#build: ran, kept\n");
    lab.sh("rm src/b");
    assert_eq!(run(), "lab#build: ran, kept\n");
    let there = || ["dist/a", "dist/b", "dist/deep/a", "dist/deep/b"].map(|path| lab.path(path).exists());
    assert_eq!(there(), [true, false, true, false], "a fresh clone would not have them");
    // Given back as well, in both directions: what is too much goes, and what is missing comes.
    lab.sh("echo b > src/b");
    assert_eq!(run(), "lab#build: hit, 4 right, 2 written, 0 removed\n");
    lab.sh("rm src/b");
    assert_eq!(run(), "lab#build: hit, 4 right, 0 written, 2 removed\n");
    assert_eq!(there(), [true, false, true, false]);
    assert_eq!([mode(&lab, "dist"), mode(&lab, "dist/deep")], [0o555; 2]);
}

#[test]
fn a_directory_that_stays_has_its_mode_after_outputs_were_taken_out_of_it() {
    let lab = Lab::of(&[(
        "larder.toml",
        "[tasks.build]\ncommand = \"stat -c %a rd; chmod 755 rd; for f in src/*; do cp $f rd/; done; chmod 555 rd; [ ! -e slow ] || { echo ready; sleep 100; }\"\n\
         inputs = [\"src/*\"]\noutputs = [\"rd/*\", \"!rd/mine\"]\n",
    )]);
    lab.sh("mkdir src rd; echo a > src/a; echo b > src/b; echo mine > rd/mine");
    let run = || {
        let (stop, stopped) = watch::channel(Stop::No);
        where_modes_hold(|| {
            lab.run_until(&["build"], &[], &RunOptions::default(), stopped, |event| match event {
                Event::Output { bytes, .. } if bytes.ends_with(b"ready\n") => {
                    stop.send_replace(Stop::Gently);
                }
                _ => {}
            })
        })
    };
    assert_eq!(run().lines, "lab#build: ran, kept\n");
    lab.sh("echo new > src/a; rm src/b");
    let second = run();
    assert_eq!((second.lines.as_str(), second.live.as_str()), ("lab#build: ran, kept\n", "555\n"));
    assert_eq!([lab.path("rd/b").exists(), lab.path("rd/mine").exists()], [false, true]);
    // After a hit it is as it was, too.
    lab.sh("chmod 755 rd; rm rd/a; chmod 555 rd");
    assert_eq!(run().lines, "lab#build: hit, 0 right, 1 written, 0 removed\n");
    assert_eq!(mode(&lab, "rd"), 0o555);
    lab.sh("touch slow; echo newer > src/a");
    let stopped = run();
    assert_eq!(stopped.lines, "lab#build: ran with Stopped, not kept: it was stopped\n");
    assert_eq!(stopped.notes, ["1 unfinished output was removed"]);
    assert_eq!((lab.path("rd/a").exists(), mode(&lab, "rd")), (false, 0o555));
}

#[test]
fn where_outputs_of_an_earlier_run_cannot_be_looked_for_nothing_is_kept() {
    let lab = Lab::of(&[(
        "larder.toml",
        "[tasks.build]\ncommand = \"chmod -Rf 755 dist; mkdir -p dist/deep; for f in src/*; do cp $f dist/deep/; done\"\n\
         inputs = [\"src/*\"]\noutputs = [\"dist\"]\n",
    )]);
    lab.sh("mkdir src; echo a > src/a; echo b > src/b");
    lab.run(&["build"]);
    lab.sh("rm src/b; chmod 0 dist/deep");
    let options = RunOptions { mode: Mode::Write, ..RunOptions::default() };
    let run = where_modes_hold(|| lab.run_with(&["build"], &[], &options));
    assert!(
        run.lines.starts_with("lab#build: ran, not kept: ") && run.lines.contains("dist/deep"),
        "{}",
        run.lines
    );
    assert_eq!(lab.run(&["build"]).lines, "lab#build: ran, kept\n");
    assert!(!lab.path("dist/deep/b").exists());
}

fn mode(lab: &Lab, path: &str) -> u32 {
    lab.path(path).metadata().unwrap().permissions().mode() & 0o777
}

#[test]
fn a_stop_leaves_no_half_written_output_in_a_directory_without_write_permission() {
    let lab = Lab::of(&[(
        "larder.toml",
        "[tasks.a]\ncommand = \"mkdir -p o/p; echo half > o/p/x; chmod 555 o/p o; echo ready; sleep 100\"\noutputs = [\"o\"]\ninputs = []\n",
    )]);
    let (stop, stopped) = watch::channel(Stop::No);
    let run = where_modes_hold(|| {
        lab.run_until(&["a"], &[], &RunOptions::default(), stopped, |event| {
            if matches!(event, Event::Output { .. }) {
                stop.send_replace(Stop::Gently);
            }
        })
    });
    assert_eq!(run.lines, "lab#a: ran with Stopped, not kept: it was stopped\n");
    assert_eq!(run.notes, ["3 unfinished outputs were removed"]);
    assert!(!lab.path("o").exists());
}

#[test]
fn directories_that_get_their_group_from_the_one_above_get_it_again() {
    let lab = Lab::of(&[(
        "larder.toml",
        "[tasks.a]\ncommand = 'mkdir -p o/d; chmod 700 o/d; echo x > o/d/x'\ninputs = []\noutputs = ['o']\n",
    )]);
    lab.sh("chmod g+s .");
    let all = || ["o", "o/d"].map(|path| lab.path(path).metadata().unwrap().permissions().mode() & 0o7777);
    assert_eq!(lab.run(&["a"]).lines, "lab#a: ran, kept\n");
    let made = all();
    assert_eq!(made[1], 0o2700);
    lab.sh("rm -r o");
    assert_eq!(lab.run(&["a"]).lines, "lab#a: hit, 0 right, 3 written, 0 removed\n");
    assert_eq!(all(), made);
}

#[test]
fn a_cache_among_the_outputs_is_none_of_them() {
    let lab = Lab::of(&[(
        "larder.toml",
        "[tasks.a]\ncommand = 'seq 10000 > dist/a; seq 20000 > dist/b'\ninputs = []\noutputs = ['dist']\n",
    )]);
    lab.cache_inside("dist/cache");
    assert_eq!(lab.run(&["a"]).lines, "lab#a: ran, kept\n");
    lab.sh("rm dist/a");
    assert_eq!(lab.run(&["a"]).lines, "lab#a: hit, 2 right, 1 written, 0 removed\n");
}

#[test]
fn a_file_that_many_tasks_make_is_stored_once() {
    let lab = Lab::of(&[(
        "larder.toml",
        "[tasks.a]\ncommand = \"seq 100000 > a.out\"\noutputs = [\"a.out\"]\n[tasks.b]\ncommand = \"seq 100000 > b.out\"\noutputs = [\"b.out\"]\n",
    )]);
    lab.run(&["a"]);
    let before = lab.with_tasks(&[], async |tasks| tasks.disk().unwrap().usage().unwrap());
    lab.run(&["b"]);
    let after = lab.with_tasks(&[], async |tasks| tasks.disk().unwrap().usage().unwrap());
    assert!(
        before.blob_bytes > 10_000 && after.blob_bytes < before.blob_bytes + 1_000,
        "{before:?} {after:?}"
    );
}

#[test]
fn what_a_glob_of_outputs_selects_comes_back_whatever_its_name() {
    use std::os::unix::ffi::OsStrExt as _;
    for (outputs, whole) in
        [("['dist/*']", false), ("['**/*.bin']", false), ("['dist/?.bin', 'x']", false), ("['dist']", true)]
    {
        let command = "mkdir -p dist; printf odd > dist/$(printf '\\377').bin; touch x";
        let text = format!("[tasks.a]\ncommand = \"\"\"{command}\"\"\"\ninputs = []\noutputs = {outputs}\n");
        let lab = Lab::of(&[("larder.toml", &text.replace('\\', "\\\\"))]);
        assert_eq!(lab.run(&["a"]).lines, "lab#a: ran, kept\n", "{outputs}");
        lab.sh("rm -r dist x");
        let run = lab.run(&["a"]);
        assert!(run.lines.starts_with("lab#a: hit"), "{outputs}: {} {:?}", run.lines, run.notes);
        let odd = lab.path("dist").join(std::ffi::OsStr::from_bytes(b"\xff.bin"));
        assert_eq!(std::fs::read(&odd).unwrap(), b"odd");
        // What is too much goes where the whole is declared.
        let more = odd.with_file_name(std::ffi::OsStr::from_bytes(b"\xfe.bin"));
        std::fs::write(&more, "").unwrap();
        lab.run(&["a"]);
        assert_eq!(more.exists(), !whole, "{outputs}");
    }
}

#[test]
fn what_is_made_under_an_unusual_umask_is_nobody_elses() {
    let check = |outputs: &str| {
        let lab = Lab::new();
        let command = "umask >> RAN; umask > out";
        lab.manifest("larder.toml", &format!("[tasks.a]\ncommand = '{command}'\ninputs = []\n{outputs}\n"));
        for (umask, ran) in
            [("022", "0022"), ("002", ""), ("077", "0077"), ("027", "0027"), ("022", ""), ("077", "")]
        {
            lab.run_under_umask(umask, "a");
            assert_eq!(lab.ran(), ran, "{umask} {outputs}");
        }
    };
    check("outputs = ['out']");
    check("");
}
