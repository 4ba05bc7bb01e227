//! Links: their text and what they lead to.

use expect_test::expect;

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
    lab.file("a/x", "x").link("a/up", "..").link("a/here", ".").link("above", "../..").link("slash", "/");
    check_entries(
        &mut lab,
        expect![[r#"
        a/here -> . Ancestor
        a/up -> .. Ancestor
        a/x 644 3ae7d805
        above -> ../.. Ancestor
        slash -> / Ancestor
    "#]],
    );
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
