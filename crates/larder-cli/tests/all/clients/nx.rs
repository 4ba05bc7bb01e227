//! Nx.

use super::{Built, Machine, Served, prove, said, tool, variables};

const PROJECT: &str = r#"{ "name": "page", "targets": { "build": {
    "command": "mkdir -p page/dist && seq 40000 > page/dist/numbers.txt",
    "cache": true, "outputs": ["{projectRoot}/dist"] } } }"#;
const SETTINGS: &str = r#"{ "analytics": false, "neverConnectToCloud": true, "useDaemonProcess": false }"#;

#[test]
fn nx_restores_what_another_checkout_built() {
    let mut served = Served::start();
    let [settings] = served.lines("nx", ["settings"]);
    let files = [
        ("package.json", r#"{ "name": "shop", "private": true }"#),
        ("nx.json", SETTINGS),
        ("page/project.json", PROJECT),
        (".gitignore", "node_modules\n.nx\ndist\n"),
    ];
    let mut machine = Machine::new(files.map(|(path, text)| (path, text.to_owned())));
    let modules = tool("nx-24.0.6/node_modules");
    let mut checkout = |settings: &str| {
        let at = machine.checkout();
        std::os::unix::fs::symlink(&modules, at.join("node_modules")).unwrap();
        let mut command = machine.command(at.join("node_modules/.bin/nx"), &at);
        command.envs(variables(settings)).env("NX_DAEMON", "false").env("NO_COLOR", "1");
        command.env("NX_WORKSPACE_DATA_DIRECTORY", at.join(".nx/data")).args(["run", "page:build"]);
        (at, command)
    };
    prove(&mut served, 1, |_| {
        let (at, mut command) = checkout(&settings);
        let said = said(&mut command);
        let hits = usize::from(said.contains("[remote cache]"));
        Built::with(hits, 1 - hits, &at, &["page/dist/numbers.txt"])
    });
    // Nx ends where it is turned away.
    served.prove_refused(&settings, |settings| drop(checkout(settings).1.output().unwrap()));
}
