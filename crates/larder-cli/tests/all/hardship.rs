//! The program under hardship: many at once, a disk that is full, a cache that can't be written. No task fails.

use std::fs;
use std::process::{Command, Stdio};

use crate::lab::{Lab, within_bound};

/// Four packages, each of which makes five files.
fn workspace(lab: &Lab) {
    lab.write(
        "project/larder.toml",
        r#"
[workspace]
name = "hardship"
members = ["packages/*"]

[workspace.tasks.build]
command = "mkdir -p dist && for n in 1 2 3 4 5; do cat src/a src/a > dist/$n; done && cat src/a"
inputs = ["src/**"]
outputs = ["dist"]
"#,
    );
    for package in ["a", "b", "c", "d"] {
        lab.write(&format!("project/packages/{package}/src/a"), "begin");
    }
}

/// A number from 0 to 1 that looks random and is the same in each run of the test.
fn spread(round: u64) -> f64 {
    (round.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 11) as f64 / (1u64 << 53) as f64
}

#[test]
fn eight_processes_at_once_on_one_cache_are_all_right() {
    let lab = Lab::new();
    workspace(&lab);
    // Each in a clone of its own, so that none finds outputs of another in place.
    for clone in 0..8 {
        let to = lab.path(&format!("clone{clone}"));
        assert!(Command::new("cp").arg("-r").args([lab.path("project"), to]).status().unwrap().success());
    }
    let start = |clone: usize| {
        let mut command = lab.command(&["run", "build"]);
        command.current_dir(lab.path(&format!("clone{clone}"))).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    };
    let running: Vec<_> = (0..8).map(start).collect();
    let mut ran = 0;
    for (clone, child) in running.into_iter().enumerate() {
        let output = child.wait_with_output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "clone {clone}: {errors}");
        ran += errors.lines().filter(|line| line.contains("#build ran in")).count();
        for package in ["a", "b", "c", "d"] {
            let path = lab.path(&format!("clone{clone}/packages/{package}/dist/3"));
            assert_eq!(fs::read_to_string(path).unwrap(), "beginbegin");
        }
    }
    // The packages are alike but for where they lie, which counts: each was built once among all clones.
    assert_eq!(ran, 4);
}

