//! `larder cache`: putting in, taking out, listing, removing.

use std::io::Write as _;
use std::process::Stdio;

use expect_test::expect;

use crate::lab::Lab;

fn put(lab: &Lab, value: &[u8], arguments: &[&str]) {
    let mut command = lab.command(&[&["cache", "put"], arguments].concat());
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(value).unwrap();
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_value_comes_out_as_it_was_put_in() {
    let lab = Lab::new();
    let value: Vec<u8> = (0..100_000u32).flat_map(u32::to_le_bytes).collect();
    put(&lab, &value, &["notes/blob@1/numbers"]);
    assert_eq!(lab.run(&["cache", "get", "notes/blob@1/numbers"]).stdout, value);
    lab.stdout(&["cache", "get", "notes/blob@1/numbers", "-o", "numbers"]);
    assert_eq!(std::fs::read(lab.path("project/numbers")).unwrap(), value);
    lab.stdout(&["cache", "put", "notes/blob@1/copy", "numbers"]);
    assert_eq!(lab.run(&["cache", "get", "notes/blob@1/copy"]).stdout, value);
}

#[test]
fn what_is_not_there_ends_with_1() {
    let lab = Lab::new();
    lab.check(
        &["cache", "get", "notes/text@1/none"],
        expect![[r#"
        ! notes/text@1/none is not kept
        exit code 1
    "#]],
    );
    lab.check(
        &["cache", "get", "notes"],
        expect![[r#"
        ! error: invalid value 'notes' for '<KEY>': key "notes" must be scope/kind@version/id
        ! 
        ! For more information, try '--help'.
        exit code 2
    "#]],
    );
}

#[test]
fn a_value_that_has_expired_is_not_there() {
    let lab = Lab::new();
    put(&lab, b"x", &["notes/text@1/old", "--max-age", "0 s"]);
    lab.check(
        &["cache", "get", "notes/text@1/old"],
        expect![[r#"
        ! notes/text@1/old has expired
        exit code 1
    "#]],
    );
}

#[test]
fn entries_are_selected_by_glob_and_tag_for_removal() {
    let lab = Lab::new();
    put(&lab, b"1", &["notes/text@1/a/x", "--tag", "red"]);
    put(&lab, b"2", &["notes/text@1/a/y"]);
    put(&lab, b"3", &["notes/text@1/b/x", "--tag", "red", "--tag", "blue"]);
    lab.check(
        &["cache", "invalidate", "--dry-run", "glob:notes/text@1/a/*"],
        expect![[r#"
            notes/text@1/a/x
            notes/text@1/a/y
            ! would remove 2 entries, [n] B
        "#]],
    );
    lab.check(
        &["cache", "invalidate", "--verbose", "tag:red"],
        expect![[r#"
            notes/text@1/a/x
            notes/text@1/b/x
            ! info: invalidated, selector any:*/* tag:red, removed 2
            ! removed 2 entries, [n] B
        "#]],
    );
    lab.check(&["cache", "get", "notes/text@1/a/y"], expect!["2"]);
    lab.check(
        &["cache", "get", "notes/text@1/a/x"],
        expect![[r#"
        ! notes/text@1/a/x is not kept
        exit code 1
    "#]],
    );
    lab.check(&["cache", "invalidate", "all", "--quiet"], expect![""]);
    lab.check(&["cache", "list"], expect![""]);
    lab.check(&["cache", "invalidate", "tag:"], expect![[r#"
        ! error: invalid value 'tag:' for '<SELECTOR>...': tag "" must be 1 to 256 bytes without control characters
        ! 
        ! For more information, try '--help'.
        exit code 2
    "#]]);
}

#[test]
fn entries_are_listed_in_the_order_that_is_asked_for() {
    let lab = Lab::new();
    put(&lab, &[7; 500], &["notes/text@1/large"]);
    put(&lab, b"1", &["notes/text@1/small", "--tag", "red"]);
    let names = |arguments: &[&str]| {
        let listed = lab.stdout(&[&["cache", "list"], arguments].concat());
        listed.lines().map(|line| line.rsplit('/').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(&["--sort", "size"]), ["large", "small  red"]);
    assert_eq!(names(&["--sort", "key"]), ["large", "small  red"]);
    assert_eq!(names(&["--sort", "key", "-n", "1"]), ["large"]);
    assert_eq!(names(&["tag:red"]), ["small  red"]);
    let json = lab.stdout(&["cache", "list", "tag:red", "--json"]);
    for field in ["\"key\": \"notes/text@1/small\"", "\"tags\": [\n      \"red\"", "\"created\": 1"] {
        assert!(json.contains(field), "{json}");
    }
}

#[test]
fn switches_are_told_and_not_overridden() {
    let mut lab = Lab::new();
    lab.variable("LARDER_MODE", "read");
    lab.check(
        &["cache", "put", "notes/text@1/a"],
        expect![[r#"
        ! error: nothing is kept, as the mode is read
        ! hint: `larder config show --origin mode` tells where that is set
        exit code 2
    "#]],
    );
    lab.variable("LARDER_DISK_ENABLED", "false");
    lab.check(
        &["cache", "list"],
        expect![[r#"
        ! error: the disk tier is switched off
        ! hint: `larder config show --origin disk.enabled` tells where
        exit code 2
    "#]],
    );
}

#[test]
fn a_cache_that_cannot_be_opened_is_told_with_what_to_do() {
    let lab = Lab::new();
    lab.write("project/file", "");
    lab.check(&["cache", "list", "--dir", "file"], expect![[r#"
        ! error: cannot open the cache in [lab]/project/file: tier is not usable: Not a directory (os error 20)
        ! hint: another directory can be named with --dir or LARDER_DIR
        exit code 3
    "#]]);
}

#[test]
fn statistics_tell_what_is_kept_and_leave_out_what_was_not_measured() {
    let lab = Lab::new();
    put(&lab, b"1", &["notes/text@1/a"]);
    lab.check(
        &["cache", "stats"],
        expect![[r#"
        kept       1 entry, [n] B of 10 GiB
        in         [lab]/home/.cache/larder
        asked      nothing was asked yet
    "#]],
    );
    lab.stdout(&["cache", "invalidate", "all"]);
    lab.check(
        &["cache", "stats", "--hot", "3", "--history", "day"],
        expect![[r#"
        kept       0 entries, [n] B of 10 GiB
        in         [lab]/home/.cache/larder
        asked      nothing was asked yet
    "#]],
    );
    let json = lab.stdout(&["cache", "stats", "--json"]);
    assert!(json.contains("\"quarantined\": 0"), "{json}");
    assert!(json.contains("\"all\": {\n        \"times\": 1,\n        \"entries\": 1"), "{json}");
}

#[test]
fn what_is_exported_can_be_taken_in_elsewhere() {
    let lab = Lab::new();
    put(&lab, &[7; 100_000], &["notes/blob@1/a", "--tag", "red"]);
    put(&lab, b"b", &["notes/text@1/b"]);
    put(&lab, b"c", &["other/text@1/c"]);
    lab.check(
        &["cache", "export", "moved", "scope:notes"],
        expect![[r#"
        ! wrote 2 entries and 0 blobs, [n] B
    "#]],
    );
    lab.check(
        &["cache", "import", "moved", "--dir", "elsewhere"],
        expect![[r#"
        ! took in 2 entries and 0 blobs, [n] B
    "#]],
    );
    lab.check(
        &["cache", "import", "moved", "--dir", "elsewhere"],
        expect![[r#"
        ! took in 0 entries and 0 blobs, [n] B
        ! left out 2 entries: they are here already, or were refused
    "#]],
    );
    assert_eq!(lab.run(&["cache", "get", "notes/blob@1/a", "--dir", "elsewhere"]).stdout, [7; 100_000]);
    lab.check(
        &["cache", "get", "other/text@1/c", "--dir", "elsewhere"],
        expect![[r#"
        ! other/text@1/c is not kept
        exit code 1
    "#]],
    );
    lab.write("project/cut", "LRD");
    lab.check(
        &["cache", "import", "cut"],
        expect![[r#"
        ! error: cut: export file is not whole: it is no export
        exit code 1
    "#]],
    );
    lab.check(
        &["cache", "import", "none"],
        expect![[r#"
        ! error: none: export file is not usable: No such file or directory (os error 2)
        exit code 1
    "#]],
    );
}

/// Flips a byte in the middle of the largest file of the cache.
fn damage(lab: &Lab) {
    fn files(dir: &std::path::Path, found: &mut Vec<std::path::PathBuf>) {
        for entry in std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() { files(&entry, found) } else { found.push(entry) }
        }
    }
    let mut found = Vec::new();
    files(&lab.path("home/.cache/larder/v1/blobs"), &mut found);
    found.sort_by_key(|path| path.metadata().unwrap().len());
    let mut bytes = std::fs::read(found.last().unwrap()).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(found.last().unwrap(), bytes).unwrap();
}

#[test]
fn damage_is_found_told_and_repaired() {
    let lab = Lab::new();
    // Not compressible, so that it stands in a file of its own.
    let mut state = 1u64;
    let mut noise = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u8
    };
    let noise: Vec<u8> = (0..100_000).map(|_| noise()).collect();
    put(&lab, &noise, &["notes/blob@1/a"]);
    put(&lab, b"b", &["notes/text@1/b"]);
    lab.check(
        &["cache", "verify"],
        expect![[r#"
            ! ok: 2 entries and 1 blob, 196 KiB
        "#]],
    );
    damage(&lab);
    let output = lab.run(&["cache", "verify"]);
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stdout));
    assert_eq!(lab.run(&["cache", "verify", "--json"]).status.code(), Some(1));
    lab.check(
        &["cache", "repair"],
        expect![[r#"
            ! warning: blob does not match its digest and is set aside, blob [digest]
            ! dropped 1 entry and 1 blob that were damaged
        "#]],
    );
    lab.check(
        &["cache", "verify"],
        expect![[r#"
        ! ok: 1 entry and 0 blobs, [n] B
    "#]],
    );
    lab.check(&["cache", "get", "notes/text@1/b"], expect!["b"]);
    lab.check(
        &["cache", "get", "notes/blob@1/a"],
        expect![[r#"
        ! notes/blob@1/a is not kept
        exit code 1
    "#]],
    );
}

#[test]
fn gc_keeps_to_the_limits_and_clear_leaves_nothing() {
    let lab = Lab::new();
    for name in ["a", "b", "c"] {
        put(&lab, name.as_bytes(), &[&format!("notes/text@1/{name}")]);
    }
    lab.check(
        &["cache", "gc"],
        expect![[r#"
        ! removed 0 entries and 0 blobs, [n] B
    "#]],
    );
    lab.check(
        &["cache", "gc", "--set", "disk.entries=2"],
        expect![[r#"
            ! removed 2 entries and 0 blobs, [n] B
        "#]],
    );
    assert_eq!(lab.stdout(&["cache", "list"]).lines().count(), 1);
    lab.check(
        &["cache", "clear"],
        expect![[r#"
        ! removed 1 entry, [n] B
    "#]],
    );
    assert_eq!(lab.stdout(&["cache", "list"]), "");
}

#[test]
fn what_is_put_in_and_asked_for_by_hand_counts_like_anything_else() {
    let lab = Lab::new();
    put(&lab, b"old", &["notes/text@1/a"]);
    put(&lab, b"new", &["notes/text@1/a"]);
    put(&lab, b"x", &["notes/text@1/old", "--max-age", "0 s"]);
    lab.stdout(&["cache", "get", "notes/text@1/a"]);
    for none in ["notes/text@1/none", "notes/text@1/old"] {
        assert_eq!(lab.run(&["cache", "get", none]).status.code(), Some(1));
    }
    let report: serde_json::Value = serde_json::from_str(&lab.stdout(&["cache", "stats", "--json"])).unwrap();
    let total = &report["report"]["total"];
    let disk = &total["tiers"]["disk"];
    let counts = [&disk["hits"], &total["misses"], &disk["puts"], &disk["lookups"], &disk["found"]];
    assert_eq!(counts.map(|count| count.as_u64().unwrap()), [1, 2, 3, 3, 2], "{report}");
    assert_eq!(disk["evictions"], serde_json::json!({ "replaced": 1 }), "{report}");
}

#[test]
fn gc_counts_what_left_and_why() {
    let lab = Lab::new();
    for name in ["a", "b", "c"] {
        put(&lab, name.as_bytes(), &[&format!("notes/text@1/{name}")]);
    }
    lab.stdout(&["cache", "gc", "--set", "disk.entries=2"]);
    let report: serde_json::Value = serde_json::from_str(&lab.stdout(&["cache", "stats", "--json"])).unwrap();
    assert_eq!(
        report["report"]["total"]["tiers"]["disk"]["evictions"],
        serde_json::json!({ "capacity": 2 }),
        "{report}"
    );
}

#[test]
fn clear_removes_what_fits_each_of_kind_scope_and_age() {
    let keys = ["notes/text@1/a", "notes/text@2/b", "notes/blob@1/c", "other/text@1/d"];
    let check = |arguments: &[&str], left: &[&str]| {
        let lab = Lab::new();
        for key in keys {
            put(&lab, b"value", &[key]);
        }
        lab.stdout(&[&["cache", "clear"], arguments].concat());
        let listed: serde_json::Value =
            serde_json::from_str(&lab.stdout(&["cache", "list", "--sort", "key", "--json"])).unwrap();
        let listed: Vec<_> =
            listed.as_array().unwrap().iter().map(|one| one["key"].as_str().unwrap()).collect();
        assert_eq!(listed, left, "{arguments:?}");
    };
    check(&["--kind", "text"], &["notes/blob@1/c"]);
    check(&["--kind", "text@1"], &["notes/blob@1/c", "notes/text@2/b"]);
    check(&["--scope", "other"], &keys_but(&keys, "other/text@1/d"));
    check(&["--scope", "notes", "--kind", "blob"], &keys_but(&keys, "notes/blob@1/c"));
    check(&["--older-than", "1 h"], &keys_but(&keys, ""));
    check(&["--older-than", "0 s"], &[]);
    check(&[], &[]);
}

fn keys_but<'a>(keys: &[&'a str], but: &str) -> Vec<&'a str> {
    let mut keys: Vec<_> = keys.iter().copied().filter(|key| *key != but).collect();
    keys.sort_unstable();
    keys
}

#[test]
fn clear_refuses_what_names_no_kind_or_time() {
    let lab = Lab::new();
    for arguments in [["--kind", "a b"], ["--kind", "a@x"], ["--scope", "a/b"], ["--older-than", "soon"]] {
        let output = lab.run(&[&["cache", "clear"], &arguments[..]].concat());
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    }
}
