//! Layers of settings: who wins, what is refused, and where it says that the fault is.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use expect_test::{Expect, expect};
use larder::config::{Config, ConfigError, Layers, Origin, Places, Problem, Profile, SETTINGS, Settings};

#[derive(Default)]
struct Given<'a> {
    user: &'a str,
    project: &'a str,
    variables: &'a [(&'a str, &'a str)],
    flags: &'a [(&'a str, &'a str)],
}

impl Given<'_> {
    fn resolve(&self) -> Result<Config, ConfigError> {
        let mut layers = Layers::new(Places {
            default_dir: Some("/var/cache/larder".into()),
            home: Some("/home/ada".into()),
            current_dir: "/current".into(),
        });
        // The order of adding is not the order of strength.
        for (setting, value) in self.flags {
            layers.flag("--set", setting, value);
        }
        let variables =
            self.variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
        layers.environment(variables, &["LARDER_COLOR"]);
        layers.project_file(Path::new("/project/larder.toml"), self.project);
        layers.user_file(Path::new("/home/ada/.config/larder/config.toml"), self.user);
        layers.resolve()
    }
}

/// Shows the settings that are not default, or each problem with its line.
fn check(given: &Given<'_>, expect: Expect) {
    let text = match given.resolve() {
        Ok(config) => {
            let rows = config.rows().into_iter().filter(|row| row.origin != Origin::Default);
            rows.map(|row| format!("{} = {} ({})\n", row.name, row.value, row.origin)).collect::<String>()
        }
        Err(error) => {
            let show = |problem: &Problem| {
                let suggestion = problem.fault.suggestion().map(|text| format!("; did you mean {text}?"));
                let excerpt = problem.excerpt.as_ref().map(|excerpt| {
                    let (indent, carets) = (" ".repeat(excerpt.start), "^".repeat(excerpt.width));
                    format!("    {}\n    {indent}{carets}\n", excerpt.text)
                });
                format!("{problem}{}\n{}", suggestion.unwrap_or_default(), excerpt.unwrap_or_default())
            };
            error.problems.iter().map(show).collect()
        }
    };
    expect.assert_eq(&text);
}

