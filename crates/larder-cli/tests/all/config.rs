//! `larder config`, and what is said when the configuration is wrong.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use expect_test::expect;

use crate::lab::Lab;

#[test]
fn each_layer_is_found_where_it_belongs_and_named_as_the_origin() {
    let mut lab = Lab::new();
    lab.write("home/.config/larder/config.toml", "[cache]\nmode = \"read\"\ndisk.budget = \"1 GiB\"\n");
    lab.write(
        "project/larder.toml",
        "[workspace]\n[tasks.a]\ncommand = \"true\"\n[cache]\ndisk.max_age = \"1 d\"\n",
    );
    lab.variable("LARDER_DISK_ENTRIES", "10");
    lab.check(
        &["config", "show", "--origin", "disk", "--set", "disk.policy=lru"],
        expect![[r#"
        disk.enabled      true   default
        disk.budget       1 GiB  [lab]/home/.config/larder/config.toml:3:15
        disk.entries      10     LARDER_DISK_ENTRIES
        disk.max_age      1 d    [lab]/project/larder.toml:5:16
        disk.min_free     5%     default
        disk.reserved     1 GiB  default
        disk.compression  1      default
        disk.policy       lru    --set disk.policy
    "#]],
    );
    lab.check(
        &["config", "show", "mode", "--json"],
        expect![[r#"
        [
          {
            "setting": "mode",
            "value": "read",
            "origin": "[lab]/home/.config/larder/config.toml:2:8"
          }
        ]
    "#]],
    );
    lab.check(
        &["config", "show", "dir"],
        expect![[r#"
        dir  [lab]/home/.cache/larder
    "#]],
    );
    lab.variable("XDG_CACHE_HOME", "/caches").variable("XDG_CONFIG_HOME", "/none");
    lab.check(
        &["config", "show", "--origin", "dir"],
        expect![[r#"
        dir  /caches/larder  default
    "#]],
    );
    lab.check(
        &["config", "show", "--origin", "dir", "--dir", "here"],
        expect![[r#"
        dir  [lab]/project/here  --dir
    "#]],
    );
}

#[test]
fn below_a_package_the_workspace_s_file_counts() {
    let lab = Lab::new();
    lab.write("project/larder.toml", "[workspace]\nmembers = [\"packages/*\"]\n[cache]\nmode = \"off\"\n");
    lab.write("project/packages/web/larder.toml", "[tasks.build]\ncommand = \"true\"\n");
    lab.check(
        &["config", "show", "mode", "-C", "packages/web"],
        expect![[r#"
        mode  off
    "#]],
    );
}

#[test]
fn a_configuration_that_is_wrong_is_shown_with_its_lines_and_ends_with_2() {
    let mut lab = Lab::new();
    lab.write("project/larder.toml", "[cache]\n\tdisk.bugdet = \"1 GiB\"\nmode = \"Read\"\n");
    lab.variable("LARDER_JOBS", "0").variable("LARDER_DIRR", "x");
    lab.check(
        &["config", "validate", "--set", "stats.history=month"],
        expect![[r#"
        ! error: the configuration is wrong in 5 places
        ! [lab]/project/larder.toml:2:7: unknown setting "disk.bugdet"
        !   |
        ! 2 | 	disk.bugdet = "1 GiB"
        !   | 	     ^^^^^^ did you mean "disk.budget"?
        ! [lab]/project/larder.toml:3:8: "Read" is none of off, read, write, read-write
        !   |
        ! 3 | mode = "Read"
        !   |        ^^^^^^ did you mean "read"?
        ! LARDER_DIRR: unknown variable; did you mean "LARDER_DIR"?
        ! LARDER_JOBS: "0" is not a number from 1 on or "auto"
        ! --set stats.history: "month" is not a duration; write a number and ms, s, min, h, d or w
        exit code 2
    "#]],
    );
}

#[test]
fn a_configuration_that_is_right_says_so_on_stderr() {
    let lab = Lab::new();
    lab.check(
        &["config", "validate"],
        expect![[r#"
        ! ok: the configuration is right
    "#]],
    );
    lab.check(&["config", "validate", "--quiet"], expect![""]);
}

#[test]
fn what_is_named_has_to_be_there() {
    let lab = Lab::new();
    lab.check(
        &["config", "show", "disk.bugdet"],
        expect![[r#"
        ! error: there is no setting "disk.bugdet"
        ! hint: `larder config show` lists all settings
        exit code 2
    "#]],
    );
    lab.check(
        &["config", "show", "--config", "none.toml"],
        expect![[r#"
        ! error: configuration file none.toml is not there
        exit code 2
    "#]],
    );
    lab.check(
        &["config", "show", "--set", "mode"],
        expect![[r#"
        ! error: --set mode has no value
        ! hint: write it as --set SETTING=VALUE
        exit code 2
    "#]],
    );
    lab.check(
        &["config", "show", "-C", "none"],
        expect![[r#"
        ! error: cannot go to none: No such file or directory (os error 2)
        exit code 2
    "#]],
    );
}

#[test]
fn an_account_without_a_home_has_to_name_a_directory() {
    let mut lab = Lab::new();
    lab.without_variable("HOME");
    lab.check(
        &["config", "show", "dir"],
        expect![[r#"
        ! error: the configuration is wrong
        ! default: dir has no value, as the home directory is not known; write it with --dir or in LARDER_DIR
        exit code 2
    "#]],
    );
    lab.check(
        &["config", "show", "dir", "--dir", "/somewhere"],
        expect![[r#"
        dir  /somewhere
    "#]],
    );
}

/// The variables that `larder VERB --help` names.
fn offered(lab: &Lab, verb: &str) -> Vec<String> {
    let help = lab.stdout(&[verb, "--help"]);
    let named = help.split("[env: ").skip(1).filter_map(|rest| rest.split(['=', ']']).next());
    named.map(str::to_owned).collect()
}

#[test]
fn every_variable_that_stands_for_a_flag_is_taken_by_every_verb() {
    let lab = Lab::new();
    let mut all: Vec<String> =
        ["serve", "run", "gocache"].iter().flat_map(|verb| offered(&lab, verb)).collect();
    all.sort_unstable();
    all.dedup();
    assert!(all.len() >= 11 && all.contains(&"LARDER_LISTEN".to_owned()), "{all:?}");
    for variable in &all {
        let value = if variable == "LARDER_COLOR" { "never" } else { "/dev/null" };
        for verb in [&["config", "validate", "-q"][..], &["cache", "stats"]] {
            let output = lab.command(verb).env(variable, value).output().unwrap();
            assert!(output.status.success(), "{variable}: {output:?}");
        }
        assert!(lab.stdout(&["config", "show"]).contains("dir"));
    }
    let output = lab.command(&["config", "validate"]).env("LARDER_LISTEN_TO", "x").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}

/// The files of the documentation.
fn pages(folder: &Path) -> Vec<PathBuf> {
    let mut pages = Vec::new();
    for path in fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()) {
        if path.is_dir() && path.file_name().unwrap() == "clients" {
            pages.extend(self::pages(&path));
        } else if path.extension().is_some_and(|extension| extension == "md") {
            pages.push(path);
        }
    }
    pages
}

#[test]
fn every_variable_of_the_documentation_that_begins_as_larder_s_do_is_larder_s() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let checked_first = ["LARDER_COLOR", "LARDER_CONFIG", "LARDER_LOG"];
    let mut names = BTreeSet::new();
    for page in [pages(&root), pages(&root.join("docs"))].concat() {
        if page.ends_with("CHANGELOG.md") {
            continue;
        }
        let text = fs::read_to_string(page).unwrap();
        for at in text.match_indices("LARDER_").map(|(at, _)| at) {
            let name = text[at..].split(|c: char| !c.is_ascii_uppercase() && c != '_').next().unwrap();
            if !name.ends_with('_') && !checked_first.contains(&name) {
                names.insert(name.to_owned());
            }
        }
    }
    assert!(names.contains("LARDER_DISK_BUDGET") || names.contains("LARDER_SHARED"), "{names:?}");
    let lab = Lab::new();
    let mut command = lab.command(&["config", "validate"]);
    let output = command.envs(names.iter().map(|name| (name, "x"))).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("the configuration is wrong") && !said.contains("unknown variable"), "{said}");
}

#[test]
fn a_shared_tier_that_a_run_would_refuse_is_told_with_its_place_and_nothing_is_connected_to() {
    let lab = Lab::new();
    lab.write("project/larder.toml", "[tasks.a]\ncommand = \"true\"\n")
        .write("project/text", "no certificate");
    let refused = |settings: &[&str], expected: &str| {
        let set: Vec<&str> = settings.iter().flat_map(|setting| ["--set", setting]).collect();
        for verb in [&["config", "validate"][..], &["run", "a"], &["serve", "--check"]] {
            let output = lab.run(&[verb, &set].concat());
            let said = String::from_utf8(output.stderr).unwrap();
            let said = said.replace(&lab.path("").display().to_string(), "[lab]/");
            assert_eq!(output.status.code(), Some(2), "{verb:?} {settings:?}: {said}");
            assert!(said.starts_with(expected), "{verb:?} {settings:?}: {said}");
        }
    };
    refused(&["shared=foo://x"], "error: --set shared: no shared tier is known for foo://\n");
    refused(&["shared=redis://h:1/x"], "error: --set shared: ");
    refused(
        &["shared=rediss://h:1", "shared_ca=no.pem"],
        "error: --set shared_ca: cannot read [lab]/project/no.pem: ",
    );
    refused(&["shared=rediss://h:1", "shared_ca=text"], "error: --set shared_ca: ");
    refused(&["shared=rediss://h:1", "shared_cert=text"], "error: --set shared_cert: ");
    refused(&["shared_blobs=redis://h:1"], "error: --set shared_blobs: ");
    refused(&["shared=redis://h:1", "shared_blobs=foo://x"], "error: --set shared_blobs: ");
    lab.write("home/.config/larder/config.toml", "[cache]\nshared = \"foo://x\"\n");
    refused(&[], "error: [lab]/home/.config/larder/config.toml:2:10: no shared tier is known");
    let nobody = ["config", "validate", "--set", "shared=redis://127.0.0.1:1"];
    assert!(lab.run(&nobody).status.success());
}

#[test]
fn a_level_of_events_that_there_is_not_is_refused_by_every_verb() {
    let mut lab = Lab::new();
    lab.variable("LARDER_LOG", "nonsense");
    for verb in [&["config", "validate"][..], &["tasks"], &["cache", "stats"], &["completions", "bash"]] {
        lab.check(
            verb,
            expect![[r#"
                ! error: LARDER_LOG: "nonsense" is none of off, error, warn, info, debug, trace
                exit code 2
            "#]],
        );
    }
    for level in ["", "off", "error", "warn", "info", "DEBUG", "trace"] {
        assert!(lab.variable("LARDER_LOG", level).run(&["config", "validate"]).status.success(), "{level}");
    }
}
