//! sccache, over WebDAV.

use super::{Built, Machine, Served, prove, said, tool, variables};

#[test]
fn sccache_compiles_nothing_that_another_machine_compiled() {
    let mut served = Served::start();
    let [settings] = served.lines("sccache", ["webdav"]);
    let mut machine = Machine::new([("big.c", super::noisy_source())]);
    let sccache = tool("sccache-0.16.0/bin/sccache");
    prove(&mut served, 1, |nth| {
        let at = machine.checkout();
        let run = |arguments: &[&str]| {
            let mut command = machine.command(&sccache, &at);
            command.envs(variables(&settings)).env("SCCACHE_SERVER_UDS", machine.path("sccache.sock"));
            said(command.args(arguments).env("SCCACHE_DIR", machine.path(&format!("sccache-{nth}"))))
        };
        run(&["--start-server"]);
        run(&["gcc", "-O1", "-c", "big.c", "-o", "big.o"]);
        let told: serde_json::Value =
            serde_json::from_str(&run(&["--show-stats", "--stats-format=json"])).unwrap();
        run(&["--stop-server"]);
        let count = |what: &str| {
            let counts = told["stats"][what]["counts"].as_object().unwrap();
            counts.values().map(|count| count.as_u64().unwrap() as usize).sum()
        };
        Built::with(count("cache_hits"), count("cache_misses"), &at, &["big.o"])
    });
    served.prove_refused(&settings, |settings| {
        let at = machine.checkout();
        let mut command = machine.command(&sccache, &at);
        command.envs(variables(settings)).env("SCCACHE_SERVER_UDS", machine.path("sccache.sock"));
        // Its own server asks before it begins, and does not.
        assert!(!command.arg("--start-server").output().unwrap().status.success());
    });
}
