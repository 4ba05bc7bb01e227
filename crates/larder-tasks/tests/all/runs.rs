//! Runs of real commands: what is kept, what is given back, and what is noticed.

use std::num::NonZeroUsize;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use expect_test::{Expect, expect};
use larder::config::Mode;
use larder_tasks::event::Event;
use larder_tasks::job::RunOptions;
use larder_tasks::log::Stream;
use larder_tasks::{Exit, Stop};
use tokio::sync::watch;

use crate::lab::Lab;

/// One task that copies its input to an output directory and says so.
fn copier() -> Lab {
    let lab = Lab::new();
    lab.manifest(
        "larder.toml",
        r#"
[tasks.build]
command = "echo build >> RAN; mkdir -p dist/empty; cp src/a dist/a; chmod 755 dist/a; ln -s a dist/link; echo made; echo warned >&2"
inputs = ["src/**"]
outputs = ["dist"]
"#,
    );
    lab.write("src/a", "one");
    lab
}

fn check(lab: &Lab, names: &[&str], ran: &str, expected: Expect) {
    let run = lab.run(names);
    expected.assert_eq(&run.lines);
    assert_eq!(lab.ran(), ran, "{}", run.lines);
}

#[test]
fn the_second_run_is_a_hit_and_touches_nothing() {
    let lab = copier();
    check(&lab, &["build"], "build", expect!["lab#build: ran, kept\n"]);
    let before = std::fs::metadata(lab.path("dist/a")).unwrap().modified().unwrap();
    check(&lab, &["build"], "", expect!["lab#build: hit, 4 right, 0 written, 0 removed\n"]);
    assert_eq!(std::fs::metadata(lab.path("dist/a")).unwrap().modified().unwrap(), before);
}

#[test]
fn links_modes_and_empty_directories_come_back_as_they_were_and_streams_stay_apart() {
    let lab = copier();
    let first = lab.run(&["build"]);
    lab.sh("rm -r dist");
    let second = lab.run(&["build"]);
    assert_eq!(second.lines, "lab#build: hit, 0 right, 4 written, 0 removed\n");
    assert!(lab.path("dist/empty").is_dir());
    assert_eq!(lab.path("dist/link").read_link().unwrap().to_str(), Some("a"));
    assert_eq!(std::fs::metadata(lab.path("dist/a")).unwrap().permissions().mode() & 0o777, 0o755);
    assert_eq!(lab.read("dist/a"), "one");
    assert_eq!(second.log(0), first.log(0));
    let of = |stream: Stream| -> String {
        second.log(0).into_iter().filter(|(one, _)| *one == stream).map(|(_, text)| text).collect()
    };
    assert_eq!((of(Stream::Out).as_str(), of(Stream::Err).as_str()), ("made\n", "warned\n"));
}

#[test]
fn a_few_files_of_one_task_are_looked_at_kept_and_given_back_without_another_thread() {
    let lab = copier();
    check(&lab, &["build"], "build", expect!["lab#build: ran, kept\n"]);
    let again = lab.run_with_threads(0, "build");
    assert_eq!(again.lines, "lab#build: hit, 4 right, 0 written, 0 removed\n");
    lab.sh("rm -r dist");
    let restored = lab.run_with_threads(0, "build");
    assert_eq!(restored.lines, "lab#build: hit, 0 right, 4 written, 0 removed\n");
    lab.write("src/a", "two");
    // One makes ready for the result meanwhile.
    let edited = lab.run_with_threads(1, "build");
    assert_eq!(edited.lines, "lab#build: ran, kept\n");
}

#[test]
fn an_edit_runs_again_and_going_back_is_a_hit() {
    let lab = copier();
    lab.run(&["build"]);
    lab.write("src/a", "two");
    lab.ran();
    check(&lab, &["build"], "build", expect!["lab#build: ran, kept\n"]);
    assert_eq!(lab.read("dist/a"), "two");
    lab.write("src/a", "one");
    check(&lab, &["build"], "", expect!["lab#build: hit, 3 right, 1 written, 0 removed\n"]);
    assert_eq!(lab.read("dist/a"), "one");
}

#[test]
fn an_output_that_was_edited_is_put_right_and_what_is_too_much_is_removed() {
    let lab = copier();
    lab.run(&["build"]);
    // The same size and the same time of last change.
    lab.sh("touch -r dist/a stamp; printf eno > dist/a; touch -r stamp dist/a; rm stamp");
    lab.sh("echo stale > dist/empty/stale; chmod 700 dist/empty; rm dist/link; mkdir dist/link; touch dist/link/x");
    let run = lab.run(&["build"]);
    assert_eq!(run.lines, "lab#build: hit, 1 right, 3 written, 2 removed\n");
    assert_eq!(lab.read("dist/a"), "one");
    assert!(!lab.path("dist/empty/stale").exists());
    assert_eq!(lab.path("dist/link").read_link().unwrap().to_str(), Some("a"));
    assert_eq!(lab.run(&["build"]).lines, "lab#build: hit, 4 right, 0 written, 0 removed\n");
    assert_eq!(lab.ran(), "build");
}

