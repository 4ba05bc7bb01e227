//! `larder run`, `larder exec` and `larder why` on small workspaces, for what the user sees of them.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};

use expect_test::expect;

use crate::lab::{Lab, within_bound};

/// `core`, and `web` that depends on it; both copy their source.
fn workspace() -> Lab {
    let lab = Lab::new();
    lab.write(
        "project/larder.toml",
        "[workspace]\nname = \"lab\"\nmembers = [\"packages/*\"]\n\n[workspace.tasks.build]\n\
         command = \"echo building; echo careful >&2; mkdir -p dist && cat src/* > dist/all\"\n\
         inputs = [\"src/**\"]\noutputs = [\"dist\"]\ndepends_on = [\"^build\"]\n",
    );
    lab.write("project/packages/core/src/a", "a\n");
    lab.write("project/packages/web/src/b", "b\n");
    lab.write("project/packages/web/larder.toml", "[package]\ndepends_on = [\"core\"]\n");
    lab
}

#[test]
fn a_run_leaves_nothing_pinned_behind() {
    let lab = workspace();
    for _ in 0..2 {
        lab.stdout(&["run", "build", "--quiet"]);
        fs::remove_dir_all(lab.path("project/packages/core/dist")).unwrap();
        for folder in ["pins", "tmp"] {
            let left = fs::read_dir(lab.path("home/.cache/larder/v1").join(folder)).unwrap().count();
            assert_eq!(left, 0, "{folder}");
        }
    }
}

