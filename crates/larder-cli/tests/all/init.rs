//! `larder init`: what it makes of what a project has.

use expect_test::expect;

use crate::lab::Lab;

#[test]
fn a_makefile_a_justfile_and_a_crate_become_tasks_and_the_typed_name_wins() {
    let lab = Lab::new();
    lab.write("project/Makefile", "all: dist\ndist: x.c\n\tcc x.c\ntest: ## Run the tests\n\t./t\n");
    lab.write("project/justfile", "# Lint all\nlint:\n    ruff\ndev:\n    serve\n");
    lab.write("project/Cargo.toml", "[package]\nname = \"x\"\n");
    lab.write("project/.gitignore", "/dist/\n");
    lab.check(
        &["init", "--print"],
        expect![[r#"
        [workspace]

        [tasks.lint] # from justfile
        command = "just lint"
        description = "Lint all"
        cache = true

        [tasks.dev] # from justfile
        command = "just dev"
        persistent = true

        [tasks.all] # from Makefile
        command = "make all"
        # Say what it writes, and it is kept: outputs = ["dist"]

        [tasks.dist] # from Makefile
        command = "make dist"
        outputs = ["dist"]

        [tasks.test] # from Makefile
        command = "make test"
        description = "Run the tests"
        cache = true

        [tasks.format] # from Cargo.toml
        command = "cargo fmt --all --check"
        cache = true
    "#]],
    );
}

#[test]
fn scripts_that_all_members_have_become_a_template() {
    let lab = Lab::new();
    lab.write("project/package.json", r#"{"workspaces": ["packages/*"], "scripts": {"lint": "eslint ."}}"#);
    lab.write("project/pnpm-lock.yaml", "");
    lab.write(
        "project/packages/a/package.json",
        r#"{"scripts": {"build": "tsc", "test": "jest", "prebuild": "x"}}"#,
    );
    lab.write("project/packages/b/package.json", r#"{"scripts": {"build": "tsc", "start:all": "node ."}}"#);
    lab.check(
        &["init", "--print"],
        expect![[r##"
        # larder.toml
        [workspace]
        members = ["packages/*"]

        [workspace.tasks.build] # from package.json
        command = "pnpm run build"
        # Say what it writes, and it is kept: outputs = ["dist"]

        [tasks.lint] # from package.json
        command = "pnpm run lint"
        cache = true

        # packages/a/larder.toml
        [tasks.test] # from package.json
        command = "pnpm run test"
        cache = true

        # packages/b/larder.toml
        [tasks."start:all"] # from package.json
        command = "pnpm run start:all"
        persistent = true
    "##]],
    );
    lab.check(
        &["init"],
        expect![[r#"
        ! wrote larder.toml with build, lint
        ! wrote packages/a/larder.toml with test
        ! wrote packages/b/larder.toml with start:all
    "#]],
    );
    lab.check(
        &["init"],
        expect![[r#"
        ! error: larder.toml is there already
        ! hint: `larder init --print` shows what would be written; --force writes over it
        exit code 2
    "#]],
    );
    lab.check(&["init", "--force", "--quiet"], expect![""]);
    lab.check(
        &["config", "validate"],
        expect![[r#"
        ! ok: the configuration is right
    "#]],
    );
}

#[test]
fn a_directory_without_anything_to_start_from_is_told() {
    let lab = Lab::new();
    lab.check(
        &["init"],
        expect![[r#"
        ! error: there is no package.json, Cargo.toml, Makefile or justfile with tasks here
        ! hint: docs/tasks.md shows how to write a larder.toml by hand
        exit code 2
    "#]],
    );
    lab.write("project/package.json", "{");
    lab.check(
        &["init"],
        expect![[r#"
        ! error: [lab]/project/package.json: EOF while parsing an object at line 1 column 1
        exit code 2
    "#]],
    );
}
