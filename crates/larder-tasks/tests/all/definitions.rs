//! What `larder.toml` may say, and what is answered when it says something else.

use expect_test::{Expect, expect};
use larder_tasks::task::{Inputs, Keeping, Task, WhyNever};

use crate::lab::Lab;

fn check_complaint(manifest: &str, expected: Expect) {
    expected.assert_eq(&Lab::of(&[("larder.toml", manifest)]).complaint());
}

fn check_task(manifest: &str, look: impl Fn(&Task)) {
    let lab = Lab::of(&[("larder.toml", manifest)]);
    let workspace = lab.load().unwrap_or_else(|_| panic!("{}", lab.complaint()));
    look(workspace.tasks().next().unwrap());
}

#[test]
fn every_key_is_understood() {
    let manifest = r#"
        [tasks.build]
        command = "make all"
        description = "builds"
        depends_on = ["lint", "^build", "//#gen"]
        inputs = ["src/**", "!src/gen/**"]
        outputs = ["dist", "*.o"]
        env = { include = ["CC", "MAKE_*"], exclude = ["MAKE_X"], secret = ["TOKEN"], ambient = ["PATH"], mode = "loose" }
        cwd = "src"
        shell = ["bash", "-eu", "-c"]
        timeout = "1.5h"
        cache = { mode = "read", max_age = "7d", max_size = "10 MiB", extra_inputs = ["//x.lock"],
                  ignore_inputs = ["**/*.md"], key = ["command", "inputs"], salt = "2", exit_codes = [0, 3] }
        tools = ["cc", "rustc --version"]
        clean = false
        interactive = false
        persistent = false
        [tasks.gen]
        command = ["./gen", ""]
        [tasks.lint]
        command = "x"
        [cache.memory]
        budget = "64 MiB"
    "#;
    check_task(manifest, |task| {
        expect![[r#"
            Task {
                id: TaskId(lab#build),
                package: RelPath(.),
                place: Place(larder.toml:2:16),
                command: Some(
                    Script {
                        shell: [
                            "bash",
                            "-eu",
                            "-c",
                        ],
                        script: "make all",
                    },
                ),
            }"#]]
        .assert_eq(
            &format!("{task:#?}").split("    description").next().map(|text| format!("{text}}}")).unwrap(),
        );
        assert_eq!(task.depends_on.len(), 3);
        assert_eq!(task.timeout.unwrap().as_secs(), 5400);
        assert_eq!(task.cwd.as_str(), "src");
        assert!(!task.clean && matches!(&task.inputs, Inputs::Declared(globs) if globs.len() == 2));
        let Keeping::Keep(rules) = &task.keeping else { panic!("{:?}", task.keeping) };
        assert_eq!((rules.components.len(), rules.exit_codes.len()), (2, 2));
        assert_eq!(rules.max_size.unwrap().0, 10 << 20);
        assert!(rules.mode.reads() && !rules.mode.writes());
    });
}

#[test]
fn a_slip_in_a_key_is_pointed_at() {
    check_complaint(
        "[tasks.build]\ncomand = \"make\"\ninputs = [\"src\"]\n[task.x]\n",
        expect![[r#"
            larder.toml:2:1: unknown key `comand` in [tasks.build]
              |
            2 | comand = "make"
              | ^^^^^^ did you mean `command`?

            larder.toml:4:2: unknown key `task` in the file
              |
            4 | [task.x]
              |  ^^^^ did you mean `tasks`?
        "#]],
    );
    check_complaint(
        "[tasks.a]\ncommand = \"x\"\ncache = { frobnicate = 1 }\n",
        expect![[r#"
            larder.toml:3:11: unknown key `frobnicate` in [tasks.a.cache]
              |
            3 | cache = { frobnicate = 1 }
              |           ^^^^^^^^^^ known here: mode, max_age, max_size, extra_inputs, ignore_inputs, key, salt, exit_codes
        "#]],
    );
}

#[test]
fn values_of_the_wrong_type_or_unit_are_pointed_at_all_at_once() {
    check_complaint(
        r#"[tasks.a]
command = 1
timeout = 90
inputs = "src"
outputs = ["a", 2]
cache = { max_size = "10 megs", mode = "raed", exit_codes = [0, 256], key = ["comand"] }
env = { mode = "lose", include = ["LARDER_DIR", "A B"] }
shell = []
"#,
        expect![[r#"
            larder.toml:2:11: `command` must be a string for the shell or a list of program and arguments, not an integer
              |
            2 | command = 1
              |           ^

            larder.toml:3:11: `timeout` must be a duration with its unit, such as "90s", "5m" or "1.5h", not an integer
              |
            3 | timeout = 90
              |           ^^

            larder.toml:4:10: `inputs` must be a list of strings, not a string
              |
            4 | inputs = "src"
              |          ^^^^^

            larder.toml:5:17: `outputs` must be a list of strings, not an integer
              |
            5 | outputs = ["a", 2]
              |                 ^

            larder.toml:6:22: `cache.max_size` must be a size with its unit, such as "512 KiB", "10 MiB" or "2 GB", not "10 megs"
              |
            6 | cache = { max_size = "10 megs", mode = "raed", exit_codes = [0, 256], key = ["comand"] }
              |                      ^^^^^^^^^

            larder.toml:6:40: `cache.mode` must be "off", "read", "write" or "read-write", not "raed"
              |
            6 | cache = { max_size = "10 megs", mode = "raed", exit_codes = [0, 256], key = ["comand"] }
              |                                        ^^^^^^ did you mean `read`?

            larder.toml:6:65: `cache.exit_codes` must be a list of exit codes from 0 to 255, not "256"
              |
            6 | cache = { max_size = "10 megs", mode = "raed", exit_codes = [0, 256], key = ["comand"] }
              |                                                                 ^^^

            larder.toml:6:78: `cache.key` must be a list of command, cwd, env, inputs, tools, upstream and platform, not "comand"
              |
            6 | cache = { max_size = "10 megs", mode = "raed", exit_codes = [0, 256], key = ["comand"] }
              |                                                                              ^^^^^^^^ did you mean `command`?

            larder.toml:7:16: `env.mode` must be "strict" or "loose", not "lose"
              |
            7 | env = { mode = "lose", include = ["LARDER_DIR", "A B"] }
              |                ^^^^^^ did you mean `loose`?

            larder.toml:7:35: LARDER_* is larder's own and never enters a key
              |
            7 | env = { mode = "lose", include = ["LARDER_DIR", "A B"] }
              |                                   ^^^^^^^^^^^^

            larder.toml:7:49: variable "A B" must not contain '=', white space or control characters
              |
            7 | env = { mode = "lose", include = ["LARDER_DIR", "A B"] }
              |                                                 ^^^^^

            larder.toml:8:9: `shell` must be a program, which is given `-c` and the script, or a list that the script is added to, not ""
              |
            8 | shell = []
              |         ^^
        "#]],
    );
}

#[test]
fn what_is_not_toml_is_pointed_at() {
    check_complaint(
        "\u{feff}[tasks.a]\ncommand = \"x\ninputs = [1,\n",
        expect![[r#"
            larder.toml:2:13: invalid basic string, expected `"`
              |
            2 | command = "x
              |             ^

            larder.toml:3:13: unclosed array, expected `]`
              |
            3 | inputs = [1,
              |             ^
        "#]],
    );
}

#[test]
fn paths_and_globs_that_cannot_be_meant_are_pointed_at() {
    check_complaint(
        r#"[tasks.a]
command = "x"
inputs = ["src/[", "../b/**"]
outputs = ["../out", "/tmp/out"]
cwd = ".."
"#,
        expect![[r#"
            larder.toml:3:11: glob "src/[" is not valid: unclosed character class; missing ']'
              |
            3 | inputs = ["src/[", "../b/**"]
              |           ^^^^^^^

            larder.toml:3:20: input "../b/**" leads outside the workspace root
              |
            3 | inputs = ["src/[", "../b/**"]
              |                    ^^^^^^^^^

            larder.toml:4:12: output "../out" leads outside the workspace root
              |
            4 | outputs = ["../out", "/tmp/out"]
              |            ^^^^^^^^

            larder.toml:4:22: output "/tmp/out" must be relative
              |
            4 | outputs = ["../out", "/tmp/out"]
              |                      ^^^^^^^^^^

            larder.toml:5:7: cwd ".." leads outside the workspace root
              |
            5 | cwd = ".."
              |       ^^^^
        "#]],
    );
}

#[test]
fn globs_that_would_end_the_process_are_refused() {
    let complaint = |glob: &str| {
        let manifest = format!("[tasks.a]\ncommand = \"x\"\ninputs = [\"{glob}\"]\n");
        Lab::of(&[("larder.toml", manifest.as_str())]).complaint()
    };
    assert!(complaint(&"?".repeat(400_000)).contains("is not valid: it is longer than 16384 bytes"));
    let nested = "{".repeat(300) + "a" + &"}".repeat(300);
    assert!(complaint(&nested).contains("is not valid: its braces are nested more than 32 deep"));
}

#[test]
fn wishes_that_exclude_each_other_are_refused() {
    check_complaint(
        r#"[tasks.dev]
command = ["serve"]
persistent = true
cache = true
shell = "bash"
[tasks."a#b"]
command = "x"
"#,
        expect![[r#"
            larder.toml:2:11: a `command` list runs without a shell, so `shell` means nothing
              |
            2 | command = ["serve"]
              |           ^^^^^^^^^

            larder.toml:4:9: a persistent task never ends, so `cache` cannot keep it
              |
            4 | cache = true
              |         ^^^^

            larder.toml:6:8: task name "a#b" must not contain '#'
              |
            6 | [tasks."a#b"]
              |        ^^^^^
        "#]],
    );
}

#[test]
fn a_task_is_kept_only_if_something_says_what_it_depends_on() {
    let check = |keys: &str, never: Option<WhyNever>, inputs: &str| {
        check_task(&format!("[tasks.a]\n{keys}"), |task| {
            let found = match &task.keeping {
                Keeping::Never(why) => Some(*why),
                Keeping::Keep(_) => None,
            };
            assert_eq!(found, never, "{keys}");
            assert!(format!("{:?}", task.inputs).starts_with(inputs), "{keys}: {:?}", task.inputs);
        });
    };
    check("command = 'x'", Some(WhyNever::NothingDeclared), "Undeclared");
    check("command = 'x'\noutputs = []", Some(WhyNever::NothingDeclared), "Undeclared");
    check("command = 'x'\ncache = true", None, "Package");
    check("command = 'x'\noutputs = ['a']", None, "Package");
    check("command = 'x'\ninputs = []", None, "Declared([])");
    check("command = 'x'\ncache = { salt = '1' }", None, "Package");
    check("command = 'x'\ninputs = ['a']\ncache = false", Some(WhyNever::SwitchedOff), "Declared");
    check("command = 'x'\noutputs = ['a']\ncache = { mode = 'off' }", Some(WhyNever::SwitchedOff), "Package");
    check("command = 'x'\ncache = false", Some(WhyNever::SwitchedOff), "Undeclared");
    check("command = 'x'\ninputs = ['a']\npersistent = true", Some(WhyNever::Persistent), "Declared");
    check("command = 'x'\ninputs = ['a']\ninteractive = true", Some(WhyNever::Interactive), "Declared");
    check("depends_on = ['b']\n[tasks.b]\ncommand = 'x'", Some(WhyNever::NoCommand), "Undeclared");
}
