//! What no task cache may get wrong: damage, company, explanations, nondeterminism, orphans.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use larder::config::Mode;
use larder_tasks::Stop;
use larder_tasks::event::Event;
use larder_tasks::job::{AuditSample, FileChange, Nearest, Reason, RunOptions, Why};
use larder_tasks::key::Difference;
use tokio::sync::watch;

use crate::lab::{Lab, Ran};

/// Two tasks with a log that is a blob of its own, a large and a small output, a link and a directory.
fn maker() -> Lab {
    let lab = Lab::new();
    lab.manifest(
        "larder.toml",
        r#"
[tasks.gen]
command = "echo gen >> RAN; mkdir -p out/empty; seq 3000 > out/large; echo $(cat in) > out/small; ln -s small out/link; seq 3000"
inputs = ["in"]
outputs = ["out"]
[tasks.use]
command = "echo use >> RAN; wc -l < out/large > used"
inputs = []
outputs = ["used"]
depends_on = ["gen"]
"#,
    );
    lab.write("in", "content");
    lab
}

fn everything(lab: &Lab) -> String {
    let link = lab.path("out/link").read_link().map(|path| path.display().to_string()).unwrap_or_default();
    let large = blake(&lab.path("out/large"));
    format!(
        "{large} {} {link} {} {}",
        lab.read("out/small"),
        lab.path("out/empty").is_dir(),
        lab.read("used")
    )
}

fn blake(path: &Path) -> String {
    larder::key::Digest::of(&fs::read(path).unwrap_or_default()).to_string()
}

/// What the first task wrote, in short.
fn text_of(run: &Ran) -> String {
    let text: String = run.log(0).into_iter().map(|(_, text)| text).collect();
    format!("{} bytes, {}", text.len(), larder::key::Digest::of(text.as_bytes()))
}

