//! moon, over gRPC and HTTP.

use super::{Built, Machine, Served, prove, said, tool, variables};

const WORKSPACE: &str = "projects:\n  page: 'page'\ntelemetry: false\n";
const PROJECT: &str = "
tasks:
  build:
    command: 'sh build.sh'
    inputs: ['build.sh']
    outputs: ['dist']
";

#[test]
fn moon_restores_what_another_checkout_built_over_each_protocol() {
    let mut served = Served::start();
    let [grpc, http, token] = served.lines("moon", ["grpc", "http", "token"]);
    let script = "mkdir -p dist && seq 40000 > dist/numbers.txt && echo built\n";
    let mut machine = Machine::new(
        [("page/moon.yml", PROJECT), ("page/build.sh", script), (".gitignore", ".moon/cache\ndist\n")]
            .map(|(path, text)| (path, text.to_owned())),
    );
    let moon = tool("moonrepo-cli-2.5.5/node_modules/.bin/moon");
    let mut build = |remote: &str, token: &str| {
        let at = machine.checkout();
        std::fs::create_dir(at.join(".moon")).unwrap();
        std::fs::write(at.join(".moon/workspace.yml"), format!("{WORKSPACE}{remote}")).unwrap();
        for arguments in [&["init", "-q"][..], &["add", "-A"], &["commit", "-qm", "all"]] {
            let identity = ["-c", "user.name=ada", "-c", "user.email=ada@example.com"];
            said(machine.command("git", &at).args(identity).args(arguments));
        }
        let mut command = machine.command(&moon, &at);
        command.envs(variables(token)).env("NO_COLOR", "1");
        (said(command.args(["run", "page:build"])), at)
    };
    for remote in [grpc, http] {
        prove(&mut served, 1, |_| {
            let (said, at) = build(&remote, &token);
            let hits = usize::from(said.contains("cached from remote"));
            Built::with(hits, 1 - hits, &at, &["page/dist/numbers.txt"])
        });
        served.prove_refused(&token, |token| drop(build(&remote, token)));
    }
}
