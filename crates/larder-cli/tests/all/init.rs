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
            tools = ["cc"]
            outputs = ["dist"]

            [tasks.test] # from Makefile
            command = "make test"
            description = "Run the tests"
            tools = ["cc"]
            cache = true

            [tasks.format] # from Cargo.toml
            command = "cargo fmt --all --check"
            tools = ["cargo -V", "rustfmt -V"]
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
            depends_on = ["^build"]
            # Say what it reads, also of other packages and of the root, and it is kept:
            # inputs = ["src/**", "//package.json"]
            # outputs = ["dist"]

            [tasks.lint] # from package.json
            command = "pnpm run lint"
            # Say what it reads, also of other packages and of the root, and it is kept:
            # inputs = ["src/**", "//package.json"]
            # cache = true

            # packages/a/larder.toml
            [tasks.test] # from package.json
            command = "pnpm run test"
            depends_on = ["^build"]
            # Say what it reads, also of other packages and of the root, and it is kept:
            # inputs = ["src/**", "//package.json"]
            # cache = true

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
fn scripts_and_crates_are_kept_with_the_programs_that_run_them_where_versions_are_locked() {
    let lab = Lab::new();
    lab.write("project/package.json", r#"{"scripts": {"unit": "jest", "build": "tsc"}}"#);
    lab.write("project/package-lock.json", "{}");
    lab.write("project/Cargo.toml", "[package]\nname = \"x\"\n");
    lab.write("project/.gitignore", "dist\n");
    lab.check(
        &["init", "--print"],
        expect![[r#"
        [workspace]

        [tasks.build] # from package.json
        command = "npm run build"
        tools = ["node --version", "npm --version"]
        outputs = ["dist"]

        [tasks.unit] # from package.json
        command = "npm run unit"
        tools = ["node --version", "npm --version"]
        cache = true

        [tasks.test] # from Cargo.toml
        command = "cargo test --workspace"
        tools = ["rustc -vV", "cargo -V"]
        cache = true

        [tasks.lint] # from Cargo.toml
        command = "cargo clippy --workspace --all-targets -- -D warnings"
        tools = ["rustc -vV", "cargo -V", "cargo clippy -V"]
        cache = true

        [tasks.format] # from Cargo.toml
        command = "cargo fmt --all --check"
        tools = ["cargo -V", "rustfmt -V"]
        cache = true
    "#]],
    );
    lab.write("project/.gitignore", "Cargo.lock\npackage-lock.json\n");
    lab.check(
        &["init", "--print"],
        expect![[r#"
            [workspace]

            [tasks.build] # from package.json
            command = "npm run build"
            # No lock file that git has tells which versions it uses, so it is not kept.

            [tasks.unit] # from package.json
            command = "npm run unit"
            # No lock file that git has tells which versions it uses, so it is not kept.

            [tasks.test] # from Cargo.toml
            command = "cargo test --workspace"
            # No lock file that git has tells which versions it uses, so it is not kept.

            [tasks.lint] # from Cargo.toml
            command = "cargo clippy --workspace --all-targets -- -D warnings"
            # No lock file that git has tells which versions it uses, so it is not kept.

            [tasks.format] # from Cargo.toml
            command = "cargo fmt --all --check"
            # No lock file that git has tells which versions it uses, so it is not kept.
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
