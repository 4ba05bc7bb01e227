//! What every command line program owes its user: help, version, completions, manual pages, colours, pipes.

use std::fs;
use std::io::Read as _;
use std::process::{Command, Stdio};

use expect_test::expect;

use crate::lab::Lab;

#[test]
fn help_documents_exit_codes_and_version_is_one_line() {
    let lab = Lab::new();
    assert!(lab.stdout(&["--help"]).contains("Exit codes:"));
    assert_eq!(lab.stdout(&["--version"]), format!("larder {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn each_verb_says_of_itself_what_the_list_of_verbs_says_of_it() {
    let lab = Lab::new();
    let help = lab.stdout(&["-h"]);
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    for verb in ["run", "exec", "why", "tasks", "plan", "init", "cache", "config", "completions", "man"] {
        let own = lab.stdout(&[verb, "-h"]);
        let about = words(own.split("\n\n").next().unwrap());
        assert!(words(&help).contains(&format!("{verb} {about}")), "{verb}: {about}");
    }
}

#[test]
fn a_mistake_on_the_command_line_ends_with_2_and_says_what_may_be_meant() {
    Lab::new().check(
        &["configs"],
        expect![[r#"
        ! error: unrecognized subcommand 'configs'
        ! 
        !   tip: a similar subcommand exists: 'config'
        ! 
        ! Usage: larder [OPTIONS] <COMMAND>
        ! 
        ! For more information, try '--help'.
        exit code 2
    "#]],
    );
}

#[test]
fn completions_are_scripts_that_know_each_verb() {
    let lab = Lab::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = lab.stdout(&["completions", shell]);
        for verb in ["run", "tasks", "cache", "init", "config", "completions", "man"] {
            assert!(script.contains(verb), "{shell}: {verb}");
        }
    }
    lab.write("project/larder.bash", &lab.stdout(&["completions", "bash"]));
    let checked =
        Command::new("bash").args(["-n", "larder.bash"]).current_dir(lab.path("project")).output().unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}

#[test]
fn each_verb_has_a_manual_page() {
    let lab = Lab::new();
    lab.stdout(&["man", "pages"]);
    let page = fs::read_to_string(lab.path("project/pages/larder-config-show.1")).unwrap();
    assert!(page.contains("Print each setting"), "{page}");
    assert!(lab.path("project/pages/larder.1").is_file());
}

#[test]
fn colours_are_used_only_on_request_where_nobody_looks() {
    let mut lab = Lab::new();
    assert!(!lab.stdout(&["config", "show"]).contains('\u{1b}'));
    assert!(lab.stdout(&["config", "show", "--color", "always"]).contains('\u{1b}'));
    lab.variable("LARDER_COLOR", "always");
    assert!(lab.stdout(&["config", "show"]).contains('\u{1b}'));
    assert!(!lab.stdout(&["config", "show", "--color", "never"]).contains('\u{1b}'));
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let lab = Lab::new();
    for arguments in [&["config", "show"][..], &["config", "show", "--json"], &["completions", "bash"]] {
        let mut child = lab.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let mut stderr = String::new();
        child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        assert!(child.wait().unwrap().success(), "{stderr}");
        assert_eq!(stderr, "");
    }
}

#[test]
fn json_is_one_document_or_refused() {
    let lab = Lab::new();
    lab.write("project/value", "some text")
        .write("project/site.yml", "- hosts: all\n")
        .write("project/hosts", "a\n");
    let documents: [&[&str]; 3] = [
        &["config", "validate"],
        &["cache", "put", "notes/text@1/a", "value"],
        &["plan", "site.yml", "-i", "hosts", "--list-inventory"],
    ];
    for arguments in documents {
        let printed = lab.stdout(&[arguments, &["--json"]].concat());
        let document: serde_json::Value = serde_json::from_str(&printed).unwrap();
        assert!(document.is_object(), "{arguments:?}: {document}");
    }
    let refused: [&[&str]; 7] = [
        &["cache", "get", "notes/text@1/a"],
        &["completions", "bash"],
        &["man", "pages"],
        &["plan", "site.yml", "--list-tasks"],
        &["plan", "site.yml", "--list-tags"],
        &["plan", "site.yml", "-i", "hosts", "--list-hosts"],
        &["run", "build", "--graph"],
    ];
    lab.write("project/larder.toml", "[tasks.build]\ncommand = \"true\"\n");
    for arguments in refused {
        let output = lab.run(&[arguments, &["--json"]].concat());
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(
            (output.status.code(), output.stdout.as_slice()),
            (Some(2), &b""[..]),
            "{arguments:?}: {said}"
        );
        assert!(said.contains("JSON") || said.contains("--json: "), "{said}");
        assert!(said.contains("hint: "), "{said}");
    }
    assert!(!lab.path("project/pages").exists());
}

#[test]
fn a_file_that_is_named_and_cannot_be_used_ends_with_1() {
    let lab = Lab::new();
    lab.write("project/value", "text");
    lab.stdout(&["cache", "put", "a/b@1/c", "value"]);
    let named: [&[&str]; 4] = [
        &["cache", "import", "none/file"],
        &["cache", "put", "a/b@1/c", "none/file"],
        &["cache", "get", "a/b@1/c", "--output", "none/file"],
        &["cache", "export", "none/file"],
    ];
    for arguments in named {
        let output = lab.run(arguments);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
        assert!(said.contains("none/file") && said.contains("No such file"), "{said}");
    }
}

#[test]
fn exec_ends_with_the_codes_that_the_help_names() {
    let lab = Lab::new();
    lab.write("project/text", "no program");
    let help = lab.stdout(&["--help"]);
    for (code, command) in [
        (126, &["./text"][..]),
        (127, &["no-such-program"]),
        (143, &["sh", "-c", "kill -TERM $$"]),
        (124, &["sleep", "100"]),
    ] {
        let output = lab.run(&[&["exec", "--timeout", "1s", "--"], command].concat());
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        assert!(help.contains(&code.to_string()), "{help}");
    }
}

/// Checks the help of a verb and of those below it.
fn check_help(lab: &Lab, verb: &[&str]) {
    let help = lab.stdout(&[verb, &["--help"]].concat());
    assert!(verb.is_empty() || help.contains("Example"), "{verb:?}:\n{help}");
    let below = help.split_once("Commands:\n").map_or("", |(_, below)| below);
    for line in below.lines().take_while(|line| line.starts_with("  ")) {
        match line.split_whitespace().next() {
            Some("help") | None => {}
            Some(name) if line.starts_with("  ") && !line.starts_with("   ") => {
                check_help(lab, &[verb, &[name]].concat());
            }
            Some(_) => {}
        }
    }
}

#[test]
fn the_help_of_each_verb_has_an_example() {
    check_help(&Lab::new(), &[]);
}