#[test]
fn edits_that_keep_size_and_time_and_changes_of_mode_are_noticed() {
    let lab = copier();
    lab.run(&["build"]);
    lab.sh("touch -r src/a stamp; printf two > src/a; touch -r stamp src/a; rm stamp");
    assert_eq!(lab.run(&["build"]).lines, "lab#build: ran, kept\n");
    assert_eq!(lab.read("dist/a"), "two");
    lab.sh("chmod +x src/a");
    assert_eq!(lab.run(&["build"]).lines, "lab#build: ran, kept\n");
    lab.sh("ln -s a src/link");
    assert_eq!(lab.run(&["build"]).lines, "lab#build: ran, kept\n");
    lab.sh("ln -sf nowhere src/link");
    assert_eq!(lab.run(&["build"]).lines, "lab#build: ran, kept\n");
}

#[test]
fn an_input_that_git_ignores_counts_when_it_is_declared() {
    let lab = copier();
    lab.sh("git init -q . && echo src/a > .gitignore");
    lab.run(&["build"]);
    lab.write("src/a", "two");
    assert_eq!(lab.run(&["build"]).lines, "lab#build: ran, kept\n");
}

#[test]
fn without_inputs_the_package_counts_but_for_outputs_other_packages_and_what_git_ignores() {
    let lab = Lab::new();
    lab.manifest(
        "larder.toml",
        "[workspace]\nmembers = [\"p/*\"]\n[tasks.build]\ncommand = \"mkdir -p dist; echo build >> RAN\"\noutputs = [\"dist\"]\n\
         [tasks.test]\ncommand = \"mkdir -p report; echo test >> RAN\"\noutputs = [\"report\"]\n",
    );
    lab.sh("git init -q . && echo '*.log' > .gitignore; mkdir -p p/other/src; touch a b");
    lab.run(&["build"]);
    lab.run(&["test"]);
    assert_eq!(lab.ran(), "build test");
    lab.sh("echo x > x.log; echo x > p/other/src/x; echo x > report/x");
    check(&lab, &["build"], "", expect!["lab#build: hit, 1 right, 0 written, 0 removed\n"]);
    lab.write("c", "new");
    check(&lab, &["build"], "build", expect!["lab#build: ran, kept\n"]);
}

/// A task that writes rules for git, and one in a package that reads what git then does not ignore.
fn rules_writer() -> Lab {
    let lab = Lab::new();
    lab.manifest(
        "larder.toml",
        "[workspace]\nmembers = [\"p\"]\n[tasks.rules]\ncommand = \"echo rules >> RAN; cp rules .gitignore\"\ninputs = [\"rules\", \"more\"]\n\
         outputs = [\".gitignore\"]\n",
    );
    lab.manifest(
        "p/larder.toml",
        "[tasks.read]\ndepends_on = [\"//#rules\"]\ncommand = \"echo read >> RAN; cat x* > out || true\"\noutputs = [\"out\"]\n",
    );
    lab.sh("git init -q .; echo one > p/x.log; echo '*.log' > rules; touch more");
    lab
}

#[test]
fn rules_of_gits_count_as_the_task_before_left_them() {
    let lab = rules_writer();
    lab.run(&["p#read"]);
    assert_eq!((lab.ran().as_str(), lab.read("p/out").as_str()), ("rules read", "one\n"));
    lab.sh("echo > rules; rm p/x.log");
    lab.run(&["p#read"]);
    assert_eq!((lab.ran().as_str(), lab.read("p/out").as_str()), ("rules read", ""));
    // From here on they are other when the run begins: first they are given back, then written once more.
    for (text, ran) in [("two", "read"), ("three", "read"), ("four", "rules read"), ("five", "rules read")] {
        lab.sh(&format!("echo '*.log' > .gitignore; echo {text} > p/x.log"));
        if ran.starts_with("rules") {
            lab.write("more", text);
        }
        lab.run(&["p#read"]);
        assert_eq!((lab.ran().as_str(), lab.read("p/out")), (ran, format!("{text}\n")));
    }
}

