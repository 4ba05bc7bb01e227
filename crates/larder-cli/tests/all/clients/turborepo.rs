//! Turborepo.

use super::{Built, Machine, Served, prove, said, tool, variables};

const WORKSPACE: &str =
    r#"{ "name": "shop", "private": true, "packageManager": "npm@10.0.0", "workspaces": ["packages/*"] }"#;
const PACKAGE: &str = r#"{ "name": "page", "version": "1.0.0",
    "scripts": { "build": "mkdir -p dist && seq 40000 > dist/numbers.txt" } }"#;
const LOCK: &str = r#"{ "name": "shop", "lockfileVersion": 3, "packages": {
    "": { "name": "shop", "workspaces": ["packages/*"] },
    "node_modules/page": { "resolved": "packages/page", "link": true },
    "packages/page": { "name": "page", "version": "1.0.0" } } }"#;
const TASKS: &str = r#"{ "tasks": { "build": { "outputs": ["dist/**"] } } }"#;

#[test]
fn turborepo_restores_what_another_checkout_built_signed_or_not() {
    let mut served = Served::start();
    let [settings, signed] = served.lines("turborepo", ["settings", "signed"]);
    let files = [
        ("package.json", WORKSPACE),
        ("package-lock.json", LOCK),
        ("turbo.json", TASKS),
        ("packages/page/package.json", PACKAGE),
    ];
    let turbo = tool("turbo-2.11.11/node_modules/.bin/turbo");
    for (tasks, key) in [
        (TASKS.to_owned(), None),
        (TASKS.replacen('{', &signed, 1), Some("a key of the team, and a long one")),
    ] {
        let mut machine = Machine::new(files.map(|(path, text)| (path, text.to_owned())));
        machine.files[2].1 = tasks;
        let mut build = |settings: &str| {
            let at = machine.checkout();
            let mut command = machine.command(&turbo, &at);
            command.envs(variables(settings)).envs(key.map(|key| ("TURBO_REMOTE_CACHE_SIGNATURE_KEY", key)));
            command.env("TURBO_TELEMETRY_DISABLED", "1").env("NO_UPDATE_NOTIFIER", "1");
            (said(command.args(["run", "build", "--output-logs=hash-only"])), at)
        };
        prove(&mut served, 1, |_| {
            let (said, at) = build(&settings);
            let cached = said.lines().find(|line| line.starts_with("Cached:")).unwrap();
            let hits = if cached.contains("1 cached, 1 total") { 1 } else { 0 };
            Built::with(hits, 1 - hits, &at, &["packages/page/dist/numbers.txt"])
        });
        served.prove_refused(&settings, |settings| drop(build(settings)));
    }
}
