//! What patterns select.

use expect_test::expect;
use larder::source::PatternError;
use proptest::prelude::*;

use super::*;

/// A tree of empty files, and those that `patterns` select in it.
fn check_selected(tree: &[&str], patterns: &[&str], expected: &[&str]) {
    let mut lab = Lab::inputs(patterns);
    for path in tree {
        lab.file(path, "");
    }
    let scan = lab.scan();
    let paths: Vec<_> = scan.snapshot.entries().map(|entry| entry.path.to_str().unwrap()).collect();
    assert_eq!(paths, expected, "{patterns:?}");
}

const TREE: &[&str] = &[
    ".env",
    ".git/HEAD",
    ".git/index",
    "README.md",
    "build.sh",
    "packages/core/dist/core.js",
    "packages/core/src/.hidden.rs",
    "packages/core/src/lib.rs",
    "packages/web/dist/web.js",
    "packages/web/src/main.rs",
    "src/a.rs",
    "src/a.test.rs",
    "src/b.txt",
    "src/deep/c.rs",
    "src/deep/er/d.rs",
];

#[test]
fn patterns_select_what_their_language_says() {
    let check = |patterns: &[&str], expected: &[&str]| check_selected(TREE, patterns, expected);
    let below_src = ["src/a.rs", "src/a.test.rs", "src/b.txt", "src/deep/c.rs", "src/deep/er/d.rs"];
    check(&["src/**"], &below_src);
    check(&["src"], &below_src);
    check(&["./src//"], &below_src);
    check(&["src/./**"], &below_src);
    check(&["src/*"], &["src/a.rs", "src/a.test.rs", "src/b.txt"]);
    check(&["src/*.rs"], &["src/a.rs", "src/a.test.rs"]);
    check(&["src/**/*.rs"], &["src/a.rs", "src/a.test.rs", "src/deep/c.rs", "src/deep/er/d.rs"]);
    check(&["*"], &[".env", "README.md", "build.sh"]);
    check(&["*.md", "b?ild.sh"], &["README.md", "build.sh"]);
    check(&["src/[ab].{rs,txt}"], &["src/a.rs", "src/b.txt"]);
    check(&["src/[!a]*"], &["src/b.txt"]);
    check(
        &["{src,packages/core/src}/*.rs"],
        &["packages/core/src/.hidden.rs", "packages/core/src/lib.rs", "src/a.rs", "src/a.test.rs"],
    );
    check(&["packages/*/dist"], &["packages/core/dist/core.js", "packages/web/dist/web.js"]);
    check(&["**/dist"], &["packages/core/dist/core.js", "packages/web/dist/web.js"]);
    check(&["**/deep/**/d.rs"], &["src/deep/er/d.rs"]);
    check(&["**/d.rs", "**/**/c.rs"], &["src/deep/c.rs", "src/deep/er/d.rs"]);
    check(&["src/a*.rs"], &["src/a.rs", "src/a.test.rs"]);
    check(&["src/*.*.*"], &["src/a.test.rs"]);
    check(&["build.sh/"], &[]);
    check(&["nothing/**", "src/b.txt/x"], &[]);
    check(&[], &[]);
}

#[test]
fn the_last_pattern_that_matches_decides() {
    let check = |patterns: &[&str], expected: &[&str]| check_selected(TREE, patterns, expected);
    check(&["src/**", "!**/*.rs"], &["src/b.txt"]);
    check(&["src/**", "!src/deep"], &["src/a.rs", "src/a.test.rs", "src/b.txt"]);
    check(
        &["src/**", "!src/deep/**", "src/deep/er/d.rs"],
        &["src/a.rs", "src/a.test.rs", "src/b.txt", "src/deep/er/d.rs"],
    );
    check(&["!src/deep/**", "src/deep/**"], &["src/deep/c.rs", "src/deep/er/d.rs"]);
    check(&["!src/**"], &[]);
}

#[test]
fn what_git_keeps_is_selected_only_by_name() {
    let check = |patterns: &[&str], expected: &[&str]| check_selected(TREE, patterns, expected);
    let but_git: Vec<_> = TREE.iter().copied().filter(|path| !path.starts_with(".git/")).collect();
    check(&["**"], &but_git);
    check(&["**/*"], &but_git);
    check(&["."], &but_git);
    check(&["*/HEAD", "**/HEAD", ".gi?/HEAD"], &[]);
    check(&[".git/HEAD"], &[".git/HEAD"]);
    check(&[".git/HEAD", "src/*.txt", "**/*.md"], &[".git/HEAD", "README.md", "src/b.txt"]);
    check(&[".git/HEAD", "**", "!packages", "!src"], &[".env", ".git/HEAD", "README.md", "build.sh"]);
}

#[test]
fn quoted_characters_stand_for_themselves() {
    let tree = ["pages/[id].tsx", "pages/i.tsx", "a{b", "star*", "starry"];
    check_selected(&tree, &[r"pages/\[id\].tsx"], &["pages/[id].tsx"]);
    check_selected(&tree, &["pages/[id].tsx"], &["pages/i.tsx"]);
    check_selected(&tree, &[r"a\{b", r"star\*"], &["a{b", "star*"]);
    check_selected(&tree, &["a[{]b"], &["a{b"]);
}

#[test]
fn excludes_win_over_every_pattern() {
    let mut lab = Lab::of(|root| FileSet::inputs(root).patterns(["**"]).excludes(["dist", "*.log", "tmp-*"]));
    lab.file("dist/x", "").file("a.log", "").file("b/a.log", "").file("tmp-1/x", "").file("src/a", "");
    check(&mut lab, expect!["+b/a.log +src/a read 2"]);
}