#[test]
fn a_variable_that_a_task_can_see_is_in_its_key_or_on_the_ambient_list_or_its_mark() {
    let lab = Lab::new();
    lab.manifest(
        "larder.toml",
        r#"
[tasks.show]
command = "echo show >> RAN; env | cut -d= -f1 | sort"
inputs = []
env = { include = ["NODE_*"], exclude = ["NODE_X"], secret = ["TOKEN"] }
"#,
    );
    let environment = |node: &'static str, token: &'static str, home: &'static str| {
        [
            ("NODE_ENV", node),
            ("NODE_X", node),
            ("TOKEN", token),
            ("HOME", home),
            ("SSH_AUTH_SOCK", home),
            ("LARDER_DIR", home),
            ("LANG", "C"),
        ]
    };
    let run = |node, token, home| {
        let run = lab.run_with(&["show"], &environment(node, token, home), &RunOptions::default());
        let ran = lab.ran();
        let own = ["PWD", "_", "SHLVL", "OLDPWD"];
        let seen = run.log(0).into_iter().map(|(_, text)| text).collect::<String>();
        let seen: Vec<_> = seen.lines().filter(|name| !own.contains(name)).map(str::to_owned).collect();
        (ran, seen.join(" "))
    };
    let seen = "HOME LANG LARDER_PLACE NODE_ENV PATH TOKEN".to_owned();
    assert_eq!(run("a", "t", "h"), ("show".into(), seen.clone()));
    assert_eq!(run("a", "t", "other"), (String::new(), seen.clone()), "ambient and withheld");
    assert_eq!(run("b", "t", "h"), ("show".into(), seen.clone()), "keyed");
    assert_eq!(run("b", "u", "h"), ("show".into(), seen), "secret");
}

#[test]
fn a_command_in_plain_words_sees_what_the_shell_would_give_it_without_one_in_between() {
    let lab = Lab::new();
    lab.write("here/gone", "");
    lab.sh("printf '#!/bin/sh\\necho $0 $*\\n' > here/script; printf 'echo $0 $*\\n' > here/bare; chmod +x here/*");
    let said = |command: &str, environment: &[(&str, &str)]| {
        let task = format!(
            "[tasks.show]\ncommand = \"{command}\"\ninputs = []\ncwd = \"here\"\ncache = false\n\
             env = {{ include = [\"*\"] }}\n"
        );
        lab.write("larder.toml", &task);
        let run = lab.run_with(&["show"], environment, &RunOptions::default());
        let said: String = run.log(0).into_iter().map(|(_, text)| text).collect();
        // What only some shells set.
        let own = |line: &&str| !["_=", "SHLVL=", "OLDPWD="].iter().any(|name| line.starts_with(name));
        let mut lines: Vec<_> = said.lines().filter(own).map(str::to_owned).collect();
        lines.sort();
        (lines, run.lines)
    };
    let home = [("HOME", "h")];
    for command in
        ["env", "./script a -b", "./bare a", "pwd", "no-such-program a", "./gone", "./nowhere", "cat nowhere"]
    {
        assert_eq!(said(command, &home), said(&format!("{command};"), &home), "{command}");
    }
    for variable in [("PWD", "/"), ("IFS", "x"), ("a.b", "1"), ("BASH_FUNC_f%%", "() { :; }")] {
        assert_eq!(said("env", &[variable]), said("env;", &[variable]), "{variable:?}");
    }
    if cfg!(target_os = "linux") {
        let parent =
            |command: &str| said(command, &home).0[0].split(' ').nth(3).unwrap().parse::<u32>().unwrap();
        assert_eq!(parent("cat /proc/self/stat"), std::process::id());
        assert_ne!(parent("cat /proc/self/stat; true"), std::process::id());
    }
}

#[test]
fn no_value_of_a_variable_is_anywhere_in_the_cache() {
    let lab = Lab::new();
    lab.write(
        "larder.toml",
        "[tasks.show]\ncommand = \"echo $TOKEN; echo $NAME > /dev/null\"\ninputs = []\n\
         env = { include = [\"NAME\"], secret = [\"TOKEN\"] }\n",
    );
    let variables = [("TOKEN", "swordfish-9000"), ("NAME", "visible-9000")];
    let first = lab.run_with(&["show"], &variables, &RunOptions::default());
    assert_eq!(first.live, "***\n");
    let second = lab.run_with(&["show"], &variables, &RunOptions::default());
    assert_eq!(second.log(0), [(Stream::Out, "***\n".to_owned())]);
    assert!(second.lines.contains("hit"));
    for word in ["swordfish-9000", "visible-9000"] {
        lab.sh(&format!("! grep -rq {word} {}", lab.cache().display()));
    }
}

