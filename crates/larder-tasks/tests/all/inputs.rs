//! Which files count as inputs.

use std::sync::Arc;

use larder::source::WatchedFiles;

use crate::lab::Lab;

/// Runs a task twice, which gives its result back, and once more after an edit, which must not. `task` is what stands in
/// its table.
fn check_reads(lab: &Lab, task: &str, edit: impl Fn()) {
    lab.write("larder.toml", task);
    assert_eq!(lab.run(&["a"]).lines, "lab#a: ran, kept\n", "{task}");
    assert!(lab.run(&["a"]).lines.starts_with("lab#a: hit"), "{task}");
    edit();
    assert_eq!(lab.run(&["a"]).lines, "lab#a: ran, kept\n", "{task}");
}

#[test]
fn without_inputs_a_file_that_is_taken_out_of_outputs_counts() {
    let copies =
        "[tasks.a]\ncommand = 'mkdir -p lib; cat src/a.js > lib/a.js'\noutputs = ['**/*.js', '!src/**']\n";
    let edited = |task: &str, path: &str| {
        let lab = Lab::of(&[("src/a.js", "1"), ("dist/keep.txt", "1")]);
        check_reads(&lab, task, || lab.write(path, "2"));
    };
    edited(copies, "src/a.js");
    // For other tasks of the package as well.
    let reads = "[tasks.a]\ncommand = 'cat src/a.js'\ncache = true\n[tasks.b]\ncommand = 'true'\n";
    edited(&format!("{reads}outputs = ['**/*.js', '!src/**']\n"), "src/a.js");
    let beside =
        "[tasks.a]\ncommand = 'cat dist/keep.txt > dist/made'\noutputs = ['dist', '!dist/keep.txt']\n";
    edited(beside, "dist/keep.txt");
}

#[test]
fn without_inputs_what_a_task_takes_out_of_its_outputs_and_another_makes_does_not_count() {
    let lab = Lab::of(&[(
        "larder.toml",
        "[tasks.a]\ncommand = 'mkdir -p dist; echo a > dist/a'\noutputs = ['dist', '!dist/b']\n\
         [tasks.b]\ncommand = 'mkdir -p dist; echo b > dist/b'\noutputs = ['dist/b']\n",
    )]);
    lab.run(&["a"]);
    lab.run(&["b"]);
    assert!(lab.run(&["a"]).lines.starts_with("lab#a: hit"));
    lab.write("dist/b", "other");
    assert!(lab.run(&["a"]).lines.starts_with("lab#a: hit"));
}

#[test]
fn a_package_in_a_directory_with_any_name_has_inputs() {
    for directory in ["!a", "a\\b", "{a,b}", "[a]"] {
        let lab = Lab::of(&[("larder.toml", "[workspace]\nmembers = ['*']\n")]);
        let task = "[package]\nname = 'p'\n[tasks.a]\ncommand = 'cat in'\ncache = true\n";
        lab.write(&format!("{directory}/larder.toml"), task);
        for text in ["1", "2"] {
            lab.write(&format!("{directory}/in"), text);
            assert_eq!(lab.run(&["p#a"]).lines, "p#a: ran, kept\n", "{directory}");
        }
    }
}

#[test]
fn an_input_that_is_taken_back_from_those_that_do_not_count_counts() {
    let lab = Lab::of(&[("README.md", "1"), ("NOTES.md", "1")]);
    let ignoring = "cache = { ignore_inputs = ['*.md', '!README.md'] }\n";
    let task = format!("[tasks.a]\ncommand = 'cat README.md'\ninputs = ['*']\n{ignoring}");
    check_reads(&lab, &task, || lab.write("README.md", "2"));
    lab.write("NOTES.md", "2");
    assert!(lab.run(&["a"]).lines.starts_with("lab#a: hit"));
}

#[test]
fn what_is_read_through_a_link_to_a_directory_above_counts() {
    for (inputs, read) in [
        ("inputs = ['root/shared.txt']", "root/shared.txt"),
        ("inputs = ['root/*.txt']", "root/shared.txt"),
        ("inputs = ['src/**']", "src/up/beside.txt"),
        ("cache = true", "root/shared.txt"),
        ("cache = true", "src/up/beside.txt"),
        ("inputs = ['out/lab/shared.txt']", "out/lab/shared.txt"),
    ] {
        let lab = Lab::of(&[
            ("larder.toml", "[workspace]\nmembers = ['p/*']\n"),
            ("shared.txt", "1"),
            ("p/a/beside.txt", "1"),
        ]);
        lab.write("p/a/larder.toml", &format!("[tasks.t]\ncommand = 'cat {read}'\n{inputs}\n"));
        let is_out = inputs.contains("out");
        let out = if is_out { "ln -s ../../.. p/a/out" } else { "true" };
        lab.sh(&format!("mkdir p/a/src; ln -s ../.. p/a/root; ln -s .. p/a/src/up; {out}"));
        let run = |expected: &str| {
            let run = lab.run(&["a#t"]);
            assert!(run.lines.starts_with(expected), "{inputs} {read}: {} {:?}", run.lines, run.notes);
            assert_eq!(run.notes, [""; 0], "{inputs} {read}");
        };
        run("a#t: ran, kept");
        run("a#t: hit");
        lab.write(if read.ends_with("shared.txt") { "shared.txt" } else { "p/a/beside.txt" }, "2");
        run("a#t: ran, kept");
    }
}

#[test]
fn a_task_is_not_kept_whose_globs_lead_through_a_link_to_above_the_workspace() {
    for (inputs, is_kept) in [
        ("inputs = ['src/**']", false),
        ("cache = true", false),
        ("inputs = ['src/*']", true),
        ("inputs = ['src/**', '!src/out']", true),
        ("inputs = ['src/**', '!src/out/**']", true),
        ("cache = { ignore_inputs = ['src/out'] }\noutputs = ['o']", true),
    ] {
        let task = format!("[tasks.a]\ncommand = 'touch o'\n{inputs}\n");
        let lab = Lab::of(&[("src/a", "1"), ("larder.toml", &task)]);
        lab.sh("ln -s ../.. src/out");
        let lines = lab.run(&["a"]).lines;
        let refused = format!("link {}/src/out leads to a directory above", lab.root().display());
        assert_eq!(
            (lines.contains(&refused), lines.ends_with("kept\n")),
            (!is_kept, is_kept),
            "{inputs}: {lines}"
        );
    }
}

#[test]
fn without_inputs_the_package_is_watched_where_outputs_are_declared_kept_or_not() {
    let touched = |task: &str| {
        let lab = Lab::of(&[("larder.toml", task), ("src", "1")]);
        let graph = lab.try_graph(&["a"], &[], false).unwrap();
        let watched = Arc::new(WatchedFiles::new(&lab.root(), 100));
        lab.with_tasks(&[], async |tasks| {
            let before = tasks.watch_inputs(&graph, &watched).await;
            lab.write("src", "2");
            tasks.watch_inputs(&graph, &watched).await.touched_since(&before).count()
        })
    };
    let task = "[tasks.a]\ncommand = 'cat src > a'\n";
    assert_eq!(touched(&format!("{task}outputs = ['a']\ncache = false\n")), 1);
    assert_eq!(touched(&format!("{task}outputs = ['a']\ncache = {{ mode = 'off' }}\n")), 1);
    assert_eq!(touched(&format!("{task}outputs = ['a']\ninputs = []\ncache = false\n")), 0);
    assert_eq!(touched(&format!("{task}cache = false\n")), 0);
    assert_eq!(touched(task), 0);
}
