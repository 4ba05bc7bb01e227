//! Which tasks a request means, in which order, and which requests have no answer.

use std::time::Duration;

use expect_test::{Expect, expect};
use larder_tasks::check;

use crate::lab::Lab;

/// Packages with what each depends on, all with the tasks of `template`.
fn lab(template: &str, packages: &[(&str, &[&str], &str)]) -> Lab {
    let lab = Lab::new();
    lab.write("larder.toml", &format!("[workspace]\nmembers = [\"p/*\"]\n{template}"));
    for (name, on, rest) in packages {
        lab.write(&format!("p/{name}/larder.toml"), &format!("[package]\ndepends_on = {on:?}\n{rest}"));
    }
    lab
}

const BUILD: &str = "[workspace.tasks.build]\ncommand = \"x\"\ndepends_on = [\"^build\"]\n";
const OWN_BUILD: &str = "[tasks.build]\ncommand = \"x\"\ndepends_on = [\"^build\"]\n";

fn diamond() -> Lab {
    lab(
        &format!("{BUILD}[workspace.tasks.test]\ncommand = \"t\"\ndepends_on = [\"build\"]\n"),
        &[
            ("app", &["left", "right"], ""),
            ("left", &["base"], ""),
            ("right", &["base"], ""),
            ("base", &[], ""),
        ],
    )
}

fn check_graph(lab: &Lab, tasks: &[&str], filters: &[&str], expected: Expect) {
    expected.assert_eq(&lab.graph(tasks, filters, false));
}