#[test]
fn a_loose_environment_passes_everything_and_says_so() {
    let lab = Lab::of(&[(
        "larder.toml",
        "[workspace]\nenv = { mode = \"loose\" }\n[tasks.show]\ncommand = \"echo $ANY\"\ninputs = []\n",
    )]);
    for _ in 0..2 {
        let run = lab.run_with(&["show"], &[("ANY", "thing")], &RunOptions::default());
        assert_eq!(run.log(0), [(Stream::Out, "thing\n".to_owned())]);
        assert!(run.notes[0].contains("results may be wrong"));
    }
}

#[test]
fn a_tool_is_known_by_its_content_or_by_what_it_prints() {
    let lab = Lab::new();
    lab.manifest(
        "larder.toml",
        "[tasks.a]\ncommand = \"echo a >> RAN; tool\"\ninputs = []\ntools = [\"tool\"]\n\
         [tasks.b]\ncommand = \"echo b >> RAN; tool\"\ninputs = []\ntools = [\"tool --version\"]\n",
    );
    let tool = |text: &str| {
        lab.write("bin/tool", &format!("#!/bin/sh\n{text}\n"));
        lab.sh("chmod +x bin/tool");
    };
    let path = format!("{}:{}", lab.path("bin").display(), std::env::var("PATH").unwrap());
    let run = || {
        let options = RunOptions { jobs: NonZeroUsize::new(1), ..RunOptions::default() };
        lab.run_with(&["a"], &[("PATH", &path)], &options);
        lab.run_with(&["b"], &[("PATH", &path)], &options);
        lab.ran()
    };
    tool("echo 1.0");
    assert_eq!((run(), run()), ("a b".into(), String::new()));
    tool("echo 1.0 # the same output");
    assert_eq!(run(), "a");
    tool("echo 1.1");
    assert_eq!(run(), "a b");
}

#[test]
fn a_tool_that_a_task_before_makes_counts_as_it_is_after_that_task() {
    let ways = ["cache = false", "inputs = [\"tool.sh\"]\noutputs = [\"bin\"]"];
    for made in ways {
        let lab = Lab::new();
        lab.manifest(
            "larder.toml",
            &format!(
                "[tasks.make]\ncommand = \"mkdir -p bin; cp tool.sh bin/tool; chmod +x bin/tool\"\n{made}\n\
                 [tasks.a]\ncommand = \"echo a >> RAN; bin/tool\"\ninputs = []\ntools = [\"bin/tool\"]\n\
                 depends_on = [\"make\"]\n\
                 [tasks.b]\ncommand = \"echo b >> RAN; bin/tool\"\ninputs = []\ntools = [\"sh bin/tool\"]\n\
                 depends_on = [\"a\"]\n"
            ),
        );
        let run = |text: &str| {
            lab.write("tool.sh", &format!("#!/bin/sh\necho {text}\n"));
            let run = lab.run(&["b"]);
            for at in [1, 2] {
                assert_eq!(run.log(at), [(Stream::Out, format!("{text}\n"))], "{made}");
            }
            lab.ran()
        };
        for ran in ["a b", ""] {
            assert_eq!([run("one"), run("two")], [ran; 2], "{made}");
        }
    }
}

#[test]
fn a_clone_in_which_nothing_ran_for_long_is_forgotten_and_what_is_kept_is_not() {
    let lab = Lab::of(&[
        ("larder.toml", "[tasks.a]\ncommand = 'cp in out'\ninputs = ['in']\noutputs = ['out']\n"),
        ("in", ""),
    ]);
    lab.run(&["a"]);
    lab.with_tasks(&[], async |tasks| {
        let remembered = || {
            let clones = tasks.disk().unwrap().meta_all("clones").unwrap();
            clones
                .iter()
                .map(|(clone, _)| {
                    let of = |what: &str| {
                        tasks.disk().unwrap().meta_all(&format!("{what}/{clone}")).unwrap().len()
                    };
                    (of("tasks"), of("outputs"))
                })
                .collect::<Vec<_>>()
        };
        let markers = || std::fs::read_dir(lab.cache().join("running")).unwrap().count();
        assert_eq!(tasks.forget_unused(Duration::from_secs(3600)).unwrap(), 0);
        assert_eq!(markers(), 1);
        assert_eq!(remembered(), [(1, 1)]);
        let clone = tasks.disk().unwrap().meta_all("clones").unwrap().remove(0).0;
        assert_eq!(tasks.forget_unused(Duration::ZERO).unwrap(), 1);
        assert_eq!((remembered().len(), markers()), (0, 0));
        assert!(tasks.disk().unwrap().meta_all(&format!("outputs/{clone}")).unwrap().is_empty());
    });
    assert_eq!(lab.run(&["a"]).lines, "lab#a: hit, 1 right, 0 written, 0 removed\n");
}

