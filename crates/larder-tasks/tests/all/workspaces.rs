//! Roots, members, names, templates and what packages depend on.

use expect_test::{Expect, expect};
use larder_tasks::task::Command;
use larder_tasks::workspace::{Workspace, WorkspaceError};

use crate::lab::Lab;

/// One line for each package: name, directory, dependencies, tasks.
fn summary(workspace: &Workspace) -> String {
    let packages = workspace.packages();
    let line = |package: &larder_tasks::workspace::Package| {
        let on: Vec<_> = package.depends_on().iter().map(|at| packages[*at].name()).collect();
        let tasks: Vec<_> = package.tasks().keys().map(ToString::to_string).collect();
        format!("{} in {} on {on:?} has {tasks:?}\n", package.name(), package.dir())
    };
    packages.iter().map(line).collect()
}

fn check(lab: &Lab, expected: Expect) {
    match lab.load() {
        Ok(workspace) => expected.assert_eq(&summary(&workspace)),
        Err(_) => expected.assert_eq(&lab.complaint()),
    }
}

const ROOT: (&str, &str) = (
    "larder.toml",
    r#"
[workspace]
members = ["packages/*", "tools/gen"]
[workspace.tasks.build]
command = "sh ./build.sh"
inputs = ["src/**", "build.sh"]
outputs = ["dist"]
depends_on = ["^build"]
[tasks.lint]
command = ["cargo", "clippy"]
cache = true
"#,
);