#[test]
fn what_one_list_of_excludes_takes_back_another_leaves_out_all_the_same() {
    let mut lab = Lab::of(|root| {
        let set = FileSet::inputs(root).patterns(["a/**", "b/x"]);
        set.excludes(["a/dist", "!a/dist/kept", "!b"])
            .excludes(["**/*.js", "!a/src/**"])
            .excludes(["a/src/gen"])
    });
    for path in [
        "a/dist/x",
        "a/dist/kept/x",
        "a/dist/kept/x.js",
        "a/x.js",
        "a/src/x.js",
        "a/src/gen/x.js",
        "b/x",
        "b/y",
    ] {
        lab.file(path, "");
    }
    check(&mut lab, expect!["+a/dist/kept/x +a/src/x.js +b/x read 3"]);
}

fn arb_patterns() -> impl Strategy<Value = Vec<String>> {
    let part = prop::sample::select(vec!["a", "b", "*", "a*", "**", "{a,b}", "[ab]"]);
    let path = prop::collection::vec(part, 1..4).prop_map(|parts| parts.join("/"));
    let signed =
        (prop::bool::ANY, path).prop_map(|(not, path)| format!("{}{path}", if not { "!" } else { "" }));
    prop::collection::vec(signed, 0..5)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn excludes_leave_out_what_outputs_with_their_patterns_have(
        files in prop::collection::vec(prop::collection::vec(prop::sample::select(vec!["a", "b", "ab"]), 1..4), 1..12),
        lists in prop::collection::vec(arb_patterns(), 1..3),
    ) {
        let mut lab = Lab::inputs(&["**"]);
        for file in &files {
            let path = lab.path(file.join("/"));
            // What is a file in one path may be a directory in another.
            if fs::create_dir_all(path.parent().unwrap()).is_ok() && !path.exists() {
                fs::write(&path, "").unwrap();
            }
        }
        let files = |lab: &mut Lab, set: FileSetBuilder| {
            lab.set = set.build().unwrap();
            let entries = lab.scan().snapshot;
            let files = entries.entries().filter(|entry| entry.kind != EntryKind::Directory);
            files.map(|entry| entry.path.to_owned()).collect::<std::collections::BTreeSet<_>>()
        };
        let root = lab.directory.path().to_owned();
        let mut expected = files(&mut lab, FileSet::inputs(&root).patterns(["**"]));
        for list in &lists {
            let outputs = files(&mut lab, FileSet::outputs(&root).patterns(list.clone()));
            expected.retain(|path| !outputs.contains(path));
        }
        let set = FileSet::inputs(&root).patterns(["**"]);
        let left = files(&mut lab, lists.iter().cloned().fold(set, FileSetBuilder::excludes));
        prop_assert_eq!(left, expected, "{:?}", lists);
    }
}

#[test]
fn patterns_that_select_nothing_are_told() {
    let mut lab =
        Lab::inputs(&["src/**", "src/a.rs", "lib/**", "{x,y}.toml", "!src/b.rs", "!nothing", "empty"]);
    lab.file("src/a.rs", "").file("y.toml", "").directory("empty");
    check(&mut lab, expect!["+src/a.rs +y.toml unmatched lib/** unmatched empty read 2"]);
    check(&mut lab, expect!["unmatched lib/** unmatched empty read 0"]);
    lab.file("lib/x", "").remove("y.toml");
    check(&mut lab, expect!["+lib/x -y.toml unmatched {x,y}.toml unmatched empty read 1"]);
}

#[test]
fn literal_paths_are_asked_for_without_listing() {
    let mut lab = Lab::inputs(&["a/deep/x", "{b,c}/y", "*.md"]);
    for n in 0..50 {
        lab.file(format!("a/deep/{n}"), "").file(format!("b/{n}"), "");
    }
    lab.file("a/deep/x", "").file("b/y", "");
    let scan = lab.scan();
    assert_eq!(scan.snapshot.len(), 2);
    let counts = lab.scan().counts;
    assert_eq!((counts.directories, counts.looked_at), (0, 5), "a, a/deep, a/deep/x, b and b/y");
}

#[test]
fn a_pattern_that_is_not_well_formed_is_refused_by_name() {
    let check = |pattern: &str, expected: Expect| {
        let error = FileSet::inputs("/").patterns(["ok", pattern]).build().unwrap_err();
        let SourceError::Pattern { pattern: named, source } = error else { panic!("{error}") };
        assert_eq!(named, pattern);
        expected.assert_eq(&source.to_string());
    };
    check("", expect!["it is empty"]);
    check("!", expect!["it is empty"]);
    check("/etc/passwd", expect!["it must be relative to the directory that it is anchored at"]);
    check("../other/**", expect!["it leads out of the directory that it is anchored at"]);
    check("src/../../other", expect!["it leads out of the directory that it is anchored at"]);
    check("src/[a-", expect!["unclosed character class; missing ']'"]);
    check("src/{a,b", expect!["its braces do not pair up"]);
    check("src/a}", expect!["its braces do not pair up"]);
    check("src/[z-a]", expect!["invalid range; 'z' > 'a'"]);
    check("src\\", expect![[r#"dangling '\'"#]]);
    check(
        "{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}",
        expect!["its braces stand for more than 256 patterns"],
    );
    check(&"{".repeat(100_000), expect!["it is longer than 16384 bytes"]);
    check(
        &format!("{}a{}", "{".repeat(300), "}".repeat(300)),
        expect!["its braces are nested more than 32 deep"],
    );
    let error = FileSet::outputs("/").excludes(["{"]).build().unwrap_err();
    assert!(matches!(error, SourceError::Pattern { source: PatternError::Braces, .. }));
}