fn files_in(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut open = vec![directory.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { open.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    files
}

/// Damages the cache, loses the outputs, and expects everything to be right all the same.
fn check_damage(damage: impl Fn(&Path, &[u8]) -> Vec<Option<Vec<u8>>>) {
    let lab = maker();
    lab.run(&["use"]);
    let right = (everything(&lab), text_of(&lab.run(&["use"])));
    let saved: Vec<(PathBuf, Vec<u8>)> =
        files_in(&lab.cache()).into_iter().map(|path| (path.clone(), fs::read(&path).unwrap())).collect();
    for (place, bytes) in &saved {
        for damaged in damage(place, bytes) {
            for kept in files_in(&lab.cache()) {
                fs::remove_file(kept).unwrap();
            }
            saved.iter().for_each(|(path, bytes)| fs::write(path, bytes).unwrap());
            match &damaged {
                Some(damaged) => fs::write(place, damaged).unwrap(),
                None => fs::remove_file(place).unwrap(),
            }
            fs::remove_dir_all(lab.path("out")).unwrap();
            fs::remove_file(lab.path("used")).unwrap();
            let run = lab.run(&["use"]);
            assert!(run.summary.is_success(), "{}: {}", place.display(), run.lines);
            assert_eq!((everything(&lab), text_of(&run)), right, "{}", place.display());
        }
    }
}

#[test]
fn a_file_of_the_cache_that_is_cut_or_gone_is_made_up_for() {
    check_damage(|_, bytes| vec![None, Some(bytes[..bytes.len() / 2].to_vec()), Some(Vec::new())]);
}

#[test]
fn a_flipped_byte_anywhere_in_the_cache_is_made_up_for() {
    check_damage(|_, bytes| {
        let flip = |at: usize| {
            let mut damaged = bytes.to_vec();
            damaged[at] ^= 0x41;
            Some(damaged)
        };
        (0..bytes.len()).step_by(97).map(flip).collect()
    });
}

#[test]
fn four_runs_at_once_in_one_clone_execute_once() {
    let lab = maker();
    let lines = std::thread::scope(|scope| {
        let runs: Vec<_> = (0..4).map(|_| scope.spawn(|| lab.run(&["use"]).lines)).collect();
        runs.into_iter().map(|run| run.join().unwrap()).collect::<String>()
    });
    assert_eq!(lab.ran(), "gen use", "{lines}");
    assert_eq!((lines.matches("ran, kept").count(), lines.matches(": hit,").count()), (2, 6), "{lines}");
}

#[test]
fn four_clones_that_share_a_cache_execute_once_and_all_have_the_outputs() {
    let labs: Vec<Lab> = (0..4).map(|_| maker()).collect();
    let manifest = labs[0].read("larder.toml");
    for lab in &labs[1..] {
        lab.write("larder.toml", &manifest);
        std::os::unix::fs::symlink(labs[0].cache(), lab.cache()).unwrap();
    }
    fs::create_dir(labs[0].cache()).unwrap();
    std::thread::scope(|scope| {
        labs.iter().for_each(|lab| drop(scope.spawn(|| lab.run(&["use"]))));
    });
    assert_eq!(labs[0].ran(), "gen use");
    for lab in &labs {
        assert_eq!(everything(lab), everything(&labs[0]));
        assert_eq!(lab.read("used").trim(), "3000");
    }
}

fn why(lab: &Lab, task: &str, environment: &[(&str, &str)]) -> Why {
    let graph = lab.try_graph(&[task], &[], false).unwrap();
    lab.with_tasks(environment, async |tasks| tasks.why(&graph).await.remove(0))
}

fn differences(why: &Why) -> Vec<String> {
    why.nearest.iter().flat_map(|nearest| &nearest.differences).map(Difference::what).collect()
}

#[test]
fn why_names_the_file_variable_tool_or_setting_that_differs_from_the_nearest_result() {
    let lab = Lab::new();
    let manifest = |salt: &str| {
        let text = "[tasks.a]\ncommand = \"true\"\ninputs = [\"src/**\"]\nenv = { include = [\"NODE_ENV\"] }\ntools = [\"sh\"]\n";
        lab.write("larder.toml", &format!("{text}cache = {{ salt = {salt:?} }}\n"));
    };
    manifest("1");
    lab.sh("mkdir src; echo one > src/one; echo two > src/two");
    assert!(matches!(why(&lab, "a", &[]), Why { reason: Reason::NotKept, nearest: None, .. }));
    lab.run(&["a"]);
    let kept = why(&lab, "a", &[]);
    assert!(matches!(&kept.reason, Reason::Kept { producer, .. } if &**producer == "tester"));
    assert!(kept.nearest.is_none() && kept.ambient == ["PATH", "LARDER_PLACE"]);

    lab.sh("echo changed > src/one; rm src/two; echo new > src/three");
    let changed = why(&lab, "a", &[]);
    assert_eq!(differences(&changed), ["inputs"]);
    let Some(Nearest { files, producer, .. }) = &changed.nearest else { panic!("{changed:?}") };
    let file = |path: &str| format!("src/{path}");
    let expected = [
        FileChange::Modified(file("one")),
        FileChange::Added(file("three")),
        FileChange::Removed(file("two")),
    ];
    assert_eq!((files.as_slice(), &**producer), (&expected[..], "tester"));

    // Now the nearest is the one with the same files.
    lab.run(&["a"]);
    assert_eq!(differences(&why(&lab, "a", &[("NODE_ENV", "x")])), ["variable NODE_ENV"]);
    assert_eq!(
        differences(&why(&lab, "a", &[("LANG", "x"), ("NODE_ENV", "x")])),
        ["variable LANG", "variable NODE_ENV"]
    );
    manifest("2");
    assert_eq!(differences(&why(&lab, "a", &[])), ["salt"]);
    manifest("1");
    lab.write("bin/sh", "#!/bin/sh\n");
    lab.sh("chmod +x bin/sh");
    let path = lab.path("bin").display().to_string();
    assert_eq!(differences(&why(&lab, "a", &[("PATH", &path)])), ["tool sh"]);
}

#[test]
fn why_of_a_task_whose_dependency_would_run_says_so() {
    let lab = maker();
    lab.run(&["use"]);
    lab.write("in", "other");
    assert!(matches!(why(&lab, "use", &[]).reason, Reason::After(name) if name == "//#gen"));
    lab.run(&["use"]);
    let after = why(&lab, "use", &[]);
    assert!(matches!(after.reason, Reason::Kept { .. }));
    assert_eq!(differences(&after), ["upstream //#gen"]);
}

#[test]
fn an_audit_reports_tasks_that_come_out_differently_and_leaves_what_was_kept() {
    let lab = Lab::of(&[(
        "larder.toml",
        "[tasks.same]\ncommand = \"mkdir -p same; echo x > same/x\"\ninputs = []\noutputs = [\"same\"]\n\
         [tasks.differs]\ncommand = \"mkdir -p differs; date +%N > differs/x; echo y > differs/y; date +%N > differs/$(date +%N); [ ! -e fail ]\"\n\
         inputs = []\noutputs = [\"differs\"]\n",
    )]);
    lab.run(&["same", "differs"]);
    let before = files_in(&lab.path("differs")).iter().map(|path| blake(path)).collect::<Vec<_>>();
    let audit_in = |mode, percent| {
        let audit = Some(AuditSample { percent, seed: 1 });
        let options = RunOptions { audit, mode, ..RunOptions::default() };
        let run = lab.run_with(&["same", "differs"], &[], &options);
        assert_eq!(run.lines.matches(": hit").count(), 2);
        run.summary.audits
    };
    let audit = |percent| audit_in(Mode::ReadWrite, percent);
    assert_eq!(audit(0).len(), 0);
    let audits = audit(100);
    let of = |name: &str| {
        &audits.iter().find(|audit| (audit.task == 0) == (name == "differs")).unwrap().differences
    };
    assert!(of("same").is_empty());
    assert!(
        of("differs").contains(&"differs/x".to_owned()) && of("differs").len() == 3,
        "{:?}",
        of("differs")
    );
    assert_eq!(files_in(&lab.path("differs")).iter().map(|path| blake(path)).collect::<Vec<_>>(), before);
    assert_eq!(lab.run(&["differs"]).lines, "lab#differs: hit, 4 right, 0 written, 0 removed\n");
    // Where nothing is to be kept it is told only that there is a difference.
    let mut told: Vec<_> = audit_in(Mode::Read, 100).into_iter().map(|audit| audit.differences).collect();
    told.sort();
    assert_eq!(told, [vec![], vec!["outputs".to_owned()]]);
    // One that fails now is no reason to leave others out.
    lab.write("fail", "");
    assert_eq!(audit(100).len(), 2);
}

/// Two tasks that are kept. Where `slow` lies, the first says "begun" in the middle of its work and goes on for long; where
/// `deaf` lies, it says "asked" when it is asked to end, and goes on as well.
fn slow_when_audited() -> Lab {
    let lab = Lab::new();
    lab.manifest(
        "larder.toml",
        r#"
[tasks.a]
command = """
exec 2>/dev/null; echo a >> RAN; [ ! -e deaf ] || trap 'echo asked' TERM; mkdir -p out
if [ -e slow ]; then echo half > out/x; echo half > out/half; echo begun; n=0; while [ $n -lt 2000 ]; do n=$((n+1)); sleep 0.01; done; fi
echo whole > out/x
"""
inputs = []
outputs = ["out"]
[tasks.b]
command = "echo b >> RAN"
inputs = []
cache = true
depends_on = ["a"]
"#,
    );
    assert_eq!(lab.run(&["b"]).lines, "lab#a: ran, kept\nlab#b: ran, kept\n");
    assert_eq!(lab.ran(), "a b");
    lab.write("slow", "");
    lab
}

/// Audits both tasks, and stops the run at what the first prints meanwhile: at each of these words by one more step.
fn check_stopped_audit(lab: &Lab, said: &[&str]) {
    let (stop, stopped) = watch::channel(Stop::No);
    let options = RunOptions {
        audit: Some(AuditSample { percent: 100, seed: 1 }),
        grace: Duration::from_secs(1000),
        ..RunOptions::default()
    };
    let run = lab.run_until(&["b"], &[], &options, stopped, |event| {
        if matches!(event, Event::Output { .. }) {
            stop.send_modify(|stop| *stop = if *stop == Stop::No { Stop::Gently } else { Stop::AtOnce });
        }
    });
    assert_eq!(run.live.split_whitespace().collect::<Vec<_>>(), said);
    assert!(run.summary.stopped && run.summary.audits.is_empty(), "{:?}", run.summary.audits);
    assert_eq!(lab.ran(), "a", "no further audit begins");
    assert_eq!((lab.read("out/x").as_str(), lab.path("out/half").exists()), ("whole\n", false));
    let next = lab.run(&["b"]).lines;
    assert_eq!(
        next,
        "lab#a: hit, 2 right, 0 written, 0 removed\nlab#b: hit, 0 right, 0 written, 0 removed\n"
    );
}

#[test]
fn a_stop_ends_an_audit_begins_no_other_and_says_nothing_of_it() {
    check_stopped_audit(&slow_when_audited(), &["begun"]);
}

#[test]
fn a_second_stop_kills_an_audit_that_does_not_end_when_asked() {
    let lab = slow_when_audited();
    lab.write("deaf", "");
    check_stopped_audit(&lab, &["begun", "asked"]);
}

#[test]
fn a_command_that_a_killed_larder_left_running_is_ended_before_the_task_runs_again() {
    for command in
        ["sh ./work .", "sh ./work /", "setsid -w sh ./work .", "setsid sh ./work / > /dev/null 2>&1 & wait"]
    {
        let lab = Lab::new();
        let root = lab.root();
        lab.write(
            "larder.toml",
            &format!("[tasks.a]\ncommand = \"{command}\"\noutputs = [\"out\"]\ninputs = []\n"),
        );
        let root = root.display();
        lab.write(
            "work",
            &format!(
                "echo $$ > began; cd $1; while [ ! -e {root}/go ]; do sleep 0.01; done; mkdir -p {root}/out; echo x >> {root}/out/x\n"
            ),
        );
        // A larder that is killed has no time to end its command, which goes on.
        let orphan = lab.leave_an_orphan("a");
        assert!(Path::new(&format!("/proc/{orphan}/exe")).exists());
        let (_keep, stop) = watch::channel(Stop::No);
        let run = lab.run_until(&["a"], &[], &RunOptions::default(), stop, |event| {
            if matches!(event, Event::Started { .. }) {
                assert!(Path::new(&format!("/proc/{orphan}/exe")).read_link().is_err(), "{command}");
                lab.write("go", "");
            }
        });
        assert_eq!(run.notes, ["an earlier run was killed and left its command running; that was ended"]);
        assert_eq!(run.lines, "lab#a: ran, kept\n");
        assert_eq!(lab.read("out/x"), "x\n");
    }
}

/// Waits until what begins from now on does so in a later tick of the kernel's clock.
fn next_tick() {
    let uptime = || fs::read_to_string("/proc/uptime").unwrap().split(' ').next().unwrap().to_owned();
    let then = uptime();
    while uptime() == then {
        std::thread::yield_now();
    }
}

#[test]
fn what_another_clone_runs_or_an_earlier_run_has_left_is_not_what_a_killed_larder_left() {
    let command = "echo $$ > began; while [ ! -e go ]; do sleep 0.01; done; rm go";
    let text = format!("[tasks.a]\ncommand = {command:?}\ninputs = []\ncache = false\n");
    let (lab, other) = (Lab::of(&[("larder.toml", &text)]), Lab::of(&[("larder.toml", &text), ("go", "")]));
    let mut elsewhere = std::process::Command::new("sleep");
    lab.write("go", "");
    lab.run(&["a"]);
    let place = fs::read_dir(lab.cache().join("running")).unwrap().next().unwrap().unwrap().file_name();
    let mut earlier = std::process::Command::new("sleep");
    let mut earlier = earlier.arg("60").env("LARDER_PLACE", place).spawn().unwrap();
    other.run(&["a"]);
    let place = fs::read_dir(other.cache().join("running")).unwrap().next().unwrap().unwrap().file_name();
    next_tick();
    fs::remove_file(lab.path("began")).unwrap();
    lab.leave_an_orphan("a");
    let mut elsewhere = elsewhere.arg("60").env("LARDER_PLACE", place).spawn().unwrap();
    let (_keep, stop) = watch::channel(Stop::No);
    let run = lab.run_until(&["a"], &[], &RunOptions::default(), stop, |event| {
        if matches!(event, Event::Started { .. }) {
            lab.write("go", "");
        }
    });
    assert_eq!(run.notes, ["an earlier run was killed and left its command running; that was ended"]);
    for process in [&mut earlier, &mut elsewhere] {
        assert!(process.try_wait().unwrap().is_none());
        process.kill().unwrap();
        process.wait().unwrap();
    }
}

#[test]
fn what_a_killed_run_left_half_made_is_taken_away_and_what_was_there_before_is_not() {
    let lab = Lab::of(&[(
        "larder.toml",
        "[tasks.a]\ncommand = \"echo $$ > began; mkdir -p out; [ -e again ] || touch out/half; while [ ! -e go ]; do sleep 0.01; done; echo x > out/x\"\n\
         outputs = [\"out\"]\ninputs = []\n",
    )]);
    lab.write("out/mine", "mine");
    lab.leave_an_orphan("a");
    while !lab.path("out/half").exists() {
        std::thread::yield_now();
    }
    lab.write("again", "");
    let (_keep, stop) = watch::channel(Stop::No);
    let run = lab.run_until(&["a"], &[], &RunOptions::default(), stop, |event| {
        if matches!(event, Event::Started { .. }) {
            lab.write("go", "");
        }
    });
    assert!(run.lines.starts_with("lab#a: ran, not kept: out/mine was there before"), "{}", run.lines);
    assert!(!lab.path("out/half").exists());
    assert_eq!((lab.read("out/mine").as_str(), lab.read("out/x").as_str()), ("mine", "x\n"));
}

#[test]
fn a_command_is_kept_without_any_file() {
    use larder_tasks::place::SourceText;
    use larder_tasks::workspace::Workspace;
    let lab = Lab::of(&[("src/a", "one"), ("src/b", "two")]);
    let described = |outputs: &str| {
        let script = format!("echo ran >> {}; cat src/* > out", lab.ran_file().display());
        let text = format!(
            "[tasks.sh]\ncommand = [\"sh\", \"-c\", {script:?}]\ninputs = [\"src/*\"]\noutputs = [{outputs:?}]\n"
        );
        Workspace::described(&lab.root(), &SourceText::new("the command line", text))
    };
    let run = || lab.run_workspace(described("out").unwrap(), &["sh"]);
    assert_eq!(run().lines, "lab#sh: ran, kept\n");
    lab.sh("rm out");
    assert_eq!(run().lines, "lab#sh: hit, 0 right, 1 written, 0 removed\n");
    assert_eq!((lab.read("out").as_str(), lab.ran().as_str()), ("onetwo", "ran"));
    let problem = described("../x").unwrap_err().to_string();
    assert_eq!(problem, "the command line:4:12: output \"../x\" leads outside the workspace root");
}