#[test]
fn members_take_their_names_and_dependencies_from_their_own_files() {
    let lab = Lab::of(&[
        ROOT,
        (
            "packages/web/package.json",
            r#"{"name": "@acme/web", "devDependencies": {"core": "*", "left-pad": "1"}}"#,
        ),
        (
            "packages/core/Cargo.toml",
            "[package]\nname = \"core\"\n[dependencies]\nbase = { path = \"../base\" }\n",
        ),
        ("packages/base/larder.toml", "[package]\nname = \"basis\"\ndepends_on = [\"gen\"]\n"),
        ("packages/plain/src/x", ""),
        ("packages/notes.txt", ""),
        ("packages/.hidden/x", ""),
        ("tools/gen/larder.toml", "[tasks.clean]\ncommand = \"rm -rf x\"\n"),
    ]);
    check(
        &lab,
        expect![[r#"
            lab in . on [] has ["lint"]
            basis in packages/base on ["gen"] has ["build"]
            core in packages/core on ["basis"] has ["build"]
            plain in packages/plain on [] has ["build"]
            @acme/web in packages/web on ["core"] has ["build"]
            gen in tools/gen on [] has ["build", "clean"]
        "#]],
    );
}

#[test]
fn dependencies_of_the_cargo_workspace_are_followed_and_can_be_dropped() {
    let lab = Lab::of(&[
        ("larder.toml", "[workspace]\nmembers = [\"crates/*\"]\n"),
        ("Cargo.toml", "[workspace.dependencies]\na = { path = \"crates/a\" }\nserde = \"1\"\n"),
        ("crates/a/Cargo.toml", "[package]\nname = \"a\"\n[dev-dependencies]\nb = { path = \"../b\" }\n"),
        ("crates/a/larder.toml", "[package]\ndepends_on = [\"!b\"]\n"),
        (
            "crates/b/Cargo.toml",
            "[package]\nname = \"b\"\n[dependencies]\na.workspace = true\nserde.workspace = true\n",
        ),
        (
            "crates/c/Cargo.toml",
            "[package]\nname = \"c\"\n[target.'cfg(unix)'.build-dependencies]\nb = { path = \"../b\" }\n",
        ),
    ]);
    check(
        &lab,
        expect![[r#"
            lab in . on [] has []
            a in crates/a on [] has []
            b in crates/b on ["a"] has []
            c in crates/c on ["b"] has []
        "#]],
    );
}

#[test]
fn a_member_overrides_a_template_key_by_key() {
    let lab = Lab::of(&[
        ROOT,
        ("packages/web/larder.toml", "[tasks.build]\ncommand = [\"make\"]\nenv = { include = [\"CC\"] }\n"),
        ("tools/gen/x", ""),
    ]);
    let workspace = lab.load().unwrap();
    let web =
        workspace.packages()[workspace.package("web").unwrap()].tasks().values().next().unwrap().clone();
    assert_eq!(web.command, Some(Command::Argv(vec!["make".into()])));
    assert_eq!(web.outputs[0].value.base().as_str(), "packages/web/dist");
    assert_eq!(web.outputs[0].place.to_string(), "larder.toml:7:12");
    assert_eq!(web.place.to_string(), "packages/web/larder.toml:1:8");
    assert_eq!(web.depends_on.len(), 1);
    let gen_ =
        workspace.packages()[workspace.package("gen").unwrap()].tasks().values().next().unwrap().clone();
    assert_eq!(gen_.place.to_string(), "larder.toml:4:18");
    assert_ne!(gen_.environment, web.environment);
}

#[test]
fn the_root_is_the_nearest_workspace_and_else_the_nearest_manifest() {
    let lab = Lab::of(&[ROOT, ("packages/web/src/deep/x", ""), ("tools/gen/x", ""), ("alone/x/y", "")]);
    let web = lab.load_from(&lab.path("packages/web/src/deep")).unwrap();
    assert_eq!(web.root(), lab.root());
    let inside = web.relative(&lab.path("packages/web/src/deep")).unwrap();
    assert_eq!(web.packages()[web.package_of(&inside)].name(), "web");
    lab.write("alone/larder.toml", "[tasks.a]\ncommand = \"x\"\n");
    let error = lab.load_from(&lab.path("alone/x")).unwrap_err();
    assert!(
        matches!(&error, WorkspaceError::NotAMember { manifest, .. } if manifest.ends_with("alone/larder.toml"))
    );
    lab.write("alone/larder.toml", "[workspace]\n");
    assert_eq!(lab.load_from(&lab.path("alone/x")).unwrap().root(), lab.path("alone"));
    let lab = Lab::of(&[("a/larder.toml", "[tasks.a]\ncommand = \"x\"\n"), ("a/b/c/x", "")]);
    assert_eq!(lab.load_from(&lab.path("a/b/c")).unwrap().root(), lab.path("a"));
    assert!(matches!(lab.load(), Err(WorkspaceError::NotFound { .. })));
}

#[test]
fn members_that_are_missing_or_outside_or_named_alike_are_pointed_at() {
    let lab = Lab::of(&[
        (
            "larder.toml",
            "[workspace]\nmembers = [\"pakages\", \"../other\", \"apps/*\", \"libs/*\", \"none/*\"]\n",
        ),
        ("packages/x", ""),
        ("apps/web/x", ""),
        ("libs/web/larder.toml", "[package]\ndepends_on = [\"wbe\", \"web\"]\n"),
    ]);
    check(
        &lab,
        expect![[r#"
            larder.toml:2:12: member "pakages" matches no directory
              |
            2 | members = ["pakages", "../other", "apps/*", "libs/*", "none/*"]
              |            ^^^^^^^^^ did you mean `packages`?

            larder.toml:2:23: member "../other" leads outside the workspace root
              |
            2 | members = ["pakages", "../other", "apps/*", "libs/*", "none/*"]
              |                       ^^^^^^^^^^

            larder.toml:2:55: member "none/*" matches no directory
              |
            2 | members = ["pakages", "../other", "apps/*", "libs/*", "none/*"]
              |                                                       ^^^^^^^^

            libs/web/larder.toml:1:1: two packages are named `web`: apps/web and libs/web
              |
            1 | [package]
              | ^ give one of them another `name` in its [package]

            libs/web/larder.toml:2:15: package `wbe` is not in the workspace
              |
            2 | depends_on = ["wbe", "web"]
              |               ^^^^^ did you mean `web`?

            libs/web/larder.toml:2:22: a package cannot depend on itself
              |
            2 | depends_on = ["wbe", "web"]
              |                      ^^^^^
        "#]],
    );
}

#[test]
fn a_link_out_of_the_root_is_no_member_and_a_link_in_circles_ends() {
    let lab = Lab::of(&[("larder.toml", "[workspace]\nmembers = [\"packages/*\"]\n"), ("packages/a/x", "")]);
    std::os::unix::fs::symlink(lab.path(".."), lab.path("packages/out")).unwrap();
    check(
        &lab,
        expect![[r#"
            larder.toml:2:12: member "packages/out" leads outside the workspace root
              |
            2 | members = ["packages/*"]
              |            ^^^^^^^^^^^^
        "#]],
    );
    std::fs::remove_file(lab.path("packages/out")).unwrap();
    std::os::unix::fs::symlink(lab.path("packages"), lab.path("packages/a/loop")).unwrap();
    lab.write("packages/a/package.json", "{}");
    lab.write("larder.toml", "[workspace]\nmembers = [\"packages/**\"]\n");
    check(&lab, expect!["lab in . on [] has []\na in packages/a on [] has []\n"]);
}

#[test]
fn a_name_that_is_not_utf8_is_reported_and_others_are_dropped_by_an_exclusion() {
    use std::os::unix::ffi::OsStrExt as _;
    let lab = Lab::of(&[
        ("larder.toml", "[workspace]\nmembers = [\"packages/*\", \"!packages/old-*\"]\n"),
        ("packages/a/x", ""),
        ("packages/old-b/x", ""),
        ("packages/node_modules/x", ""),
    ]);
    check(&lab, expect!["lab in . on [] has []\na in packages/a on [] has []\n"]);
    std::fs::create_dir(lab.path("packages").join(std::ffi::OsStr::from_bytes(b"b\xff"))).unwrap();
    check(
        &lab,
        expect![[r#"
            larder.toml:2:12: the name of …/lab/packages/b� is not UTF-8
              |
            2 | members = ["packages/*", "!packages/old-*"]
              |            ^^^^^^^^^^^^
        "#]],
    );
}

#[test]
fn package_json_workspaces_work_without_any_larder_toml() {
    let lab = Lab::of(&[
        (
            "package.json",
            r#"{"name": "acme", "workspaces": {"packages": ["packages/*"]}, "scripts": {"lint": "x"}}"#,
        ),
        ("packages/core/package.json", r#"{"name": "core", "scripts": {"build": "tsc", "dev": "tsc -w"}}"#),
        (
            "packages/web/package.json",
            r#"{"dependencies": {"core": "*"}, "scripts": {"build": "tsc", "empty": ""}}"#,
        ),
        ("packages/no-package/x", ""),
    ]);
    check(
        &lab,
        expect![[r#"
            acme in . on [] has ["lint"]
            core in packages/core on [] has ["build", "dev"]
            web in packages/web on ["core"] has ["build"]
        "#]],
    );
    let workspace = lab.load_from(&lab.path("packages/web")).unwrap();
    assert_eq!(workspace.name(), Some("acme"));
    let build = workspace.packages()[2].tasks().values().next().unwrap();
    assert_eq!(build.place.to_string(), "packages/web/package.json:1:45");
    let first: Vec<_> = build.path_first.iter().map(|path| path.as_str()).collect();
    assert_eq!(first, ["packages/web/node_modules/.bin", "packages/node_modules/.bin", "node_modules/.bin"]);
    assert_eq!(lab.graph(&["build"], &[], false), "core#build\nweb#build <- core#build\n");
}

#[test]
fn a_package_json_that_does_not_parse_is_pointed_at() {
    let lab = Lab::of(&[ROOT, ("packages/web/package.json", "{\n  \"name\": oops\n}"), ("tools/gen/x", "")]);
    check(
        &lab,
        expect![[r#"
            packages/web/package.json:2:11: expected value
              |
            2 |   "name": oops
              |           ^
        "#]],
    );
}

#[test]
fn one_mistake_in_a_template_is_told_once() {
    let lab = Lab::of(&[
        (
            "larder.toml",
            "[workspace]\nmembers = [\"p/*\"]\n[workspace.tasks.build]\ncommand = \"x\"\noutputs = [\"../../..\"]\n",
        ),
        ("p/a/x", ""),
        ("p/b/x", ""),
    ]);
    check(
        &lab,
        expect![[r#"
            larder.toml:5:12: output "../../.." leads outside the workspace root
              |
            5 | outputs = ["../../.."]
              |            ^^^^^^^^^^
        "#]],
    );
}