#[test]
fn a_template_gives_outputs_to_no_task_without_a_command() {
    let lab = Lab::of(&[
        (
            "larder.toml",
            "[workspace]\nmembers = [\"p/*\"]\n[workspace.tasks.build]\ndepends_on = [\"^build\"]\n\
             inputs = [\"src\"]\noutputs = [\"dist\"]\n",
        ),
        ("p/core/src", "core"),
        (
            "p/web/larder.toml",
            "[package]\ndepends_on = [\"core\"]\n[tasks.build]\ncommand = \"cp src dist\"\n",
        ),
        ("p/web/src", "web"),
    ]);
    assert_eq!(lab.run(&["web#build"]).lines, "core#build: group\nweb#build: ran, kept\n");
    assert_eq!(
        lab.run(&["web#build"]).lines,
        "core#build: group\nweb#build: hit, 1 right, 0 written, 0 removed\n"
    );
}

fn chain() -> Lab {
    let lab = Lab::new();
    lab.manifest(
        "larder.toml",
        r#"
[workspace]
members = ["p/*"]
[workspace.tasks.build]
command = "echo $(basename $PWD) >> RAN; mkdir -p dist; sh build.sh > dist/out"
inputs = ["src", "build.sh"]
outputs = ["dist"]
depends_on = ["^build"]
"#,
    );
    for (name, on, script) in [
        ("core", "", "grep -v '^#' src"),
        ("mid", "core", "cat src ../core/dist/out | wc -l"),
        ("app", "mid", "cat src ../mid/dist/out"),
    ] {
        let on = if on.is_empty() { String::new() } else { format!("{on:?}") };
        lab.write(&format!("p/{name}/larder.toml"), &format!("[package]\ndepends_on = [{on}]\n"));
        lab.write(&format!("p/{name}/build.sh"), script);
        lab.write(&format!("p/{name}/src"), &format!("{name}\n"));
    }
    lab
}