/// Runs the tasks with a clock that is wrong by so much. Returns how many ran, and how many were hits.
fn with_a_clock_off_by(lab: &Lab, offset: &str) -> (usize, usize) {
    let lent = lab.command(&[]);
    let mut command = Command::new("faketime");
    command.args(["-f", offset, env!("CARGO_BIN_EXE_larder"), "run", "build"]);
    command.env_clear().envs(lent.get_envs().filter_map(|(name, value)| Some((name, value?))));
    // Files have the times that the system gives them.
    command.env("NO_FAKE_STAT", "1").current_dir(lab.path("project"));
    let output = command.output();
    let output =
        output.unwrap_or_else(|error| panic!("faketime: {error}; install it with: apt-get install faketime"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    (errors.matches("#build ran in").count(), errors.matches("#build hit").count())
}

#[test]
fn a_clock_that_is_stepped_back_an_hour_and_on_again_hides_no_edit_and_loses_nothing() {
    let lab = Lab::new();
    workspace(&lab);
    let edit = |text: &str| lab.write("project/packages/a/src/a", text);
    let made = || fs::read_to_string(lab.path("project/packages/a/dist/3")).unwrap();
    assert_eq!(with_a_clock_off_by(&lab, "+0s"), (4, 0));
    assert_eq!(with_a_clock_off_by(&lab, "-1h"), (0, 4));
    for text in ["after", "AFTER", "later"] {
        edit(text);
        assert_eq!(with_a_clock_off_by(&lab, "-1h"), (1, 3), "{text}");
        assert_eq!(made(), text.repeat(2));
    }
    assert_eq!(with_a_clock_off_by(&lab, "+0s"), (0, 4));
    // What was kept at any of the times is there at the other.
    for (offset, text) in [("-1h", "begin"), ("+0s", "AFTER"), ("+1h", "begin")] {
        edit(text);
        assert_eq!(with_a_clock_off_by(&lab, offset), (0, 4), "{offset} {text}");
        assert_eq!(made(), text.repeat(2));
    }
    assert!(lab.run(&["cache", "verify"]).status.success());
}

/// Runs a script as root of its own mount namespace, with a file system of this many KiB at `small`.
fn in_small_file_system(lab: &Lab, kib: u32, script: &str) -> std::process::Output {
    let small = lab.path("small");
    fs::create_dir_all(&small).unwrap();
    let script = format!("mount -t tmpfs -o size={kib}k none '{}' && {script}", small.display());
    let mut command = Command::new("unshare");
    command.args(["--mount", "--map-root-user", "sh", "-c", &script]);
    let lent = lab.command(&[]);
    command.env_clear().envs(lent.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.env("LARDER", env!("CARGO_BIN_EXE_larder")).current_dir(lab.path("project"));
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        !errors.contains("Operation not permitted"),
        "this test makes a mount namespace, which is not allowed here; run it as root, or allow it with\n    \
         sysctl -w kernel.unprivileged_userns_clone=1\n{errors}"
    );
    output
}

#[test]
fn a_full_disk_costs_the_cache_and_no_task() {
    let lab = Lab::new();
    workspace(&lab);
    for package in ["a", "b", "c", "d"] {
        // What does not compress, so that nothing of it fits.
        let noise: String = (0..40_000u64).map(|n| format!("{:x}", (spread(n) * 1e15) as u64)).collect();
        lab.write(&format!("project/packages/{package}/src/a"), &format!("{package}{noise}"));
    }
    let small = lab.path("small");
    for kib in [16, 200, 1000] {
        let script = format!(
            "for n in 1 2 3; do rm -rf packages/*/dist; \"$LARDER\" --dir '{}/cache' run build || exit 9; \
             for p in a b c d; do cat packages/$p/src/a packages/$p/src/a | cmp - packages/$p/dist/5 || exit 8; done; \
             done",
            small.display()
        );
        let output = in_small_file_system(&lab, kib, &script);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{kib} KiB: {:?}\n{errors}", output.status);
    }
}

#[test]
fn a_cache_that_cannot_be_written_is_read_and_no_task_fails() {
    let lab = Lab::new();
    workspace(&lab);
    assert!(lab.run(&["--dir", lab.path("small/cache").to_str().unwrap(), "run", "build"]).status.success());
    // Copied into a file system that is then made read-only.
    let kept = lab.path("kept");
    fs::rename(lab.path("small"), &kept).unwrap();
    let script = format!(
        "cp -r '{0}/cache' '{1}/' && mount -o remount,ro '{1}' && rm -rf packages/*/dist && \
         \"$LARDER\" --dir '{1}/cache' run build && echo other > packages/a/src/a && \
         \"$LARDER\" --dir '{1}/cache' run build",
        kept.display(),
        lab.path("small").display(),
    );
    let output = in_small_file_system(&lab, 8000, &script);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    assert_eq!(errors.matches("#build hit").count(), 4 + 3, "{errors}");
    assert_eq!(errors.matches("#build ran").count(), 1, "{errors}");
}

#[test]
fn stale_outputs_that_cannot_be_removed_are_named_and_nothing_is_kept_with_them() {
    let lab = Lab::new();
    lab.write(
        "project/larder.toml",
        "[tasks.build]\ncommand = \"mkdir -p out; for f in src/*; do cp $f out/; done\"\ninputs = [\"src/*\"]\noutputs = [\"out\"]\n",
    );
    lab.write("project/src/a", "a").write("project/src/b", "b");
    let stale = "mount --bind out/b out/b && rm src/b";
    let script = format!(
        "\"$LARDER\" run build && {stale} && \"$LARDER\" run build && umount out/b && \"$LARDER\" run build && \"$LARDER\" run build"
    );
    let output = in_small_file_system(&lab, 16, &script);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{errors}");
    let [first, stuck, clean, hit] = errors.lines().collect::<Vec<_>>()[..] else { panic!("{errors}") };
    let why = "outputs of an earlier run could not be removed: out/b";
    assert!(stuck.contains("#build ran") && stuck.contains(why), "{errors}");
    assert!(
        [first, clean].iter().all(|line| line.contains("#build ran") && !line.contains("not kept")),
        "{errors}"
    );
    assert!(hit.contains("#build hit") && !lab.path("project/out/b").exists(), "{errors}");
}

#[test]
fn half_written_outputs_that_cannot_be_removed_after_an_interrupt_are_named() {
    let lab = Lab::new();
    lab.write(
        "project/larder.toml",
        "[tasks.build]\ncommand = \"mkdir -p out; echo half > out/x; echo half > out/y; mount --bind out/x out/x; kill -INT $PPID; sleep 1000\"\n\
         inputs = []\noutputs = [\"out\"]\n",
    );
    let output = in_small_file_system(&lab, 16, "exec \"$LARDER\" run build");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{errors}");
    assert!(errors.contains("unfinished outputs could not be removed: out/x\n"), "{errors}");
    assert_eq!([lab.path("project/out/x").exists(), lab.path("project/out/y").exists()], [true, false]);
}

/// Whether `/proc` says that a process is in this state.
fn is_in_state(id: &str, state: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with(state))
}

#[test]
fn what_is_written_while_larder_is_stopped_is_not_kept_as_the_command_s() {
    let lab = Lab::new();
    let tasks =
        "[tasks.stop]\ncommand = \"echo made > out; kill -STOP $PPID\"\ninputs = []\noutputs = [\"out\"]\n";
    lab.write("project/larder.toml", tasks);
    let child = lab.command(&["run", "stop"]).stderr(Stdio::piped()).spawn().unwrap();
    let id = child.id().to_string();
    let larder = id.clone();
    within_bound("larder is stopped and its command has ended", move || {
        let commands = || fs::read_to_string(format!("/proc/{larder}/task/{larder}/children")).unwrap();
        while !is_in_state(&larder, "T") || !commands().split_whitespace().all(|id| is_in_state(id, "Z")) {
            std::thread::yield_now();
        }
    });
    lab.write("project/out", "edited\n");
    assert!(Command::new("kill").args(["-CONT", &id]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(
        output.status.success() && stderr.contains("not kept: it ended while larder was stopped"),
        "{stderr}"
    );
}
