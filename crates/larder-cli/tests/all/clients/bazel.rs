//! Bazel, over gRPC and HTTP.

use std::path::PathBuf;
use std::process::Command;

use super::{Built, Machine, Served, prove, said};

const BUILD: &str = r#"
genrule(
    name = "numbers",
    srcs = ["words.txt"],
    outs = ["numbers.txt"],
    cmd = "seq 40000 > $@; cat $< >> $@",
)

genrule(
    name = "sorted",
    srcs = [":numbers"],
    outs = ["sorted.txt", "count.txt"],
    cmd = "sort -r $< > $(location sorted.txt); wc -l < $< > $(location count.txt)",
)
"#;

/// A checkout with these lines, and a build in it.
fn checkout(machine: &mut Machine, lines: &str) -> (PathBuf, Command) {
    let at = machine.checkout();
    std::fs::write(at.join(".bazelrc"), lines).unwrap();
    let mut bazel = machine.command("bazel", &at);
    bazel.arg(format!("--output_user_root={}", at.with_extension("bazel").display()));
    // Without a server of its own that stays behind.
    bazel.args(["--batch", "--nohome_rc", "--host_jvm_args=-Xmx256m"]);
    bazel.args(["build", "--spawn_strategy=local", "--color=no", "//:all"]);
    (at, bazel)
}

#[test]
fn bazel_builds_from_what_another_checkout_built_over_either_protocol() {
    let mut served = Served::start();
    let [grpc, http] = served.lines("bazel", ["grpc", "http"]);
    let words =
        ["WORKSPACE", "BUILD", "words.txt"].into_iter().zip(["", BUILD, "hello\n"].map(str::to_owned));
    let mut machine = Machine::new(words);
    // What one protocol put, the other gets.
    let configurations = [&grpc, &http, &http, &grpc];
    prove(&mut served, 2, |nth| {
        let (at, mut bazel) = checkout(&mut machine, configurations[nth]);
        let said = said(&mut bazel);
        let line = said.lines().find(|line| line.contains(" processes: ")).unwrap();
        let count = |what: &str| {
            let part = line.split([':', ',', '.']).find(|part| part.ends_with(what))?;
            part.trim().split(' ').next()?.parse().ok()
        };
        let (hits, ran) = (count("remote cache hit").unwrap_or(0), count(" local").unwrap_or(0));
        let outputs = ["numbers.txt", "sorted.txt", "count.txt"].map(|name| format!("bazel-bin/{name}"));
        Built::with(hits, ran, &at, &outputs.each_ref().map(String::as_str))
    });
    for lines in [&grpc, &http] {
        served.prove_refused(lines, |lines| drop(checkout(&mut machine, lines).1.output().unwrap()));
    }
}
