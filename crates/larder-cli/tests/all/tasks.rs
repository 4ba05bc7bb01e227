//! Tasks before they run: listing, ordering, and what is said when definitions are wrong.

use expect_test::expect;

use crate::lab::Lab;

fn workspace() -> Lab {
    let lab = Lab::new();
    lab.write(
        "project/larder.toml",
        "[workspace]\nmembers = [\"packages/*\"]\n\n[workspace.tasks.build]\ncommand = \"make\"\n\
         inputs = [\"src/**\"]\noutputs = [\"dist\"]\ndepends_on = [\"^build\"]\n\n\
         [tasks.lint]\ncommand = [\"lint\", \"--all\"]\ndescription = \"Look for mistakes\"\n\n[cache]\nmode = \"read\"\n",
    );
    lab.write("project/packages/core/larder.toml", "[package]\n");
    lab.write("project/packages/web/larder.toml", "[package]\ndepends_on = [\"core\"]\n");
    lab
}

#[test]
fn all_tasks_are_listed() {
    let lab = workspace();
    lab.check(
        &["tasks"],
        expect![[r#"
        project#lint  Look for mistakes
        core#build    make
        web#build     make
    "#]],
    );
    lab.check(&["tasks", "--json", "-C", "packages/web"], expect![[r#"
        [
          {
            "task": "project#lint",
            "directory": "",
            "description": "Look for mistakes",
            "command": "lint --all",
            "inputs": null,
            "outputs": [],
            "depends_on": [],
            "never_kept": "neither inputs nor outputs are declared; write `cache = true` to keep it all the same"
          },
          {
            "task": "core#build",
            "directory": "packages/core",
            "description": null,
            "command": "make",
            "inputs": [
              "packages/core/src/**"
            ],
            "outputs": [
              "packages/core/dist"
            ],
            "depends_on": [
              "^build"
            ],
            "never_kept": null
          },
          {
            "task": "web#build",
            "directory": "packages/web",
            "description": null,
            "command": "make",
            "inputs": [
              "packages/web/src/**"
            ],
            "outputs": [
              "packages/web/dist"
            ],
            "depends_on": [
              "^build"
            ],
            "never_kept": null
          }
        ]
    "#]]);
}

#[test]
fn the_graph_of_what_is_asked_for_is_shown_in_three_forms() {
    let lab = workspace();
    lab.check(
        &["run", "build", "--graph"],
        expect![[r#"
        core#build
        web#build <- core#build
    "#]],
    );
    lab.check(
        &["run", "web#build", "--only", "--graph=dot"],
        expect![[r#"
        digraph tasks {
          "web#build";
        }
    "#]],
    );
    lab.check(
        &["run", "build", "--filter", "core", "--graph=mermaid"],
        expect![[r#"
        graph TD
          t0["core#35;build"]
    "#]],
    );
}

#[test]
fn what_is_wrong_is_shown_with_its_line_and_ends_with_2() {
    let lab = workspace();
    lab.check(
        &["run", "builds", "--graph"],
        expect![[r#"
        ! error: no package has a task `builds`
        ! hint: did you mean `build`?
        exit code 2
    "#]],
    );
    lab.write(
        "project/packages/web/larder.toml",
        "[package]\ndepends_on = [\"kore\"]\n[tasks.test]\ncommands = \"x\"\n",
    );
    lab.check(
        &["tasks"],
        expect![[r#"
        ! error: definitions are wrong in 2 places
        ! packages/web/larder.toml:2:15: package `kore` is not in the workspace
        !   |
        ! 2 | depends_on = ["kore"]
        !   |               ^^^^^^ did you mean `core`?
        ! 
        ! packages/web/larder.toml:4:1: unknown key `commands` in [tasks.test]
        !   |
        ! 4 | commands = "x"
        !   | ^^^^^^^^ did you mean `command`?
        exit code 2
    "#]],
    );
}

#[test]
fn a_directory_without_tasks_is_told() {
    let lab = Lab::new();
    lab.check(
        &["tasks"],
        expect![[r#"
        ! error: no larder.toml and no package.json with scripts in [lab]/project or above
        ! hint: `larder init` writes a larder.toml from what is here
        exit code 2
    "#]],
    );
}

#[test]
fn what_init_writes_can_be_read() {
    let lab = Lab::new();
    lab.write(
        "project/Makefile",
        "test: ## It's \"quoted\" \\ here\n\t./t\nbuild:\n\tcc x.c\nv1.2:\n.PHONY: v1.2\n",
    );
    lab.write("project/justfile", "serve:\n    x\n");
    lab.stdout(&["init"]);
    lab.check(
        &["tasks"],
        expect![[r#"
        project#build  make build
        project#serve  just serve
        project#test   It's "quoted" \ here
        project#v1.2   make v1.2
    "#]],
    );
}
