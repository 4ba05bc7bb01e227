//! Histories of a workspace, in repositories that are made here.

use larder_sim::history::tasks::{Counts, Replayed, replay};

use crate::repository::{Repository, write};

const ROOT: &str = r#"
[workspace]
members = ["packages/*"]

[workspace.tasks.build]
command = "mkdir -p out; grep -v '^#' src > out/built; test ! -e needs || cat ../$(cat needs)/out/built >> out/built"
depends_on = ["^build"]
inputs = ["src", "needs"]
outputs = ["out"]

[workspace.tasks.test]
command = "wc -l < src; cat out/built"
depends_on = ["build"]
inputs = ["src"]
cache = true
"#;

/// Package `b` needs `a`, and `c` stands alone.
fn a_workspace() -> Repository {
    let repository = Repository::new();
    let dependency = "[package]\ndepends_on = [\"a\"]\n";
    repository.commit(&[
        ("larder.toml", ROOT),
        ("packages/a/src", "# one\na\n"),
        ("packages/b/src", "b\n"),
        ("packages/b/needs", "a"),
        ("packages/b/larder.toml", dependency),
        ("packages/c/src", "c\n"),
    ]);
    repository
}

/// Replays all commits, with these files as the definition or that of each. Returns what came of it, and what ran of each
/// commit.
fn replayed(repository: &Repository, files: &[(&str, &str)]) -> (Result<Replayed, String>, Vec<String>) {
    let definition = tempfile::tempdir().expect("a directory");
    write(definition.path(), files);
    let definition = (!files.is_empty()).then_some(definition.path());
    let mut ran = Vec::new();
    let all = replay(repository.path(), 300, definition, |commit| {
        ran.push(commit.ran.join(" "));
        Ok(())
    });
    (all.map_err(|error| format!("{error:#}")), ran)
}

#[test]
fn a_commit_runs_only_the_tasks_that_it_touches() {
    let repository = a_workspace();
    repository.commit(&[("packages/b/src", "bb\n")]);
    repository.commit(&[("README.md", "words")]);
    repository.commit(&[("packages/a/src", "# two\na\n")]);
    repository.commit(&[("packages/b/src", "b\n")]);
    repository.commit(&[("packages/a/src", "# two\naa\n")]);
    let (all, ran) = replayed(&repository, &[]);
    let all = all.unwrap();
    assert_eq!(
        ran,
        [
            "a#build a#test b#build b#test c#build c#test",
            "b#build b#test",
            "",
            "a#build a#test",
            "",
            "a#build a#test b#build b#test"
        ],
        "all, one package, nothing, what makes the same, what was there before, what others need"
    );
    let Counts { wanted, hits, behind, ran, unkept, not_run } = all.counts;
    assert_eq!((all.commits, all.idle, all.packages), (6, 2, 4));
    assert_eq!((wanted, hits, ran, unkept, not_run), (36, 22, 14, 0, 0));
    assert_eq!(behind, 2, "those of b where a was built and came out the same");
    assert_eq!((all.by_name["build"].hits, all.by_name["test"].hits), (11, 11));
}

#[test]
fn what_a_task_reads_and_does_not_declare_is_told_with_the_commit() {
    let check = |name: &str, command: &str, expected: &str| {
        let repository = a_workspace();
        repository.commit(&[("packages/c/src", "cc\n")]);
        let task = format!("[tasks.{name}]\ncommand = \"{command}\"\n");
        let b = format!("[package]\ndepends_on = [\"a\"]\n{task}");
        let (all, ran) = replayed(&repository, &[("larder.toml", ROOT), ("packages/b/larder.toml", &b)]);
        let error = all.unwrap_err();
        assert!(error.ends_with(expected), "{error}");
        assert!(error.contains("with the cache and without: b#"), "{error}");
        assert_eq!(ran.len(), 1, "the first commit has nothing to be told from");
    };
    check("test", "cat ../c/src", "b#test is not what a fresh clone gives: its stdout is another");
    check(
        "build",
        "mkdir -p out; cat ../c/src > out/built",
        "b#build is not what a fresh clone gives: its output packages/b/out/built is another, or is there only once",
    );
    check(
        "build",
        "mkdir -p out; cp ../c/src out/$(cat ../c/src)",
        "its output packages/b/out/c is another, or is there only once",
    );
}

#[test]
fn a_definition_lies_over_each_commit_as_far_as_that_has_its_packages() {
    let repository = Repository::new();
    repository.commit(&[("packages/a/src", "a\n")]);
    repository.commit(&[("packages/b/src", "b\n"), ("larder.toml", "[tasks.other]\ncommand = \"false\"\n")]);
    let files = [
        ("larder.toml", ROOT),
        (
            "packages/b/larder.toml",
            "[tasks.test]\ncommand = \"false\"\n[tasks.late]\ncommand = \"true\"\ndepends_on = [\"test\"]\n",
        ),
    ];
    let (all, ran) = replayed(&repository, &files);
    let all = all.unwrap();
    assert_eq!(ran, ["a#build a#test", "b#build b#test"]);
    assert_eq!((all.counts.hits, all.counts.unkept, all.counts.not_run), (2, 1, 1), "what fails is not kept");
}

#[test]
fn a_package_that_only_its_outputs_are_left_of_is_told() {
    let repository = a_workspace();
    repository.remove("packages/c");
    let (all, _) = replayed(&repository, &[]);
    let error = all.unwrap_err();
    assert!(error.ends_with("c#build is a task in only one of the two clones"), "{error}");
}

#[test]
fn a_commit_without_a_definition_is_an_error_that_names_it() {
    let repository = Repository::new();
    repository.commit(&[("package.json", r#"{"scripts": {"build": "touch made"}}"#)]);
    let (all, ran) = replayed(&repository, &[]);
    let error = all.unwrap_err();
    assert!(error.ends_with("has no larder.toml, and --definition gives none"), "{error}");
    assert!(ran.is_empty());
    let (all, _) = replayed(&repository, &[("larder.toml", "[tasks.build]\ncomand = \"true\"\n")]);
    let error = all.unwrap_err();
    assert!(error.starts_with("commit ") && error.contains("larder.toml:2:1"), "{error}");
}