#[test]
fn what_a_task_before_it_leaves_behind_counts_and_an_equal_result_stops_the_wave() {
    let lab = chain();
    check(
        &lab,
        &["build"],
        "core mid app",
        expect![[r#"
        core#build: ran, kept
        mid#build: ran, kept
        app#build: ran, kept
    "#]],
    );
    lab.write("p/core/src", "core\n# a comment\n");
    check(
        &lab,
        &["build"],
        "core",
        expect![[r#"
        core#build: ran, kept
        mid#build: hit, 2 right, 0 written, 0 removed
        app#build: hit, 2 right, 0 written, 0 removed
    "#]],
    );
    // `app` may look at `core` through `mid`, so it runs although `mid` comes out the same.
    lab.write("p/core/src", "other\n");
    check(
        &lab,
        &["build"],
        "core mid app",
        expect![[r#"
        core#build: ran, kept
        mid#build: ran, kept
        app#build: ran, kept
    "#]],
    );
}

#[test]
fn results_travel_between_clones_in_different_places() {
    let lab = chain();
    lab.run(&["build"]);
    assert_eq!(lab.ran(), "core mid app");
    let clone = Lab::new();
    clone.sh(&format!("cp -r {}/. . && rm -rf p/*/dist", lab.root().display()));
    // Where the counting file is stands in the command, so it is another command but for this.
    let text = lab.read("larder.toml");
    clone.write("larder.toml", &text);
    clone.sh(&format!("cp -r {} {}", lab.cache().display(), clone.cache().display()));
    let run = clone.run(&["build"]);
    assert_eq!(run.lines.matches("hit, 0 right, 2 written").count(), 3, "{}", run.lines);
    assert_eq!((clone.read("p/app/dist/out"), lab.ran()), (lab.read("p/app/dist/out"), String::new()));
}

#[test]
fn a_failure_keeps_nothing_and_stops_what_depends_on_it() {
    let lab = chain();
    lab.write("p/mid/build.sh", "echo broken >&2; exit 3");
    check(
        &lab,
        &["build"],
        "core mid",
        expect![[r#"
        core#build: ran, kept
        mid#build: ran with Code(3), not kept: it ended with exit code 3
        app#build: not run: `mid#build` failed
    "#]],
    );
    lab.write("p/mid/build.sh", "echo right");
    check(
        &lab,
        &["build"],
        "mid app",
        expect![[r#"
        core#build: hit, 2 right, 0 written, 0 removed
        mid#build: ran, kept
        app#build: ran, kept
    "#]],
    );
}

#[test]
fn others_go_on_after_a_failure_only_if_asked_to() {
    let lab = Lab::new();
    lab.manifest(
        "larder.toml",
        "[tasks.a]\ncommand = \"exit 1\"\n[tasks.b]\ncommand = \"echo b >> RAN\"\ndepends_on = [\"c\"]\n[tasks.c]\ncommand = \"true\"\n",
    );
    let one = RunOptions { jobs: NonZeroUsize::new(1), ..RunOptions::default() };
    let run = lab.run_with(&["a", "b"], &[], &one);
    assert!(run.lines.contains("lab#b: not run: the run ended before its turn"), "{}", run.lines);
    let run = lab.run_with(&["a", "b"], &[], &RunOptions { keep_going: true, ..one });
    assert!(run.lines.contains("lab#b: ran"), "{}", run.lines);
    assert!(!run.summary.is_success());
}

#[test]
fn after_a_command_that_cannot_be_started_nobody_begins_who_has_waited_for_a_turn() {
    let lab = Lab::new();
    let others: String = (0..40).map(|n| format!("[tasks.b{n}]\ncommand = \"echo {n} >> RAN\"\n")).collect();
    lab.manifest("larder.toml", &format!("[tasks.a]\ncommand = [\"no-such-program\"]\n{others}"));
    let names: Vec<String> =
        std::iter::once("a".to_owned()).chain((0..40).map(|n| format!("b{n}"))).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let one = RunOptions { jobs: NonZeroUsize::new(1), ..RunOptions::default() };
    lab.run_with(&names, &[], &one);
    // Some may have had their turn before.
    let ran = lab.ran();
    assert!(ran.split(' ').count() < 40, "{ran}");
}

#[test]
fn exit_codes_are_kept_by_choice_and_given_back() {
    let lab = Lab::new();
    lab.manifest(
        "larder.toml",
        "[tasks.lint]\ncommand = \"echo lint >> RAN; echo finding; exit 1\"\ninputs = []\ncache = { exit_codes = [0, 1] }\n",
    );
    check(&lab, &["lint"], "lint", expect!["lab#lint: ran with Code(1), kept\n"]);
    check(&lab, &["lint"], "", expect!["lab#lint: hit with Code(1), 0 right, 0 written, 0 removed\n"]);
    assert!(!lab.run(&["lint"]).summary.is_success());
}

#[test]
fn what_cannot_be_kept_says_why() {
    let check = |keys: &str, expected: &str| {
        let lab = Lab::of(&[("larder.toml", &format!("[tasks.a]\n{keys}\n")), ("in", "")]);
        let run = lab.run(&["a"]);
        assert_eq!(run.lines.trim_end(), format!("lab#a: {expected}"), "{keys}");
        run
    };
    check(
        "command = 'true'",
        "ran, not kept: neither inputs nor outputs are declared; write `cache = true` to keep it all the same",
    );
    check("command = 'true'\ncache = true", "ran, kept");
    check("command = 'true'\noutputs = ['out']", "ran, not kept: output \"out\" was not made");
    let run = check("command = 'true'\ninputs = ['*.x']\noutputs = ['*.o']", "ran, kept");
    assert_eq!(
        run.notes,
        [
            "larder.toml:3:11: input \"*.x\" matches nothing",
            "larder.toml:4:12: output \"*.o\" matches nothing"
        ]
    );
    check("command = 'kill -9 $$'\ninputs = []", "ran with Signal(9), not kept: it was ended by signal 9");
    check(
        "command = 'head -c 2000 /dev/zero > out'\noutputs = ['out']\ncache = { max_size = '1 kB' }",
        "ran, not kept: outputs have 2000 bytes, more than cache.max_size allows",
    );
    check(
        "command = 'head -c 17000000 /dev/zero'\ninputs = []",
        "ran, not kept: its log is larger than 16 MiB",
    );
    check("command = 'echo > in'\ninputs = ['in']", "ran, not kept: input in changed while it ran");
    check(
        "command = 'echo x > in'\ninputs = ['i*']\noutputs = ['*n']",
        "ran, not kept: output in is also an input",
    );
    check("command = ['no-such-program']\ninputs = []", "not run: command not found: no-such-program");
    check(
        "command = 'true'\ninputs = []\ntools = ['no-such-tool -v']",
        "ran, not kept: tool \"no-such-tool -v\" cannot be identified: No such file or directory (os error 2)",
    );
}

#[test]
fn what_cannot_be_looked_at_is_named() {
    let check = |keys: &str, expected: &str| {
        let lab = Lab::of(&[("larder.toml", &format!("[tasks.a]\n{keys}\n"))]);
        lab.sh("mkfifo pipe; ln -s circle circle; mkdir in; ln -s . in/up");
        let run = lab.run(&["a"]);
        let lines = run.lines.replace(&*lab.root().to_string_lossy(), "…");
        assert_eq!(lines.trim_end(), format!("lab#a: {expected}"), "{keys}");
    };
    let pipe = "…/pipe is a named pipe, which has no content to compare";
    check(
        "command = 'echo > out; chmod 4755 out'\ninputs = []\noutputs = ['out']",
        "ran, not kept: output …/out is set-user-ID or set-group-ID, which is not kept",
    );
    check(
        "command = 'cp /bin/true out; PATH=$PATH:/usr/sbin; set=\"setcap cap_net_raw+ep out\"; $set || unshare -Ur $set'\n\
         inputs = []\noutputs = ['out']",
        "ran, not kept: output …/out has capabilities, which is not kept",
    );
    for (mode, has) in [("1777", "sticky or set-user-ID"), ("2755", "set-group-ID")] {
        check(
            &format!("command = 'mkdir out; chmod {mode} out'\ninputs = []\noutputs = ['out']"),
            &format!("ran, not kept: output …/out is {has}, which is not kept"),
        );
    }
    check(
        "command = 'mkfifo out'\noutputs = ['out']",
        &format!("ran, not kept: {}", pipe.replace("pipe is", "out is")),
    );
    check("command = 'true'\ninputs = ['p*']", &format!("ran, not kept: inputs cannot be read: {pipe}"));
    check("command = 'true'\ninputs = ['circle', 'in/**']", "ran, kept");
    check(
        "command = 'true'\ninputs = []\ncwd = 'nowhere'",
        "not run: there is no directory …/nowhere to run in",
    );
}

#[test]
fn a_time_limit_ends_a_task_and_leaves_no_half_written_output() {
    let lab = Lab::of(&[(
        "larder.toml",
        "[tasks.a]\ncommand = \"mkdir dist; echo half > dist/x; sleep 100\"\noutputs = [\"dist\"]\ntimeout = \"300ms\"\n",
    )]);
    let run = lab.run(&["a"]);
    assert_eq!(
        run.lines,
        "lab#a: ran with TimedOut(300ms), not kept: it took longer than its limit of 300ms\n"
    );
    assert_eq!(run.notes, ["2 unfinished outputs were removed"]);
    assert!(!lab.path("dist").exists());
}

#[test]
fn a_stop_ends_what_runs_starts_nothing_more_and_leaves_no_half_written_output() {
    let lab = Lab::of(&[(
        "larder.toml",
        "[tasks.a]\ncommand = \"mkdir dist; echo half > dist/x; echo ready; sleep 100\"\noutputs = [\"dist\"]\n\
         [tasks.b]\ncommand = \"true\"\ndepends_on = [\"a\"]\n",
    )]);
    let (stop, stopped) = watch::channel(Stop::No);
    let run = lab.run_until(&["b"], &[], &RunOptions::default(), stopped, |event| {
        if matches!(event, Event::Output { .. }) {
            stop.send_replace(Stop::Gently);
        }
    });
    assert_eq!(
        run.lines,
        "lab#a: ran with Stopped, not kept: it was stopped\nlab#b: not run: `lab#a` failed\n"
    );
    assert!(run.summary.stopped && !lab.path("dist").exists());
}

#[test]
fn modes_say_what_of_the_cache_is_used() {
    let lab = copier();
    let run = |mode| {
        let run = lab.run_with(&["build"], &[], &RunOptions { mode, ..RunOptions::default() });
        (run.lines.trim_end().to_owned(), lab.ran())
    };
    let ran = |why: &str| (format!("lab#build: ran, {why}"), "build".to_owned());
    assert_eq!(run(Mode::Off), ran("not kept: this run keeps nothing"));
    assert_eq!(run(Mode::Read), ran("not kept: this run keeps nothing"));
    assert_eq!(run(Mode::Write), ran("kept"));
    assert_eq!(run(Mode::Write), ran("kept"));
    assert_eq!(run(Mode::Read), ("lab#build: hit, 4 right, 0 written, 0 removed".into(), String::new()));
    assert_eq!(run(Mode::Off), ran("not kept: this run keeps nothing"));
}

#[test]
fn a_result_that_is_too_old_is_made_anew() {
    let lab = Lab::new();
    lab.manifest(
        "larder.toml",
        "[tasks.a]\ncommand = \"echo a >> RAN\"\ninputs = []\ncache = { max_age = \"1ms\" }\n",
    );
    lab.run(&["a"]);
    let run = lab.run(&["a"]);
    assert_eq!((run.lines.as_str(), lab.ran().as_str()), ("lab#a: ran, kept\n", "a a"));
    assert_eq!(run.notes, ["a kept result could not be used: it is older than cache.max_age"]);
}

#[test]
fn names_that_are_not_utf8_are_kept_and_given_back() {
    use std::os::unix::ffi::OsStrExt as _;
    let lab = Lab::of(&[(
        "larder.toml",
        "[tasks.a]\ncommand = \"mkdir dist; cp src/* dist\"\ninputs = [\"src/*\"]\noutputs = [\"dist\"]\n",
    )]);
    lab.write("src/x", "x");
    let odd = std::ffi::OsStr::from_bytes(b"\xff\xfe");
    std::fs::write(lab.path("src").join(odd), "odd").unwrap();
    assert_eq!(lab.run(&["a"]).lines, "lab#a: ran, kept\n");
    lab.sh("rm -r dist");
    assert_eq!(lab.run(&["a"]).lines, "lab#a: hit, 0 right, 3 written, 0 removed\n");
    assert_eq!(std::fs::read(lab.path("dist").join(odd)).unwrap(), b"odd");
}

#[test]
fn no_more_commands_run_at_once_than_asked_for() {
    let lab = Lab::new();
    let mut text = String::new();
    for n in 0..6 {
        text += &format!(
            "[tasks.t{n}]\ncommand = \"mkdir lock && sleep 0.02 && rmdir lock && echo t{n} >> RAN\"\n"
        );
    }
    lab.manifest("larder.toml", &text);
    let names = ["t0", "t1", "t2", "t3", "t4", "t5"];
    let run = lab.run_with(&names, &[], &RunOptions { jobs: NonZeroUsize::new(1), ..RunOptions::default() });
    assert!(run.summary.is_success(), "{}", run.lines);
    let mut ran: Vec<_> = lab.ran().split(' ').map(str::to_owned).collect();
    ran.sort();
    assert_eq!(ran, names);
}

#[test]
fn a_persistent_task_runs_until_the_run_is_stopped_and_takes_no_turn() {
    let lab = Lab::new();
    lab.manifest(
        "larder.toml",
        "[tasks.dev]\ncommand = \"trap 'echo down; exit 0' TERM; echo up; while :; do sleep 0.01; done\"\npersistent = true\n\
         [tasks.other]\ncommand = \"echo other\"\n",
    );
    let (stop, stopped) = watch::channel(Stop::No);
    let options = RunOptions { jobs: NonZeroUsize::new(1), ..RunOptions::default() };
    let mut seen = String::new();
    let run = lab.run_until(&["dev", "other"], &[], &options, stopped, |event| {
        if let Event::Output { bytes, .. } = event {
            seen += &String::from_utf8_lossy(bytes);
        }
        if seen.contains("up") && seen.contains("other") {
            stop.send_replace(Stop::Gently);
        }
    });
    assert_eq!(run.summary.ends[0].exit, Some(Exit::Stopped));
    assert!(run.live.contains("down"), "{}", run.live);
}

#[test]
fn what_lies_there_counts_also_when_the_task_that_made_it_is_left_out() {
    let lab = chain();
    lab.run(&["build"]);
    lab.ran();
    let only = |expected: &str| {
        let run = lab.run_only(&["app#build"]);
        assert_eq!(run.lines.split(',').next(), Some(expected), "{}", run.lines);
    };
    only("app#build: hit");
    lab.write("p/mid/dist/out", "edited\n");
    only("app#build: ran");
    assert_eq!((lab.read("p/app/dist/out").as_str(), lab.ran().as_str()), ("app\nedited\n", "app"));
    lab.run(&["build"]);
    assert_eq!(lab.read("p/app/dist/out"), "app\n2\n");
    only("app#build: hit");
}

#[test]
fn a_cache_inside_the_workspace_is_nobodys_input() {
    let lab = Lab::new();
    lab.write("larder.toml", "[tasks.a]\ncommand = \"true\"\ncache = true\n");
    lab.cache_inside(".larder");
    assert_eq!(lab.run(&["a"]).lines, "lab#a: ran, kept\n");
    assert_eq!(lab.run(&["a"]).lines, "lab#a: hit, 0 right, 0 written, 0 removed\n");
}

#[test]
fn one_handle_serves_several_runs() {
    let lab = Lab::of(&[(
        "larder.toml",
        "[tasks.build]\ncommand = \"mkdir -p dist; for f in src/*; do cp $f dist/; done\"\ninputs = [\"src/*\"]\noutputs = [\"dist\"]\n",
    )]);
    lab.sh("mkdir src; echo a > src/a; echo b > src/b");
    let lines = lab.run_again_and_again(&["build"], 3, |n| match n {
        0 => lab.sh("rm src/b"),
        _ => lab.write("dist/a", "spoilt"),
    });
    let expected = [
        "lab#build: ran, kept\n",
        "lab#build: ran, kept\n",
        "lab#build: hit, 1 right, 1 written, 0 removed\n",
    ];
    assert_eq!(lines, expected);
    assert!(!lab.path("dist/b").exists());
}