#[test]
fn each_task_comes_after_what_it_needs() {
    check_graph(
        &diamond(),
        &["build"],
        &[],
        expect![[r#"
            base#build
            left#build <- base#build
            right#build <- base#build
            app#build <- left#build, right#build
        "#]],
    );
    check_graph(
        &diamond(),
        &["left#test", "base#build"],
        &[],
        expect![[r#"
            base#build
            left#build <- base#build
            left#test <- left#build
        "#]],
    );
}

#[test]
fn packages_without_the_task_stand_for_those_that_they_depend_on() {
    let lab = lab(
        "",
        &[
            ("app", &["glue", "types"], OWN_BUILD),
            ("glue", &["more-glue", "base"], ""),
            ("more-glue", &["base", "glue"], ""),
            ("types", &[], ""),
            ("base", &[], OWN_BUILD),
        ],
    );
    check_graph(&lab, &["app#build"], &[], expect!["base#build\napp#build <- base#build\n"]);
}

#[test]
fn only_leaves_out_dependencies_and_keeps_the_order() {
    let lab = diamond();
    assert_eq!(lab.graph(&["test"], &["app", "base"], true), "base#test\napp#test\n");
    assert_eq!(lab.graph(&["app#test", "base#build"], &[], true), "base#build\napp#test <- base#build\n");
}

#[test]
fn filters_choose_by_name_directory_and_relation() {
    let check = |filters: &[&str], expected: &str| {
        let names = diamond().graph(&["build"], filters, true);
        let names: Vec<&str> = names.lines().map(|line| line.split('#').next().unwrap()).collect();
        assert_eq!(names.join(" "), expected, "{filters:?}");
    };
    check(&["left"], "left");
    check(&["*t"], "left right");
    check(&["left..."], "base left");
    check(&["left^..."], "base");
    check(&["...left"], "left app");
    check(&["...^base"], "left right app");
    check(&["...left..."], "base left app");
    check(&["./p/l*", "{p/base}"], "base left");
    check(&["./p"], "base left right app");
    check(&["!left"], "base right app");
    check(&["!app", "...left"], "left");
}

#[test]
fn filters_that_choose_nothing_say_so() {
    let check = |tasks: &[&str], filters: &[&str], expected: Expect| {
        check_graph(&diamond(), tasks, filters, expected)
    };
    check(&["build"], &["lfet"], expect!["filter \"lfet\" matches no package; did you mean `left`?\n"]);
    check(&["build"], &["./nowhere"], expect!["filter \"./nowhere\" matches no package\n"]);
    check(
        &["build"],
        &["[HEAD~1]", "..."],
        expect![[r#"
            filter "[HEAD~1]" is not understood: a range of commits cannot be given here

            filter "..." is not understood: it names no package
        "#]],
    );
    check(&["build"], &["//"], expect!["no package that the filters choose has a task `build`\n"]);
}

#[test]
fn tasks_and_packages_that_do_not_exist_get_a_suggestion() {
    let check = |tasks: &[&str], expected: Expect| check_graph(&diamond(), tasks, &[], expected);
    check(&["biuld"], expect!["no package has a task `biuld`; did you mean `build`?\n"]);
    check(&["frobnicate"], expect!["no package has a task `frobnicate`; there are: build, test\n"]);
    check(&["lft#build"], expect!["package `lft` is not in the workspace; did you mean `left`?\n"]);
    check(&["left#tset"], expect!["package `left` has no task `tset`; did you mean `test`?\n"]);
    check(
        &["^build", "a b"],
        expect![[r#"
            task "^build" must not start with '^' on the command line; `--filter` chooses packages

            task "a b" must not contain white space or control characters
        "#]],
    );
}

#[test]
fn dependencies_that_do_not_exist_are_pointed_at() {
    let own = "[tasks.a]\ncommand = \"x\"\ndepends_on = [\"gne\", \"^biuld\", \"bse#gen\"]\n[tasks.gen]\ncommand = \"x\"\n";
    check_graph(
        &lab("", &[("app", &["base"], own), ("base", &[], OWN_BUILD)]),
        &["a"],
        &[],
        expect![[r#"
            p/app/larder.toml:5:15: package `app` has no task `gne`
              |
            5 | depends_on = ["gne", "^biuld", "bse#gen"]
              |               ^^^^^ did you mean `gen`?

            p/app/larder.toml:5:22: no package has a task `biuld`
              |
            5 | depends_on = ["gne", "^biuld", "bse#gen"]
              |                      ^^^^^^^^ did you mean `build`?

            p/app/larder.toml:5:32: package `bse` is not in the workspace
              |
            5 | depends_on = ["gne", "^biuld", "bse#gen"]
              |                                ^^^^^^^^^ did you mean `base`?
        "#]],
    );
}

#[test]
fn a_template_may_name_a_task_that_only_some_packages_have() {
    let template = "[workspace.tasks.build]\ncommand = \"x\"\ndepends_on = [\"gen\"]\n";
    let own = "[tasks.gen]\ncommand = \"x\"\n";
    let lab = lab(template, &[("a", &[], own), ("b", &[], "")]);
    check_graph(&lab, &["build"], &[], expect!["a#gen\na#build <- a#gen\nb#build\n"]);
    lab.write("p/a/larder.toml", "");
    check_graph(
        &lab,
        &["build"],
        &[],
        expect![[r#"
            larder.toml:5:15: no package has a task `gen`
              |
            5 | depends_on = ["gen"]
              |               ^^^^^
        "#]],
    );
}

#[test]
fn a_circle_is_named_in_full() {
    let packages: &[(&str, &[&str], &str)] =
        &[("a", &["b"], ""), ("b", &["c"], ""), ("c", &["a"], ""), ("d", &["a"], "")];
    check_graph(
        &lab(BUILD, packages),
        &["d#build"],
        &[],
        expect![[r#"
            larder.toml:5:15: tasks wait for each other in a circle: a#build -> b#build -> c#build -> a#build
              |
            5 | depends_on = ["^build"]
              |               ^^^^^^^^
        "#]],
    );
    let own = "[tasks.x]\ncommand = \"x\"\ndepends_on = [\"x\"]\n";
    check_graph(
        &lab("", &[("a", &[], own)]),
        &["x"],
        &[],
        expect![[r#"
            p/a/larder.toml:5:15: tasks wait for each other in a circle: a#x -> a#x
              |
            5 | depends_on = ["x"]
              |               ^^^
        "#]],
    );
}

#[test]
fn waiting_for_a_persistent_task_is_refused() {
    let own = "[tasks.dev]\ncommand = \"x\"\npersistent = true\n[tasks.test]\ncommand = \"x\"\ndepends_on = [\"dev\"]\n";
    check_graph(
        &lab("", &[("a", &[], own)]),
        &["test"],
        &[],
        expect![[r#"
            p/a/larder.toml:8:15: `a#test` depends on `a#dev`, which is persistent and never ends
              |
            8 | depends_on = ["dev"]
              |               ^^^^^
        "#]],
    );
}

#[test]
fn a_chain_of_ten_thousand_tasks_is_ordered() {
    let mut text = "[tasks.t0]\ncommand = \"x\"\n".to_owned();
    for n in 1..10_000 {
        text += &format!("[tasks.t{n}]\ncommand = \"x\"\ndepends_on = [\"t{}\"]\n", n - 1);
    }
    let graph = Lab::of(&[("larder.toml", &text)]).try_graph(&["t9999"], &[], false).unwrap();
    assert_eq!(graph.nodes().len(), 10_000);
    let priorities = graph.priorities(|_| Duration::from_secs(1));
    assert_eq!((priorities[0].as_secs(), priorities[9_999].as_secs()), (10_000, 1));
}

#[test]
fn the_longest_chain_has_priority() {
    let graph = diamond().try_graph(&["build"], &[], false).unwrap();
    let cost = |task: &larder_tasks::task::Task| match &*task.id.package {
        "right" => Duration::from_secs(5),
        _ => Duration::from_secs(1),
    };
    let priorities: Vec<u64> = graph.priorities(cost).iter().map(Duration::as_secs).collect();
    assert_eq!(priorities, [7, 2, 6, 1]);
}

#[test]
fn the_graph_draws_as_dot_and_mermaid() {
    let graph = lab(BUILD, &[("a", &[], ""), ("b", &["a"], "")]).try_graph(&["build"], &[], false).unwrap();
    expect![[r#"
        digraph tasks {
          "a#build";
          "b#build";
          "b#build" -> "a#build";
        }
        graph TD
          t0["a#35;build"]
          t1["b#35;build"]
          t1 --> t0
    "#]]
    .assert_eq(&(graph.to_dot() + &graph.to_mermaid()));
}

fn check_outputs(manifest: &str, expected: Expect) {
    let lab = Lab::of(&[("larder.toml", manifest), ("p/a/x", "")]);
    let workspace = lab.load().unwrap_or_else(|_| panic!("{}", lab.complaint()));
    let found = check::tasks(&workspace, workspace.tasks().map(|task| &**task));
    expected.assert_eq(&found.map_or_else(|problems| problems.render(), |()| "nothing\n".to_owned()));
}

#[test]
fn an_output_that_is_also_an_input_is_pointed_at() {
    check_outputs(
        "[tasks.a]\ncommand = \"x\"\ninputs = [\"**/*.js\", \"gen/*.txt\"]\noutputs = [\"dist/app.js\", \"gen\"]\n",
        expect![[r#"
            larder.toml:4:12: output "dist/app.js" of `lab#a` is also its input "**/*.js"
              |
            4 | outputs = ["dist/app.js", "gen"]
              |            ^^^^^^^^^^^^^ add "!dist/app.js" to the inputs

            larder.toml:4:27: output "gen" of `lab#a` is also its input "gen/*.txt"
              |
            4 | outputs = ["dist/app.js", "gen"]
              |                           ^^^^^ add "!gen" to the inputs
        "#]],
    );
    let fine = |inputs: &str, outputs: &str| {
        let text = format!("[tasks.a]\ncommand = \"x\"\ninputs = [{inputs}]\noutputs = [{outputs}]\n");
        check_outputs(&text, expect!["nothing\n"]);
    };
    fine("'**/*.js', '!dist'", "'dist/app.js'");
    fine("'**', '!dist/**'", "'dist'");
    fine("'src/**'", "'dist', 'srcs'");
    fine("'*.c'", "'*.o'");
}

#[test]
fn an_output_that_holds_sources_is_pointed_at() {
    check_outputs(
        "[workspace]\nmembers = [\"p/*\"]\n[tasks.a]\ncommand = \"x\"\noutputs = [\".\", \"p\", \"**\"]\n",
        expect![[r#"
            larder.toml:5:12: output "." of `lab#a` contains its package
              |
            5 | outputs = [".", "p", "**"]
              |            ^^^

            larder.toml:5:17: output "p" of `lab#a` contains package `a`
              |
            5 | outputs = [".", "p", "**"]
              |                 ^^^

            larder.toml:5:22: output "**" of `lab#a` contains larder.toml, where tasks are defined
              |
            5 | outputs = [".", "p", "**"]
              |                      ^^^^
        "#]],
    );
}

#[test]
fn two_tasks_that_write_one_path_are_pointed_at() {
    check_outputs(
        r#"[tasks.a]
command = "x"
outputs = ["dist", "same", "x/*.o"]
[tasks.b]
command = "x"
outputs = ["dist/b.js", "same", "x/y.o", "dist-b"]
[tasks.c]
command = "x"
outputs = ["x/*.o"]
cache = { ignore_inputs = ["x"] }
[tasks.d]
command = "x"
outputs = ["d", "!d/e"]
[tasks.e]
command = "x"
outputs = ["d/e"]
"#,
        expect![[r#"
            larder.toml:3:28: `lab#b` and `lab#a` both write "x/y.o"
              |
            3 | outputs = ["dist", "same", "x/*.o"]
              |                            ^^^^^^^

            larder.toml:6:12: `lab#a` and `lab#b` both write "dist/b.js"
              |
            6 | outputs = ["dist/b.js", "same", "x/y.o", "dist-b"]
              |            ^^^^^^^^^^^

            larder.toml:6:25: `lab#a` and `lab#b` both write "same"
              |
            6 | outputs = ["dist/b.js", "same", "x/y.o", "dist-b"]
              |                         ^^^^^^

            larder.toml:9:12: `lab#a` and `lab#c` both write "x/*.o"
              |
            9 | outputs = ["x/*.o"]
              |            ^^^^^^^

            larder.toml:9:12: `lab#b` and `lab#c` both write "x/y.o"
              |
            9 | outputs = ["x/*.o"]
              |            ^^^^^^^
        "#]],
    );
}
