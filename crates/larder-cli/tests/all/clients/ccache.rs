//! ccache, in both of its layouts.

use std::collections::BTreeMap;

use super::{Built, Machine, Served, prove, said};

#[test]
fn ccache_compiles_nothing_that_another_machine_compiled() {
    let mut served = Served::start();
    let [own, bazel] = served.lines("ccache", ["own", "bazel"]);
    for layout in [own, bazel] {
        let mut machine = Machine::new([("ccache.conf", layout.clone()), ("big.c", super::noisy_source())]);
        prove(&mut served, 1, |nth| {
            let at = machine.checkout();
            let ccache = |arguments: &[&str]| {
                let mut command = machine.command("ccache", &at);
                command.args(arguments).env("CCACHE_CONFIGPATH", at.join("ccache.conf"));
                // A machine that has nothing yet.
                said(command.env("CCACHE_DIR", machine.path(&format!("ccache-{nth}"))))
            };
            ccache(&["gcc", "-O1", "-c", "big.c", "-o", "big.o"]);
            let told = ccache(&["--print-stats"]);
            let counts: BTreeMap<&str, usize> = told
                .lines()
                .filter_map(|line| line.split_once('\t'))
                .filter_map(|(name, count)| Some((name, count.parse().ok()?)))
                .collect();
            assert_eq!(counts["remote_storage_error"], 0, "{told}");
            Built::with(counts["remote_storage_hit"], counts["cache_miss"], &at, &["big.o"])
        });
        served.prove_refused(&layout, |lines| {
            let at = machine.checkout();
            std::fs::write(at.join("ccache.conf"), lines).unwrap();
            let mut command = machine.command("ccache", &at);
            command.env("CCACHE_CONFIGPATH", at.join("ccache.conf")).env("CCACHE_DIR", at.join("cache"));
            said(command.args(["gcc", "-O1", "-c", "big.c", "-o", "big.o"]));
        });
    }
}