#[test]
fn the_stronger_layer_wins_and_each_value_keeps_its_origin() {
    check(
        &Given {
            user: "[cache]\nmode = \"read\"\njobs = 2\n[cache.disk]\nbudget = \"1 GiB\"\nmin_free = \"1 GB\"\n",
            project: "[workspace]\nmembers = []\n[cache]\njobs = 3\ndisk.budget = \"2 GiB\"\n",
            variables: &[
                ("LARDER_DISK_BUDGET", "3 GiB"),
                ("LARDER_COLOR", "never"),
                ("LARDER_MODE", ""),
                ("HOME", "x"),
            ],
            flags: &[("disk.budget", "4 GiB"), ("disk.budget", "5 GiB")],
        },
        expect![[r#"
            mode = read (/home/ada/.config/larder/config.toml:2:8)
            jobs = 3 (/project/larder.toml:4:8)
            disk.budget = 5 GiB (--set)
            disk.min_free = 1 GB (/home/ada/.config/larder/config.toml:6:12)
        "#]],
    );
}

#[test]
fn a_profile_lies_below_all_files_wherever_it_is_chosen() {
    check(
        &Given {
            user: "[cache]\nprofile = \"production\"\ndisk.max_age = \"1 d\"\n",
            variables: &[("LARDER_PROFILE", "ci")],
            ..Given::default()
        },
        expect![[r#"
            profile = ci (LARDER_PROFILE)
            disk.budget = 5 GiB (profile ci)
            disk.max_age = 1 d (/home/ada/.config/larder/config.toml:3:16)
            disk.compression = 3 (profile ci)
            stats.history = 1 w (profile ci)
        "#]],
    );
}

#[test]
fn paths_are_relative_to_the_file_and_tilde_is_home() {
    let dir = |given: Given<'_>| given.resolve().unwrap().settings().dir.clone();
    assert_eq!(dir(Given::default()), PathBuf::from("/var/cache/larder"));
    assert_eq!(
        dir(Given { project: "cache.dir = 'kept'", ..Given::default() }),
        PathBuf::from("/project/kept")
    );
    assert_eq!(
        dir(Given { user: "cache.dir = '~/kept'", ..Given::default() }),
        PathBuf::from("/home/ada/kept")
    );
    assert_eq!(dir(Given { flags: &[("dir", "kept")], ..Given::default() }), PathBuf::from("/current/kept"));
    assert_eq!(dir(Given { flags: &[("dir", "/kept")], ..Given::default() }), PathBuf::from("/kept"));
}

#[test]
fn settings_of_kinds_and_scopes_are_kept_by_name() {
    check(
        &Given {
            project: "[cache.kind.task]\nmax_age = \"2 w\"\n[cache.kind.\"plan.play\"]\nbudget = \"1 MiB\"\n",
            flags: &[("scope.acme.budget", "2 MiB"), ("kind.plan.play.budget", "3 MiB")],
            ..Given::default()
        },
        expect![[r#"
            kind."plan.play".budget = 3 MiB (--set)
            kind.task.max_age = 2 w (/project/larder.toml:2:11)
            scope.acme.budget = 2 MiB (--set)
        "#]],
    );
}

#[test]
fn an_unknown_setting_is_told_with_its_place_and_the_one_that_is_near() {
    check(
        &Given {
            project: r#"[cache]
mod = "read"
budget = "1 GiB"
stats = 5

[cache.dsk]
budget = "1 GiB"

[cache.kind."a b"]
budget = "1 MiB"

[cache.kind.task]
bugdet = "1 MiB"
"#,
            ..Given::default()
        },
        expect![[r#"
            /project/larder.toml:2:1: unknown setting "mod"; did you mean mode?
                mod = "read"
                ^^^
            /project/larder.toml:3:1: unknown setting "budget"; did you mean memory.budget?
                budget = "1 GiB"
                ^^^^^^
            /project/larder.toml:4:9: stats is a table, not a whole number
                stats = 5
                        ^
            /project/larder.toml:6:8: unknown setting "dsk"; did you mean disk?
                [cache.dsk]
                       ^^^
            /project/larder.toml:9:13: "a b" is no name of a kind
                [cache.kind."a b"]
                            ^^^^^
            /project/larder.toml:13:1: unknown setting "kind.task.bugdet"; did you mean kind.task.budget?
                bugdet = "1 MiB"
                ^^^^^^
        "#]],
    );
}

#[test]
fn a_value_that_a_setting_does_not_take_is_told_with_its_place() {
    check(
        &Given {
            project: r#"[cache]
mode = "reed"
jobs = 0
dir = ""
memory.budget = "512 Mb"
memory.enabled = "no"
memory.entries = 1.5
disk.policy = "lfu"
disk.compression = 20
disk.max_age = "3 months"
disk.min_free = "200%"
disk.budget = "0 B"
kind.task.budget = 5
"#,
            ..Given::default()
        },
        expect![[r#"
            /project/larder.toml:2:8: "reed" is none of off, read, write, read-write; did you mean read?
                mode = "reed"
                       ^^^^^^
            /project/larder.toml:3:8: "0" is not a number from 1 on or "auto"
                jobs = 0
                       ^
            /project/larder.toml:4:7: dir is empty
                dir = ""
                      ^^
            /project/larder.toml:5:17: size "512 Mb" has no known unit; did you mean 512 MB?
                memory.budget = "512 Mb"
                                ^^^^^^^^
            /project/larder.toml:6:18: memory.enabled is true or false, not text
                memory.enabled = "no"
                                 ^^^^
            /project/larder.toml:7:18: memory.entries is a whole number, not a number with a fraction
                memory.entries = 1.5
                                 ^^^
            /project/larder.toml:8:15: "lfu" is none of lru, cost; did you mean lru?
                disk.policy = "lfu"
                              ^^^^^
            /project/larder.toml:9:20: "20" is not a number from 0 to 19
                disk.compression = 20
                                   ^^
            /project/larder.toml:10:16: "3 months" is not a duration
                disk.max_age = "3 months"
                               ^^^^^^^^^^
            /project/larder.toml:11:17: "200%" is not a share from 0.01% to 100%
                disk.min_free = "200%"
                                ^^^^^^
            /project/larder.toml:12:15: disk.budget is zero, which keeps nothing
                disk.budget = "0 B"
                              ^^^^^
            /project/larder.toml:13:20: kind.task.budget is text in quotes, not a whole number
                kind.task.budget = 5
                                   ^
        "#]],
    );
}

#[test]
fn a_file_that_is_no_toml_and_a_foreign_table_in_the_users_file_are_told_with_their_place() {
    check(
        &Given { project: "[cache]\nmode = \n", ..Given::default() },
        expect![[r#"
        /project/larder.toml:2:8: string values must be quoted, expected literal string
            mode = 
                   ^
    "#]],
    );
    check(
        &Given { project: "[cache]\nkind = 'task'\nstats.history = 'long'\n", ..Given::default() },
        expect![[r#"
            /project/larder.toml:2:8: kind is a table, not text
                kind = 'task'
                       ^^^^^^
            /project/larder.toml:3:17: "long" is not a duration
                stats.history = 'long'
                                ^^^^^^
        "#]],
    );
    check(
        &Given { project: "cache = 1", user: "[cash]\nmode = 'off'\n", ..Given::default() },
        expect![[r#"
            /home/ada/.config/larder/config.toml:1:2: unknown table "cash"
                [cash]
                 ^^^^
            /project/larder.toml:1:9: cache is a table, not a whole number
                cache = 1
                        ^
        "#]],
    );
}

#[test]
fn variables_and_flags_are_checked_as_files_are() {
    check(
        &Given {
            variables: &[
                ("LARDER_DISK_BUGDET", "1 GiB"),
                ("LARDER_JOBS", "many"),
                ("LARDER_MEMORY_ENABLED", "maybe"),
            ],
            flags: &[("memory.bugdet", "1 GiB"), ("stats.level", "all"), ("dir", "~bob/x")],
            ..Given::default()
        },
        expect![[r#"
            LARDER_DISK_BUGDET: unknown variable; did you mean LARDER_DISK_BUDGET?
            LARDER_JOBS: "many" is not a number from 1 on or "auto"
            LARDER_MEMORY_ENABLED: "maybe" is none of true, false
            --set: unknown setting "memory.bugdet"; did you mean memory.budget?
            --set: "all" is none of off, counters, sampled, full
        "#]],
    );
}

#[test]
fn limits_that_cannot_all_hold_are_told_with_both_origins() {
    check(
        &Given {
            project: "[cache]\nkind.task.budget = \"2 GiB\"\nmemory.budget = \"1 GiB\"\n",
            flags: &[("scope.acme.budget", "3 GiB")],
            variables: &[("LARDER_DISK_BUDGET", "99%")],
            ..Given::default()
        },
        expect![[r#"
            /project/larder.toml:2:20: kind.task.budget = 2 GiB contradicts memory.budget = 1 GiB (/project/larder.toml:3:17)
                kind.task.budget = "2 GiB"
                                   ^^^^^^^
            LARDER_DISK_BUDGET: disk.budget = 99% contradicts disk.min_free = 5% (default)
            --set: scope.acme.budget = 3 GiB contradicts memory.budget = 1 GiB (/project/larder.toml:3:17)
        "#]],
    );
}

#[test]
fn a_weaker_layer_is_checked_even_where_a_stronger_one_overrides_it() {
    check(
        &Given { user: "cache.mode = 'fast'", flags: &[("mode", "read")], ..Given::default() },
        expect![[r#"
            /home/ada/.config/larder/config.toml:1:14: "fast" is none of off, read, write, read-write
                cache.mode = 'fast'
                             ^^^^^^
        "#]],
    );
}

#[test]
fn what_is_shown_can_be_written_again() {
    for profile in [Profile::Development, Profile::Production, Profile::Ci] {
        let first = Given { flags: &[("profile", profile.as_str())], ..Given::default() }.resolve().unwrap();
        let rows = first.rows();
        let flags: Vec<(&str, &str)> =
            rows.iter().map(|row| (row.name.as_str(), row.value.as_str())).collect();
        let again = Given { flags: &flags, ..Given::default() }.resolve().unwrap();
        assert_eq!(again.settings(), first.settings());
    }
    let defaults = Given::default().resolve().unwrap();
    assert_eq!(*defaults.settings(), Settings::new("/var/cache/larder".into()));
}

#[test]
fn every_plain_setting_has_a_variable_that_assigns_it() {
    let defaults = Given::default().resolve().unwrap();
    for row in defaults.rows() {
        let setting = SETTINGS.iter().find(|setting| setting.name == row.name).unwrap();
        let variable = setting.variable().unwrap();
        let given = Given { variables: &[(&variable, &row.value)], ..Given::default() };
        let rows = given.resolve().unwrap().rows();
        let row = rows.into_iter().find(|other| other.name == row.name).unwrap();
        assert_eq!(row.origin.to_string(), variable);
    }
}
