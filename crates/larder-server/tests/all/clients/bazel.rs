//! Bazel, over gRPC and HTTP.

use super::{Built, Machine, lines, prove, said, server};

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

#[test]
fn bazel_builds_from_what_another_checkout_built_over_either_protocol() {
    let mut lab = server();
    let [grpc, http] = lines(&lab, "bazel", ["grpc", "http"]);
    let words =
        ["WORKSPACE", "BUILD", "words.txt"].into_iter().zip(["", BUILD, "hello\n"].map(str::to_owned));
    let mut machine = Machine::new(words);
    // What one protocol put, the other gets.
    let configurations = [&grpc, &http, &http, &grpc];
    prove(&mut lab, 2, |nth| {
        let at = machine.checkout();
        std::fs::write(at.join(".bazelrc"), configurations[nth]).unwrap();
        let mut bazel = machine.command("bazel", &at);
        bazel.arg(format!("--output_user_root={}", machine.path(&format!("bazel-{nth}")).display()));
        // Without a server of its own that stays behind.
        bazel.args(["--batch", "--nohome_rc", "--host_jvm_args=-Xmx256m"]);
        let said = said(bazel.args(["build", "--spawn_strategy=local", "--color=no", "//:all"]));
        let line = said.lines().find(|line| line.contains(" processes: ")).unwrap();
        let count = |what: &str| {
            let part = line.split([':', ',', '.']).find(|part| part.ends_with(what))?;
            part.trim().split(' ').next()?.parse().ok()
        };
        let (hits, ran) = (count("remote cache hit").unwrap_or(0), count(" local").unwrap_or(0));
        let outputs = ["numbers.txt", "sorted.txt", "count.txt"].map(|name| format!("bazel-bin/{name}"));
        Built::with(hits, ran, &at, &outputs.each_ref().map(String::as_str))
    });
}
