//! Links: their text and what they lead to.

use std::collections::BTreeSet;

use expect_test::expect;
use proptest::prelude::*;

use super::*;

#[test]
fn a_link_to_a_file_is_its_text_and_the_files_content() {
    let mut lab = Lab::inputs(&["src/**"]);
    lab.file("shared", "one").link("src/link", "../shared").link("src/direct", "link");
    check_entries(
        &mut lab,
        expect![[r#"
        src/direct -> link File
        src/direct -> 644 d33fb48a
        src/link -> ../shared File
        src/link -> 644 d33fb48a
    "#]],
    );
    lab.file("shared", "two");
    check(&mut lab, expect!["~src/direct ~src/link read 2"]);
    lab.file("other", "two").remove("src/link").link("src/link", "../other");
    check(&mut lab, expect!["~src/link read 2"]);
}

#[test]
fn a_link_to_a_directory_is_followed() {
    let mut lab = Lab::inputs(&["src/**/*.txt"]);
    lab.file("shared/a.txt", "a").file("shared/deep/b.txt", "b").file("shared/c.rs", "c");
    lab.link("src/link", "../shared");
    check_entries(
        &mut lab,
        expect![[r#"
        src/link -> ../shared Directory
        src/link/a.txt 644 17762fdd
        src/link/deep/b.txt 644 10e5cf3d
    "#]],
    );
    lab.file("shared/deep/b.txt", "B").file("shared/d.txt", "d");
    check(&mut lab, expect!["+src/link/d.txt ~src/link/deep/b.txt read 2"]);
    lab.remove("src/link");
    check(
        &mut lab,
        expect![
            "-src/link -src/link/a.txt -src/link/d.txt -src/link/deep/b.txt unmatched src/**/*.txt read 0"
        ],
    );
}

#[test]
fn a_link_swapped_for_another_is_noticed() {
    let mut lab = Lab::inputs(&["**"]);
    lab.file("a", "same")
        .file("b", "same")
        .file("d/x", "x")
        .file("e/x", "x")
        .link("link", "a")
        .link("dir", "d");
    lab.scan();
    lab.remove("link").link("link", "b").remove("dir").link("dir", "e");
    check(&mut lab, expect!["~dir ~link read 2"]);
}

#[test]
fn a_link_to_nothing_is_an_entry() {
    let mut lab = Lab::inputs(&["**"]);
    lab.link("dangling", "missing")
        .link("itself", "itself")
        .link("through", "dangling/x")
        .link("null", "/dev/null");
    check_entries(
        &mut lab,
        expect![[r#"
        dangling -> missing Nowhere
        itself -> itself Nowhere
        null -> /dev/null Special
        through -> dangling/x Nowhere
    "#]],
    );
    lab.file("missing", "there now");
    check(&mut lab, expect!["+missing ~dangling read 2"]);
    lab.remove("missing");
    check(&mut lab, expect!["-missing ~dangling read 0"]);
}

#[test]
fn a_link_back_to_a_directory_that_it_is_in_is_not_followed() {
    let mut lab = Lab::inputs(&["**"]);
    lab.file("a/x", "x").link("a/up", "..").link("a/here", ".");
    check_entries(
        &mut lab,
        expect![[r#"
        a/here -> . Ancestor
        a/up -> .. Ancestor
        a/x 644 3ae7d805
    "#]],
    );
}

#[test]
fn a_link_back_is_followed_for_what_is_not_selected_without_it() {
    let check_back = |patterns: &[&str], expected: Expect| {
        let mut lab = Lab::inputs(patterns);
        lab.file("a/src/x", "x").file("a/y", "y").file("z", "z").file(".git/HEAD", "x");
        lab.link("a/src/up", "..").link("a/root", "../");
        check_entries(&mut lab, expected);
    };
    check_back(
        &["a/root/z"],
        expect![[r#"
        a/root -> ../ Directory
        a/root/z 644 1104908a
    "#]],
    );
    check_back(
        &["a/root/*"],
        expect![[r#"
        a/root -> ../ Directory
        a/root/z 644 1104908a
    "#]],
    );
    check_back(
        &["a/src/**"],
        expect![[r#"
        a/src/up -> .. Directory
        a/src/up/root -> ../ Directory
        a/src/up/root/a/root -> ../ Ancestor
        a/src/up/root/a/src/up -> .. Ancestor
        a/src/up/root/a/src/x 644 3ae7d805
        a/src/up/root/a/y 644 08112a9e
        a/src/up/root/z 644 1104908a
        a/src/up/src/up -> .. Ancestor
        a/src/up/src/x 644 3ae7d805
        a/src/up/y 644 08112a9e
        a/src/x 644 3ae7d805
    "#]],
    );
    check_back(
        &["**", "a/root/.git/HEAD"],
        expect![[r#"
        a/root -> ../ Directory
        a/root/.git/HEAD 644 3ae7d805
        a/root/a/root -> ../ Ancestor
        a/root/a/src/up -> .. Ancestor
        a/root/a/src/x 644 3ae7d805
        a/root/a/y 644 08112a9e
        a/root/z 644 1104908a
        a/src/up -> .. Ancestor
        a/src/x 644 3ae7d805
        a/y 644 08112a9e
        z 644 1104908a
    "#]],
    );
    // What is taken away where it lies is behind the link, too.
    check_back(
        &["a/**", "!a/y", "!a/root"],
        expect![[r#"
        a/src/up -> .. Ancestor
        a/src/x 644 3ae7d805
    "#]],
    );
}

#[test]
fn a_link_to_above_the_root_is_followed_only_as_far_as_patterns_say() {
    let check_out = |patterns: &[&str], expected: Expect| {
        let mut lab =
            Lab::of(|directory| FileSet::inputs(directory.join("root")).patterns(patterns.iter().copied()));
        lab.file("beside", "b").file("root/a", "a").link("root/out", "..").link("root/slash", "/");
        match lab.try_scan(None) {
            Ok(_) => check_entries(&mut lab, expected),
            Err(error) => check_error(&lab, &error, expected),
        }
    };
    check_out(
        &["out/beside", "out/root/a"],
        expect![[r#"
        out -> .. Directory
        out/beside 644 10e5cf3d
        out/root/a 644 17762fdd
    "#]],
    );
    check_out(
        &["*"],
        expect![[r#"
        a 644 17762fdd
        out -> .. Ancestor
        slash -> / Ancestor
    "#]],
    );
    check_out(
        &["**", "!slash"],
        expect![
            "link ROOT/root/out leads to a directory above ROOT/root, all of which globs would choose: leave the link out"
        ],
    );
    check_out(
        &["out/**/x"],
        expect![
            "link ROOT/root/out leads to a directory above ROOT/root, all of which globs would choose: leave the link out"
        ],
    );
    check_out(
        &["**", "!out", "!slash/**"],
        expect![[r#"
        a 644 17762fdd
        slash -> / Ancestor
    "#]],
    );
}

const ODD_GLOBS: [&str; 8] = ["**", "a/**", "a/b/c", "*/b/*", "a/*/**/c", "**/c", "b/a/**", "a/b/*/c"];

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_patterns_select_through_links_is_in_the_set_there_or_without_them(
        files in prop::collection::vec(prop::collection::vec(prop::sample::select(vec!["a", "b", "c"]), 1..4), 1..6),
        links in prop::collection::vec((prop::collection::vec(prop::sample::select(vec!["a", "b", "c"]), 1..4), prop::sample::select(vec!["", "a", "b", "a/b", "c", "b/a"])), 1..5),
        patterns in prop::collection::vec(prop::sample::select(ODD_GLOBS.to_vec()), 1..3),
    ) {
        let mut lab = Lab::inputs(&patterns);
        for file in &files {
            let path = lab.path(file.join("/"));
            // What is a file in one path may be a directory in another.
            if fs::create_dir_all(path.parent().unwrap()).is_ok() && !path.exists() {
                fs::write(&path, file.join("/")).unwrap();
            }
        }
        for (link, target) in &links {
            let path = lab.path(link.join("/"));
            if fs::create_dir_all(path.parent().unwrap()).is_ok() && path.symlink_metadata().is_err() {
                symlink(lab.path(target), path).unwrap();
            }
        }
        let scan = lab.scan();
        let files = scan.snapshot.entries().filter(|entry| matches!(entry.kind, EntryKind::File(_) | EntryKind::LinkedFile(_)));
        let selected: BTreeSet<PathBuf> = files.map(|entry| fs::canonicalize(lab.path(entry.path)).unwrap()).collect();
        let globs: Vec<_> = patterns.iter().map(|glob| larder::glob::of_paths(glob).unwrap().compile_matcher()).collect();
        let mut open = vec![PathBuf::new()];
        while let Some(path) = open.pop() {
            let whole = lab.path(&path);
            if whole.is_dir() && path.components().count() < 6 {
                open.extend(["a", "b", "c"].map(|name| path.join(name)));
            } else if whole.is_file() && globs.iter().any(|glob| glob.is_match(&path)) {
                prop_assert!(selected.contains(&fs::canonicalize(&whole).unwrap()), "{:?} {:?}", path, patterns);
            }
        }
    }
}

#[test]
fn directories_that_link_to_each_other_end() {
    let mut lab = Lab::inputs(&["**"]);
    lab.file("a/x", "x").file("b/y", "y").link("a/to_b", "../b").link("b/to_a", "../a");
    check_entries(
        &mut lab,
        expect![[r#"
        a/to_b -> ../b Directory
        a/to_b/to_a -> ../a Ancestor
        a/to_b/y 644 08112a9e
        a/x 644 3ae7d805
        b/to_a -> ../a Directory
        b/to_a/to_b -> ../b Ancestor
        b/to_a/x 644 3ae7d805
        b/y 644 08112a9e
    "#]],
    );
}

#[test]
fn a_literal_path_may_go_through_a_link() {
    let mut lab = Lab::inputs(&["link/a.txt", "missing/b.txt"]);
    lab.file("real/a.txt", "a").file("real/b.txt", "b").link("link", "real");
    check_entries(
        &mut lab,
        expect![[r#"
        link -> real Directory
        link/a.txt 644 17762fdd
    "#]],
    );
    check(&mut lab, expect!["unmatched missing/b.txt read 0"]);
}

#[test]
fn outputs_keep_links_as_they_are() {
    let mut lab = Lab::outputs(&["dist"]);
    lab.file("dist/lib.so.1", "lib")
        .link("dist/lib.so", "lib.so.1")
        .link("dist/up", "..")
        .link("dist/abs", "/etc");
    check_entries(
        &mut lab,
        expect![[r#"
        dist/ 755
        dist/abs -> /etc Unknown
        dist/lib.so -> lib.so.1 Unknown
        dist/lib.so.1 644 7b97ab9f
        dist/up -> .. Unknown
    "#]],
    );
    lab.file("dist/lib.so.1", "LIB");
    check(&mut lab, expect!["~dist/lib.so.1 read 1"]);
    lab.remove("dist/lib.so").link("dist/lib.so", "lib.so.2");
    check(&mut lab, expect!["~dist/lib.so read 0"]);
}

#[test]
fn outputs_keep_directories() {
    let mut lab = Lab::outputs(&["dist", "report-*", "!dist/tmp"]);
    lab.directory("dist/empty/deeper")
        .file("dist/full/x", "x")
        .file("report-1/index", "i")
        .file("dist/tmp/x", "x");
    check_entries(
        &mut lab,
        expect![[r#"
        dist/ 755
        dist/empty/ 755
        dist/empty/deeper/ 755
        dist/full/ 755
        dist/full/x 644 3ae7d805
        report-1/ 755
        report-1/index 644 e9c0ba08
    "#]],
    );
    lab.remove("dist/empty/deeper").mode("dist/full", 0o700).directory("dist/extra");
    check(&mut lab, expect!["+dist/extra -dist/empty/deeper ~dist/full read 0"]);
    lab.file("dist/extra/file", "");
    check(&mut lab, expect!["+dist/extra/file read 1"]);
}

#[test]
fn what_a_link_leads_to_may_come_at_any_time() {
    let mut lab = Lab::inputs(&["src/**/*.rs"]);
    lab.file("src/a.rs", "a").link("src/made", "../made");
    check(&mut lab, expect!["+src/a.rs read 1"]);
    lab.file("made/b.rs", "b");
    check(&mut lab, expect!["+src/made +src/made/b.rs read 1"]);
    lab.file("made/c.rs", "c");
    check(&mut lab, expect!["+src/made/c.rs read 1"]);
    lab.remove("made");
    check(&mut lab, expect!["-src/made -src/made/b.rs -src/made/c.rs read 0"]);
}