#[test]
fn a_miss_a_hit_an_edit_and_a_restore_are_told_apart() {
    let lab = workspace();
    lab.check(
        &["run", "build", "-j1"],
        expect![[r#"
        core#build: building
        web#build: building
        ! core#build: careful
        ! core#build ran in [time]
        ! web#build: careful
        ! web#build ran in [time]
        ! 2 tasks: 2 ran in [time]
    "#]],
    );
    lab.check(
        &["run", "build", "-j1"],
        expect![[r#"
        core#build: building
        web#build: building
        ! core#build hit, [time] saved
        ! core#build: careful
        ! web#build hit, [time] saved
        ! web#build: careful
        ! 2 tasks: 2 hits in [time], [time] saved
    "#]],
    );
    lab.write("project/packages/web/src/b", "c\n");
    lab.check(
        &["run", "build", "-j1", "--output", "errors-only"],
        expect![[r#"
            ! core#build hit, [time] saved
            ! web#build ran in [time]
            ! 2 tasks: 1 hit, 1 ran in [time], [time] saved
        "#]],
    );
    fs::remove_dir_all(lab.path("project/packages/core/dist")).unwrap();
    lab.check(
        &["run", "build", "-j1", "--output", "grouped"],
        expect![[r#"
        core#build: building
        web#build: building
        ! core#build hit, 2 outputs restored, [time] saved
        ! core#build: careful
        ! web#build hit, [time] saved
        ! web#build: careful
        ! 2 tasks: 2 hits in [time], [time] saved
    "#]],
    );
    assert_eq!(fs::read_to_string(lab.path("project/packages/core/dist/all")).unwrap(), "a\n");
}

#[test]
fn of_a_single_task_every_byte_comes_through_where_it_went() {
    let lab = Lab::new();
    lab.write(
        "project/larder.toml",
        "[tasks.say]\ncommand = \"printf 'a\\\\nb'; printf c >&2\"\ncache = true\n",
    );
    for status in ["ran in", "hit,"] {
        let output = lab.run(&["run", "say"]);
        assert_eq!(String::from_utf8_lossy(&output.stdout), "a\nb");
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(stderr.contains(status) && stderr.contains('c'), "{stderr}");
        let quiet = lab.run(&["run", "say", "--quiet"]);
        assert_eq!((quiet.stdout.as_slice(), quiet.stderr.as_slice()), (&b"a\nb"[..], &b"c"[..]));
    }
}

#[test]
fn a_failure_stops_what_depends_on_it_and_its_log_comes_last() {
    let lab = workspace();
    lab.write("project/packages/core/larder.toml", "[tasks.build]\ncommand = \"echo broken >&2; exit 7\"\n");
    lab.check(
        &["run", "build", "--output", "errors-only"],
        expect![[r#"
        ! core#build failed: exit code 7 after [time]
        ! web#build did not run: `core#build` failed
        ! 
        ! ── core#build failed: exit code 7 after [time]
        ! core#build: broken
        ! 2 tasks: 1 failed, 1 did not run in [time]
        exit code 1
    "#]],
    );
}

#[test]
fn what_does_not_depend_on_a_failure_goes_on_if_asked_to() {
    let lab = workspace();
    lab.write("project/packages/core/larder.toml", "[tasks.build]\ncommand = \"exit 7\"\n");
    lab.write("project/packages/late/larder.toml", "[tasks.build]\ndepends_on = [\"other#build\"]\n");
    lab.write("project/packages/late/src/c", "c\n");
    lab.write("project/packages/other/src/c", "c\n");
    let output = lab.run(&["run", "build", "--continue", "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let run: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let status = |task: &serde_json::Value| format!("{} {}", task["task"], task["status"]).replace('"', "");
    let mut tasks: Vec<String> = run["tasks"].as_array().unwrap().iter().map(status).collect();
    tasks.sort();
    assert_eq!(tasks, ["core#build failed", "late#build ran", "other#build ran", "web#build not-run"]);
}

#[test]
fn json_is_all_that_stdout_has() {
    let lab = workspace();
    let run = |arguments: &[&str]| {
        let output = lab.run(&[&["run", "build", "--json"], arguments].concat());
        serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()
    };
    let first = run(&[]);
    assert_eq!((&first["ran"], &first["hits"], &first["success"]), (&2.into(), &0.into(), &true.into()));
    let second = run(&["--output", "stream"]);
    assert_eq!((&second["ran"], &second["hits"]), (&0.into(), &2.into()));
    assert_eq!(second["tasks"][0]["task"], "core#build");
    assert_eq!(second["tasks"][0]["hit"]["from"], "disk");
    assert_eq!(second["tasks"][0]["key"], first["tasks"][0]["key"]);
    assert!(second["saved_seconds"].as_f64().unwrap() >= 0.0);
}

#[test]
fn a_dry_run_tells_what_a_run_would_do_and_does_nothing() {
    let lab = workspace();
    lab.check(
        &["run", "build", "--dry-run"],
        expect![[r#"
        core#build  would run
        web#build   depends on what core#build makes
    "#]],
    );
    assert!(!lab.path("project/packages/core/dist").exists());
    lab.stdout(&["run", "build"]);
    lab.write("project/packages/web/src/b", "c\n");
    lab.check(
        &["run", "build", "--dry-run"],
        expect![[r#"
        core#build  hit, made just now, [time] saved
        web#build   would run
    "#]],
    );
}

#[test]
fn the_cache_can_be_forced_or_left_out() {
    let lab = workspace();
    lab.stdout(&["run", "core#build"]);
    lab.check(
        &["run", "core#build", "-q", "--force"],
        expect![[r#"
        building
        ! careful
    "#]],
    );
    lab.check(
        &["run", "core#build", "--output", "errors-only", "--force"],
        expect![[r#"
        ! core#build ran in [time]
    "#]],
    );
    lab.check(
        &["run", "core#build", "--output", "errors-only", "--cache", "off"],
        expect![[r#"
        ! core#build ran in [time], not kept: this run keeps nothing
    "#]],
    );
    lab.check(
        &["run", "core#build", "--output", "errors-only", "--cache", "sometimes"],
        expect![[r#"
        ! error: the configuration is wrong
        ! --cache: "sometimes" is none of off, read, write, read-write
        exit code 2
    "#]],
    );
    lab.check(
        &["run", "core#build", "--output", "errors-only"],
        expect![[r#"
        ! core#build hit, [time] saved
    "#]],
    );
}

#[test]
fn what_a_run_without_the_cache_has_made_is_taken_away_by_the_next_one() {
    let lab = Lab::new();
    lab.write(
        "project/larder.toml",
        "[tasks.a]\ncommand = \"cat in >> log\"\ninputs = [\"in\"]\noutputs = [\"*log\"]\n",
    );
    for (input, flags) in [("1", "--cache=off"), ("2", "--cache=off"), ("3", "-q"), ("4", "--cache=off")] {
        lab.write("project/in", input);
        assert!(lab.run(&["run", "a", flags]).status.success());
        assert_eq!(fs::read_to_string(lab.path("project/log")).unwrap(), input);
    }
    lab.write("project/in", "5").write("project/mylog", "mine");
    let ran = |flag| String::from_utf8(lab.run(&["run", "a", flag]).stderr).unwrap();
    assert!(ran("-v").contains("`--clean` removes it first"), "{}", ran("-v"));
    let clean = ran("--clean");
    assert!(!clean.contains("not kept"), "{clean}");
    assert_eq!(fs::read_to_string(lab.path("project/log")).unwrap(), "5");
    assert!(!lab.path("project/mylog").exists());
}

#[test]
fn a_cache_that_does_not_open_is_told_and_done_without() {
    let lab = workspace();
    lab.write("project/file", "");
    lab.check(&["run", "core#build", "--output", "errors-only", "--dir", "file"], expect![[r#"
        ! warning: the cache in [lab]/project/file is not used, and nothing is kept: tier is not usable: Not a directory (os error 20)
        ! core#build ran in [time], not kept: there is no disk tier
    "#]]);
}

#[test]
fn a_run_keeps_the_cache_to_its_limits() {
    let lab = workspace();
    for n in 0..4 {
        lab.write("project/packages/core/src/a", &format!("{n}\n"));
        lab.stdout(&["run", "core#build", "--set", "disk.entries=3"]);
    }
    let left = lab.stdout(&["cache", "list"]).lines().count();
    assert!((1..=3).contains(&left), "{left}");
    lab.check(&["run", "core#build", "-q", "--output", "errors-only"], expect![""]);
}

#[test]
fn why_names_the_file_that_is_another() {
    let lab = workspace();
    lab.check(
        &["why", "web#build"],
        expect![[r#"
        web#build depends on what core#build makes, which would run first

        Passed without being in it: HOME, PATH, LARDER_PLACE
    "#]],
    );
    lab.stdout(&["run", "build"]);
    lab.write("project/packages/web/src/b", "c\n");
    lab.write("project/packages/web/src/d", "d\n");
    lab.check(&["why", "web#build"], expect![[r#"
        web#build would run: nothing is kept under its key

        Against the nearest other result, made just now by ada, 5 parts are the same:
          inputs differ:
            packages/web/src/b was different
            packages/web/src/d was not there

        Its key is made of
          command              ["sh","-c","echo building; echo careful >&2; mkdir -p dist && cat src/* > dist/all"]
          cwd                  packages/web
          platform             linux x86_64
          outputs              ["packages/web/dist"]
          upstream core#build  ef8d97e94089
          inputs               2 files

        Passed without being in it: HOME, PATH, LARDER_PLACE
    "#]]);
    let json: serde_json::Value = serde_json::from_str(&lab.stdout(&["why", "web#build", "--json"])).unwrap();
    assert_eq!(json[0]["state"], "not-kept");
    assert_eq!(json[0]["nearest"]["modified"][0], "packages/web/src/b");
    assert_eq!(json[0]["nearest"]["added"][0], "packages/web/src/d");
}

#[test]
fn exec_keeps_a_command_and_ends_as_it_does() {
    let lab = Lab::new();
    lab.write("project/in", "1\n");
    let exec = ["exec", "--input", "in", "--output", "out", "--", "sh", "-c", "cp in out; echo done"];
    lab.check(
        &exec,
        expect![[r#"
        done
        ! project#sh+out ran in [time]
    "#]],
    );
    fs::remove_file(lab.path("project/out")).unwrap();
    lab.check(
        &exec,
        expect![[r#"
        done
        ! project#sh+out hit, 1 output restored, [time] saved
    "#]],
    );
    assert_eq!(fs::read_to_string(lab.path("project/out")).unwrap(), "1\n");
    lab.check(
        &["exec", "--", "sh", "-c", "exit 9"],
        expect![[r#"
        ! project#sh failed: exit code 9 after [time]
        exit code 9
    "#]],
    );
    lab.check(
        &["exec", "--", "no-such-program"],
        expect![[r#"
        ! project#no_such_program failed: command not found: no-such-program
        exit code 127
    "#]],
    );
    lab.check(
        &["exec", "--output", "/out", "--", "true"],
        expect![[r#"
            ! error: a definition is wrong
            ! --output: output "/out" must be relative
            exit code 2
        "#]],
    );
}

#[test]
fn exec_below_a_root_names_files_from_where_it_is() {
    let lab = Lab::new();
    lab.write("project/in", "1\n").write("project/sub/own", "2\n");
    let exec = |from: &str| {
        let command = ["--", "sh", "-c", "cat ../in own > ../out"];
        let flags =
            ["exec", "-C", "sub", "--root", from, "--input", "../in", "--input", "own", "--output", "../out"];
        [&flags[..], &command].concat().iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let inside = exec("..");
    let inside: Vec<&str> = inside.iter().map(String::as_str).collect();
    lab.check(
        &inside,
        expect![[r#"
        ! project#sh+out ran in [time]
    "#]],
    );
    assert_eq!(fs::read_to_string(lab.path("project/out")).unwrap(), "1\n2\n");
    let outside = exec(".");
    let outside: Vec<&str> = outside.iter().map(String::as_str).collect();
    lab.check(
        &outside,
        expect![[r#"
            ! error: definitions are wrong in 2 places
            ! --input: input "../in" leads outside the workspace root
            ! 
            ! --output: output "../out" leads outside the workspace root
            exit code 2
        "#]],
    );
}

#[test]
fn an_interrupt_ends_commands_says_what_ran_and_keeps_nothing() {
    let lab = Lab::new();
    let fifo = lab.path("project/started");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    lab.write(
        "project/larder.toml",
        "[tasks.wait]\ncommand = \"echo half > out; echo > started; exec sleep 1000\"\ninputs = []\noutputs = [\"out\"]\n",
    );
    let child = lab.command(&["run", "wait"]).stderr(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    within_bound("the command begins", move || fs::read(fifo).unwrap());
    let id = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(130), "{stderr}");
    assert!(stderr.contains("running: project#wait"), "{stderr}");
    assert!(!lab.path("project/out").exists());
    lab.check(
        &["run", "wait", "--dry-run"],
        expect![[r#"
        project#wait  would run
    "#]],
    );
}

#[test]
fn interrupts_end_an_audit_and_the_run_and_what_was_kept_is_there_again() {
    let lab = Lab::new();
    lab.write(
        "project/larder.toml",
        "[tasks.wait]\ninputs = []\noutputs = [\"out\"]\ncommand = \"\"\"\n\
         trap 'echo asked' TERM\n\
         if [ -e slow ]; then echo half > out; echo begun; n=0; while [ $n -lt 2000 ]; do n=$((n+1)); sleep 0.01; done; fi\n\
         echo whole > out\n\"\"\"\n",
    );
    assert!(lab.run(&["run", "wait"]).status.success());
    lab.write("project/slow", "");
    let mut command = lab.command(&["run", "wait", "--audit-hits", "100"]);
    let mut child = command.stderr(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let id = child.id().to_string();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    // The first one asks the command to end, which says that it heard that and goes on; the second one kills it.
    for said in ["begun", "asked"] {
        assert_eq!(lines.next().unwrap().unwrap(), said);
        assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    }
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(130), "{stderr}");
    assert!(
        stderr.contains("killing what runs; running: project#wait") && !stderr.contains("audit:"),
        "{stderr}"
    );
    assert_eq!(fs::read_to_string(lab.path("project/out")).unwrap(), "whole\n");
}

#[test]
fn on_a_terminal_commands_are_silent_unless_they_fail_and_the_cursor_comes_back() {
    let lab = workspace();
    let first = lab.terminal(&["run", "build"]);
    assert!(first.contains("ran in") && first.contains("2 tasks:"), "{first:?}");
    assert!(!first.contains("building"), "{first:?}");
    // Each live line is erased before the line of its task's end is written.
    assert!(first.contains("\u{1b}[2K") && !first.ends_with("\u{1b}[?25l"), "{first:?}");
    lab.write("project/packages/core/src/a", "b\n");
    lab.write(
        "project/packages/web/larder.toml",
        "[package]\ndepends_on = [\"core\"]\n[tasks.build]\ncommand = \"echo broken; exit 1\"\n",
    );
    let second = lab.terminal(&["run", "build"]);
    let end = second.rfind("──").unwrap();
    assert!(second[end..].contains("broken"), "{second:?}");
    assert!(!second[..end].contains("broken"), "{second:?}");
}

#[test]
fn those_who_want_quiet_still_hear_of_failures() {
    let lab = Lab::new();
    lab.write("project/larder.toml", "[tasks.a]\ncommand = \"exit 3\"\n[tasks.b]\ncommand = \"true\"\n");
    lab.check(
        &["run", "a", "-q"],
        expect![[r#"
        ! project#a failed: exit code 3 after [time]
        exit code 1
    "#]],
    );
    lab.check(&["run", "b", "-q"], expect![""]);
}

#[test]
fn a_task_that_declares_nothing_is_told_why_it_runs_each_time() {
    let lab = Lab::new();
    lab.write(
        "project/larder.toml",
        "[tasks.a]\ncommand = \"true\"\n[tasks.b]\ncommand = \"true\"\ncache = false\n",
    );
    lab.check(
        &["run", "a"],
        expect![[r#"
        ! project#a ran in [time], not kept: neither inputs nor outputs are declared; write `cache = true` to keep it all the same
    "#]],
    );
    lab.check(
        &["run", "b"],
        expect![[r#"
        ! project#b ran in [time]
    "#]],
    );
}

#[test]
fn a_result_that_is_larger_than_the_budget_is_not_kept_and_the_run_says_so() {
    let lab = Lab::new();
    lab.write(
        "project/larder.toml",
        "[tasks.a]\ncommand = \"head -c 3000000 /dev/urandom > out\"\ninputs = []\noutputs = [\"out\"]\n",
    );
    let run = lab.run(&["run", "a", "--set", "disk.budget=1 MB"]);
    let said = String::from_utf8_lossy(&run.stderr).into_owned();
    assert!(
        run.status.success()
            && said.contains("not kept: tier disk refused: it is larger than the tier's budget"),
        "{said}"
    );
}

#[test]
fn no_more_commands_run_at_once_than_open_files_allow() {
    let lab = Lab::new();
    let task = |n| {
        let command =
            format!("command = \"sleep 0.5; echo {n} > o{n}\"\ninputs = []\noutputs = [\"o{n}\"]\n");
        format!("[tasks.t{n}]\n{command}")
    };
    let names = (0..64).map(|n| format!("\"t{n}\"")).collect::<Vec<_>>().join(", ");
    let tasks: String = (0..64).map(task).collect();
    lab.write("project/larder.toml", &format!("{tasks}[tasks.all]\ndepends_on = [{names}]\n"));
    let larder = lab.command(&["run", "all", "-j", "100"]);
    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -S -n 256; exec \"$0\" \"$@\""]).arg(larder.get_program());
    limited.args(larder.get_args()).env_clear().current_dir(lab.path("project"));
    limited.envs(larder.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let done = limited.output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

/// What is no text: a NUL, colours, a byte that no character begins with.
const BYTES: &[u8] = b"a\0b\x1b[1mc\x80d\r\n\x1b]0;e";

#[test]
fn what_is_no_text_comes_through_into_files_and_pipes_too() {
    let lab = Lab::new();
    fs::write(lab.path("project/src"), BYTES).unwrap();
    lab.write(
        "project/larder.toml",
        "[tasks.cat]\ncommand = \"cat src\"\n[tasks.err]\ncommand = \"cat src >&2\"\n\
         [tasks.both]\ncommand = \"cat src\"\ndepends_on = [\"cat\"]\n",
    );
    for colour in ["auto", "never", "always"] {
        // A miss, and then hits.
        for _ in 0..2 {
            let exec = lab.run(&["exec", "-i", "src", "-q", "--color", colour, "--", "cat", "src"]);
            assert_eq!(exec.stdout, BYTES);
            let out = lab.run(&["run", "cat", "-q", "--color", colour]).stdout;
            assert_eq!(out, BYTES);
            let grouped = lab.run(&["run", "cat", "-q", "--color", colour, "--output", "grouped"]);
            assert_eq!(grouped.stdout, BYTES);
            let err = lab.run(&["run", "err", "-q", "--color", colour]).stderr;
            assert_eq!(err, BYTES);
        }
    }
    for output in ["stream", "grouped"] {
        for mode in ["--force", "--cache=read-write"] {
            let out = lab.run(&["run", "both", "-q", "-j1", "--output", output, mode]).stdout;
            let (first, second) = BYTES.split_at(BYTES.iter().position(|byte| *byte == b'\n').unwrap() + 1);
            let of = |name: &[u8]| [name, first, name, second, b"\n"].concat();
            assert_eq!(out, [of(b"project#cat: "), of(b"project#both: ")].concat());
        }
    }
}

#[test]
fn a_secret_is_masked_in_what_is_printed_too() {
    let mut lab = Lab::new();
    lab.variable("PASSWORD", "hunter2");
    let say =
        ["exec", "-q", "--secret", "PASSWORD", "-i", "src", "--", "sh", "-c", "printf '%s\\0' $PASSWORD"];
    for _ in 0..2 {
        assert_eq!(lab.run(&say).stdout, b"***\0");
    }
}

/// Runs `larder` with what it prints going to a device that is always full.
fn into_full(lab: &Lab, arguments: &[&str]) -> (Option<i32>, String) {
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let output = lab.command(arguments).stdout(full).stderr(Stdio::piped()).output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn what_cannot_be_written_to_stdout_is_told_and_ends_with_3() {
    let lab = workspace();
    let said = "error: cannot write to stdout: No space left on device (os error 28)\n";
    for _ in 0..2 {
        for arguments in [
            &["exec", "-i", "larder.toml", "--", "seq", "1", "100000"][..],
            &["run", "core#build"],
            &["run", "build"],
            &["run", "build", "--output", "grouped"],
            &["run", "build", "--json"],
            &["config", "show"],
        ] {
            let (code, stderr) = into_full(&lab, arguments);
            assert_eq!(code, Some(3), "{arguments:?}: {stderr}");
            assert!(stderr.ends_with(said), "{arguments:?}: {stderr}");
        }
    }
    // One that never ends by itself is stopped.
    let (code, stderr) = into_full(&lab, &["exec", "--", "yes"]);
    assert!(code == Some(3) && stderr.ends_with(said), "{stderr}");
    lab.write("project/many", &"line\n".repeat(1000));
    assert!(lab.run(&["cache", "put", "a/b@1/c", "many"]).status.success());
    let (code, stderr) = into_full(&lab, &["cache", "get", "a/b@1/c"]);
    assert!(code == Some(3) && stderr.ends_with(said), "{stderr}");
}

#[test]
fn a_command_whose_reader_goes_away_is_ended_quietly_and_nothing_is_kept_of_it() {
    let lab = Lab::new();
    lab.write(
        "project/larder.toml",
        "[tasks.yes]\ncommand = \"yes >&2; yes\"\ninputs = []\n\
         [tasks.long]\ncommand = \"seq 1 100000; while [ ! -e go ]; do sleep 0.01; done; echo end > end\"\ninputs = []\noutputs = [\"end\"]\n",
    );
    let head = |arguments: &[&str], stream: &str| {
        let mut command = lab.command(arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (out, err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let of_stdout = stream == "stdout";
        within_bound("larder ends", move || {
            let mut line = String::new();
            let rest = if of_stdout {
                BufReader::new(out).read_line(&mut line).unwrap();
                std::io::read_to_string(err).unwrap()
            } else {
                BufReader::new(err).read_line(&mut line).unwrap();
                std::io::read_to_string(out).unwrap()
            };
            assert_ne!(line, "");
            (child.wait().unwrap().code(), rest)
        })
    };
    assert_eq!(head(&["exec", "--", "yes"], "stdout"), (Some(141), String::new()));
    assert_eq!(head(&["run", "yes"], "stderr"), (Some(141), String::new()));
    for _ in 0..2 {
        assert_eq!(head(&["run", "long"], "stdout"), (Some(141), String::new()));
        assert!(!lab.path("project/end").exists());
    }
    lab.check(
        &["run", "long", "--dry-run"],
        expect![[r#"
        project#long  would run
    "#]],
    );
    // What is kept is given back to its end all the same.
    lab.write("project/go", "");
    assert!(lab.run(&["run", "long"]).status.success());
    fs::remove_file(lab.path("project/end")).unwrap();
    let (code, said) = head(&["run", "long"], "stdout");
    assert!(code == Some(141) && said.contains("hit"), "{said}");
    assert!(lab.path("project/end").exists());
}

#[test]
fn of_several_tasks_none_ends_for_a_reader_that_goes_away() {
    let lab = workspace();
    lab.write(
        "project/packages/core/larder.toml",
        "[tasks.build]\ncommand = \"seq 1 100000; echo > done\"\n",
    );
    let mut command = lab.command(&["run", "build", "-j1"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && lab.path("project/packages/web/dist/all").exists(), "{output:?}");
}

#[test]
fn a_command_s_stdin_is_empty_and_the_help_says_so() {
    let lab = Lab::new();
    let mut command = lab.command(&["exec", "-q", "--", "wc", "-c"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    // It reads none of this, and may have ended before.
    let _ = child.stdin.take().unwrap().write_all(b"data");
    assert_eq!(child.wait_with_output().unwrap().stdout, b"0\n");
    assert!(lab.stdout(&["exec", "--help"]).contains("stdin is empty"));
}

#[test]
fn what_is_written_as_elsewhere_is_told_how_it_is_written_here() {
    let lab = workspace();
    lab.check(
        &["run", "build", "--graph", "--json"],
        expect![[r#"
        ! error: a graph is not printed as JSON
        ! hint: --graph=text, --graph=dot or --graph=mermaid
        exit code 2
    "#]],
    );
    lab.check(
        &["run", "build", "-j", "0"],
        expect![[r#"
        ! error: invalid value '0' for '--jobs <NUMBER>': a number from 1 on is expected
        ! 
        ! For more information, try '--help'.
        exit code 2
    "#]],
    );
    lab.check(
        &["run", "build", "--", "--x"],
        expect![[r#"
        ! error: --x is no task, and arguments for a task's command are not taken
        ! hint: write them in the `command` of the task
        exit code 2
    "#]],
    );
    lab.check(
        &["run", "web#build,core#build"],
        expect![[r#"
        ! error: there is no task `web#build,core#build`
        ! hint: between tasks is a space: web#build core#build
        exit code 2
    "#]],
    );
    lab.check(
        &["run", "web:build"],
        expect![[r#"
        ! error: there is no task `web:build`
        ! hint: a task of one package is PACKAGE#TASK: web#build
        exit code 2
    "#]],
    );
    lab.check(
        &["run", "other:build"],
        expect![[r#"
        ! error: no package has a task `other:build`
        ! hint: there are: build
        exit code 2
    "#]],
    );
    lab.check(
        &["build"],
        expect![[r#"
        ! error: unrecognized subcommand 'build'
        ! 
        ! Usage: larder [OPTIONS] <COMMAND>
        ! 
        ! For more information, try '--help'.
        ! 
        ! hint: `larder run build` runs the task `build`
        exit code 2
    "#]],
    );
    lab.check(
        &["exec", "-i", "zzz/**", "-i", "/x", "--", "true"],
        expect![[r#"
        ! error: a definition is wrong
        ! --input: input "/x" must be relative
        exit code 2
    "#]],
    );
    lab.check(
        &["exec", "-i", "zzz/**", "--", "true"],
        expect![[r#"
        ! project#true warning: --input: input "zzz/**" matches nothing
        ! project#true ran in [time]
    "#]],
    );
    lab.check(
        &["exec", "--timeout", "soon", "--max-age", "x", "--", "true"],
        expect![[r#"
        ! error: definitions are wrong in 2 places
        ! --timeout: `timeout` must be a duration with its unit, such as "90s", "5m" or "1.5h", not "soon"
        ! 
        ! --max-age: `cache.max_age` must be a duration with its unit, such as "90s", "5m" or "1.5h", not "x"
        exit code 2
    "#]],
    );
}
