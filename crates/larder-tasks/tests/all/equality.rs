//! The rule above all: what is given back equals what computing now would return, whatever was done to the files
//! and whenever larder was killed.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use larder::config::Mode;
use larder_tasks::job::RunOptions;
use proptest::prelude::*;

use crate::lab::Lab;

/// Two packages, one built from what the other makes.
fn pair() -> Lab {
    let lab = Lab::of(&[
        (
            "larder.toml",
            "[workspace]\nmembers = [\"p/*\"]\n[workspace.tasks.build]\ncommand = \"sh ./build.sh\"\n\
             inputs = [\"src/**\", \"build.sh\"]\noutputs = [\"dist\"]\ndepends_on = [\"^build\"]\n",
        ),
        ("p/core/larder.toml", ""),
        ("p/app/larder.toml", "[package]\ndepends_on = [\"core\"]\n"),
        (
            "p/core/build.sh",
            "mkdir -p dist/names\nfor f in src/*; do cp -P $f dist/; test -d $f || touch dist/names/${f##*/}; done\n",
        ),
        (
            "p/app/build.sh",
            "mkdir -p dist\nls ../core/dist/names > dist/names\ncat src/* ../core/dist/a > dist/all\n",
        ),
    ]);
    for package in ["core", "app"] {
        lab.write(&format!("p/{package}/src/a"), package);
    }
    lab
}

#[derive(Debug, Clone)]
enum Edit {
    Write(&'static str, &'static str, u8),
    Remove(&'static str, &'static str),
    Mode(&'static str, u32),
    Link(&'static str),
    SpoilOutput(&'static str, u8),
    RemoveOutputs,
    AddToOutputs(&'static str),
    Nothing,
}

fn edits() -> impl Strategy<Value = Edit> {
    let package = || prop::sample::select(vec!["core", "app"]);
    let name = || prop::sample::select(vec!["b", "c"]);
    prop_oneof![
        4 => (package(), prop::sample::select(vec!["a", "b", "c"]), 0u8..3).prop_map(|(p, n, c)| Edit::Write(p, n, c)),
        2 => (package(), name()).prop_map(|(p, n)| Edit::Remove(p, n)),
        1 => (package(), prop::sample::select(vec![0o644, 0o755, 0o600])).prop_map(|(p, m)| Edit::Mode(p, m)),
        1 => name().prop_map(Edit::Link),
        1 => (package(), 0u8..3).prop_map(|(p, c)| Edit::SpoilOutput(p, c)),
        1 => Just(Edit::RemoveOutputs),
        1 => package().prop_map(Edit::AddToOutputs),
        1 => Just(Edit::Nothing),
    ]
}

fn apply(lab: &Lab, edit: &Edit) {
    let source = |package: &str, name: &str| lab.path(&format!("p/{package}/src/{name}"));
    match edit {
        Edit::Write(package, name, content) => {
            let _ = fs::remove_file(source(package, name));
            lab.write(&format!("p/{package}/src/{name}"), &content.to_string());
        }
        Edit::Remove(package, name) => drop(fs::remove_file(source(package, name))),
        Edit::Mode(package, mode) => {
            fs::set_permissions(source(package, "a"), fs::Permissions::from_mode(*mode)).unwrap();
        }
        Edit::Link(name) => {
            let _ = fs::remove_file(source("core", name));
            std::os::unix::fs::symlink("a", source("core", name)).unwrap();
        }
        Edit::SpoilOutput(package, content) => {
            let file = if *package == "core" { "a" } else { "all" };
            let path = lab.path(&format!("p/{package}/dist/{file}"));
            if path.exists() {
                fs::write(path, content.to_string()).unwrap();
            }
        }
        Edit::RemoveOutputs => lab.sh("rm -rf p/*/dist"),
        Edit::AddToOutputs(package) => {
            let dist = lab.path(&format!("p/{package}/dist"));
            if dist.exists() {
                fs::write(dist.join("extra"), "extra").unwrap();
            }
        }
        Edit::Nothing => {}
    }
}

/// All that lies under `p/*/dist`: paths, modes, contents and link texts.
fn outputs(lab: &Lab) -> Vec<String> {
    let mut lines = Vec::new();
    let mut open = vec![lab.path("p/core/dist"), lab.path("p/app/dist")];
    while let Some(path) = open.pop() {
        let shown = path.strip_prefix(lab.root()).unwrap().display().to_string();
        let file = fs::symlink_metadata(&path).unwrap();
        let mode = file.permissions().mode() & 0o777;
        if file.is_dir() {
            lines.push(format!("{shown}/ {mode:o}"));
            open.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if file.is_symlink() {
            lines.push(format!("{shown} -> {}", path.read_link().unwrap().display()));
        } else {
            lines.push(format!("{shown} {mode:o} {:?}", fs::read_to_string(&path).unwrap()));
        }
    }
    lines.sort();
    lines
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, max_shrink_iters: 40, ..ProptestConfig::default() })]

    #[test]
    fn a_run_with_the_cache_equals_one_without_in_a_fresh_clone(edits in prop::collection::vec(edits(), 1..8)) {
        let lab = pair();
        lab.run(&["build"]);
        for edit in &edits {
            apply(&lab, edit);
            let added = lab.path("p/core/dist/extra").exists() || lab.path("p/app/dist/extra").exists();
            let run = lab.run(&["build"]);
            prop_assert!(run.summary.is_success(), "{}", run.lines);
            let fresh = Lab::new();
            fresh.sh(&format!("cp -a {}/. . && rm -rf p/*/dist", lab.root().display()));
            let options = RunOptions { mode: Mode::Off, ..RunOptions::default() };
            prop_assert!(fresh.run_with(&["build"], &[], &options).summary.is_success());
            if added && run.lines.contains("ran") {
                // What somebody puts among the outputs is taken away by a hit, and stays in a run.
                lab.sh("rm -f p/*/dist/extra");
            }
            prop_assert_eq!(outputs(&lab), outputs(&fresh), "{:?}\n{}", edit, run.lines);
        }
    }
}

/// Does nothing, unless another test has started it as the larder that it is going to kill.
#[test]
fn the_larder_that_is_killed() {
    if let (Some(dir), Ok(task)) = (std::env::var_os("LARDER_LAB"), std::env::var("LARDER_LAB_TASK")) {
        Lab::of_another(Path::new(&dir)).run(&[&task]);
    }
}

#[test]
fn a_kill_at_any_moment_leaves_a_cache_that_verifies_and_a_next_run_that_is_right() {
    let lab = pair();
    lab.run(&["build"]);
    let mut moment: u64 = 0x2545_f491_4f6c_dd1d;
    for n in 0..200u32 {
        // Half of the runs have an edit to see, the others something to give back.
        lab.write("p/core/src/a", &(n / 2).to_string());
        lab.sh("rm -rf p/*/dist");
        let mut larder = lab.start_as_another("build");
        moment = moment.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        std::thread::sleep(Duration::from_micros((moment >> 33) % 60_000));
        larder.kill().unwrap();
        larder.wait().unwrap();
        let run = lab.run(&["build"]);
        assert!(run.summary.is_success(), "{n}: {}", run.lines);
        let expected = format!("app{}", n / 2);
        assert_eq!(lab.read("p/app/dist/all"), expected, "{n}: {}", run.lines);
        let verified = lab.with_tasks(&[], async |tasks| tasks.disk().unwrap().verify().unwrap());
        assert_eq!(verified.found, 0, "{n}: {verified:?}");
    }
}
