//! What git ignores.

use expect_test::expect;
use larder::source::GitIgnores;
use proptest::prelude::*;

use super::*;

fn lab(patterns: &[&str]) -> Lab {
    let patterns: Vec<_> = patterns.iter().map(|&pattern| pattern.to_owned()).collect();
    let git = || Ignore::Git(GitIgnores::new());
    Lab::of(|root| FileSet::inputs(root).patterns(patterns.clone()).ignore(git()))
}

/// Turns to the set of everything in a subdirectory, with rules read anew.
fn turn_to(lab: &mut Lab, path: &str) {
    let set = FileSet::inputs(lab.path(path)).patterns(["**"]).ignore(Ignore::Git(GitIgnores::new()));
    lab.set = set.build().unwrap();
}

#[test]
fn ignored_files_are_left_out() {
    let mut lab = lab(&["**"]);
    lab.directory(".git").file(".git/info/exclude", "secret\n");
    lab.file(
        ".gitignore",
        "# comment\n/dist\n*.log\n!keep.log\nbuild/\n\nsrc/gen/*\n!src/gen/kept\ntrailing \n",
    );
    for path in [
        "a.log",
        "keep.log",
        "deep/b.log",
        "dist/x",
        "deep/dist",
        "build/x",
        "deep/build",
        "secret",
        "deep/secret",
        "src/gen/lost",
        "src/gen/kept",
        "src/lib",
        "trailing",
    ] {
        lab.file(path, "");
    }
    check(&mut lab, expect!["+.gitignore +deep/build +deep/dist +keep.log +src/gen/kept +src/lib read 6"]);
}

#[test]
fn rules_have_no_braces() {
    let mut lab = lab(&["**"]);
    lab.file(".gitignore", "{a,b}\n{c,?}\n").file("a", "").file("{a,b}", "").file("{c,d}", "").file("d", "");
    check(&mut lab, expect!["+.gitignore +a +d read 3"]);
}

#[test]
fn deeper_rules_win_and_nothing_comes_back_from_an_ignored_directory() {
    let mut lab = lab(&["**"]);
    lab.directory(".git").file(".gitignore", "*.log\nclosed/\n");
    lab.file("open/.gitignore", "!a.log\n/only_here\n")
        .file("closed/.gitignore", "!*\n")
        .file("closed/x", "");
    lab.file("open/a.log", "")
        .file("open/b.log", "")
        .file("open/only_here", "")
        .file("open/deep/only_here", "");
    check(&mut lab, expect!["+.gitignore +open/.gitignore +open/a.log +open/deep/only_here read 4"]);
}

#[test]
fn rules_above_the_root_apply_up_to_the_repository() {
    let mut lab = lab(&["**"]);
    lab.file(".gitignore", "not_mine\n").directory("repo/.git");
    lab.file("repo/.gitignore", "packages/*/dist\n*.tmp\n/packages/web/local\n")
        .file("repo/packages/.gitignore", "!x.tmp\n");
    for path in ["not_mine", "dist/x", "local", "x.tmp", "y.tmp", "src/a"] {
        lab.file(format!("repo/packages/web/{path}"), "");
    }
    turn_to(&mut lab, "repo/packages/web");
    check(&mut lab, expect!["+not_mine +src/a +x.tmp read 3"]);
}

#[test]
fn outside_of_a_repository_only_rules_in_the_set_itself_apply() {
    let mut lab = lab(&["**"]);
    lab.file(".gitignore", "above\n")
        .file("in/.gitignore", "here\n")
        .file("in/above", "")
        .file("in/here", "");
    turn_to(&mut lab, "in");
    check(&mut lab, expect!["+.gitignore +above read 2"]);
}

#[test]
fn a_work_tree_has_the_excludes_of_its_repository() {
    let mut lab = lab(&["**"]);
    lab.file("main/.git/info/exclude", "secret\n").file("main/.git/worktrees/tree/commondir", "../..\n");
    let git = lab.path("main/.git/worktrees/tree");
    lab.file("tree/.git", format!("gitdir: {}\n", git.display()))
        .file("tree/secret", "")
        .file("tree/open", "");
    turn_to(&mut lab, "tree");
    check(&mut lab, expect!["+open read 1"]);
}

#[test]
fn a_changed_rule_is_noticed() {
    let mut lab = lab(&["**"]);
    lab.directory(".git").file("a.log", "").file("dist/x", "").file("deep/b", "");
    check(&mut lab, expect!["+a.log +deep/b +dist/x read 3"]);
    lab.file(".gitignore", "*.log\n/dist\n").file("deep/.gitignore", "b\n");
    turn_to(&mut lab, "");
    check(&mut lab, expect!["+.gitignore +deep/.gitignore -a.log -deep/b -dist/x read 2"]);
}

#[test]
fn pipes_and_sockets_are_not_there_for_git() {
    let mut lab = lab(&["**"]);
    lab.file("a", "");
    let _socket = std::os::unix::net::UnixListener::bind(lab.path("socket")).unwrap();
    check(&mut lab, expect!["+a read 1"]);
}

/// Runs git in a directory, with nobody's configuration, and returns what it said.
fn git(directory: &Path, arguments: &[&str]) -> Vec<u8> {
    let mut command = std::process::Command::new("git");
    command.args(arguments).current_dir(directory).env_clear();
    command.env("PATH", std::env::var_os("PATH").unwrap());
    command.envs([
        ("GIT_CONFIG_GLOBAL", "/dev/null"),
        ("GIT_CONFIG_SYSTEM", "/dev/null"),
        ("HOME", "/nonexistent"),
    ]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

#[test]
fn a_file_that_git_tracks_is_not_ignored() {
    for (format, version) in [("sha1", "2"), ("sha1", "3"), ("sha1", "4"), ("sha256", "2"), ("sha256", "4")] {
        let mut lab = lab(&["**"]);
        git(lab.directory.path(), &["init", "--quiet", "--object-format", format]);
        lab.file(".gitignore", "dist/\n*.log\n").file("a.log", "").file("b.log", "").file("src/lib", "");
        lab.file("dist/vendor/kept", "")
            .file("dist/vendor/lost", "")
            .file("dist/lost", "")
            .file("dist.log", "");
        lab.file(format!("{}/kept.log", "deep/".repeat(300)), "");
        git(lab.directory.path(), &["add", "--force", "a.log", "dist/vendor/kept", "deep", "src"]);
        // Flags that need the extended form of an entry.
        git(lab.directory.path(), &["update-index", "--index-version", version]);
        git(lab.directory.path(), &["update-index", "--skip-worktree", "a.log"]);
        let paths = lab.scan().snapshot.entries().map(|entry| entry.path.to_owned()).collect::<Vec<_>>();
        let long = PathBuf::from(format!("{}kept.log", "deep/".repeat(300)));
        let expected =
            [".gitignore".into(), "a.log".into(), long, "dist/vendor/kept".into(), "src/lib".into()];
        assert_eq!(paths, expected, "{format} {version}");
        // A root that is ignored itself was named by somebody who wants what is in it.
        turn_to(&mut lab, "dist");
        assert_eq!(entries(&lab.scan().snapshot).lines().count(), 3);
    }
}

/// What git lists, and what belongs to the set.
fn check_listing(lab: &mut Lab) {
    let listing =
        git(lab.directory.path(), &["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    let listing = String::from_utf8(listing).unwrap();
    let mut expected: Vec<_> =
        listing.split_terminator('\0').filter(|path| lab.path(path).exists()).collect();
    expected.sort_unstable();
    let snapshot = lab.scan().snapshot;
    let selected: Vec<_> = snapshot.entries().map(|entry| entry.path.to_str().unwrap()).collect();
    assert_eq!(selected, expected);
}

#[test]
fn what_a_shared_index_has_is_tracked() {
    for (format, version) in [("sha1", "2"), ("sha1", "4"), ("sha256", "2"), ("sha256", "4")] {
        let mut lab = lab(&["**"]);
        let root = lab.directory.path().to_owned();
        git(&root, &["init", "--quiet", "--object-format", format]);
        lab.file(".gitignore", "*.log\n");
        for n in 0..300 {
            lab.file(format!("{n}.log"), "");
        }
        git(&root, &["add", "--force", "."]);
        git(&root, &["update-index", "--index-version", version]);
        git(&root, &["update-index", "--split-index"]);
        check_listing(&mut lab);
        // All that may stand in the other half: what came, what went (a row of them, too), what has other stat data.
        git(&root, &["config", "splitIndex.maxPercentChange", "100"]);
        lab.file("new.log", "").file("lost.log", "").file("7.log", "other");
        git(&root, &["add", "--force", "new.log", "7.log"]);
        git(&root, &["rm", "--quiet", "--cached", "3.log", "299.log"]);
        let row: Vec<_> = (100..200).map(|n| format!("{n}.log")).collect();
        let remove = ["rm", "--quiet", "--cached"].into_iter().chain(row.iter().map(String::as_str));
        git(&root, &remove.collect::<Vec<_>>());
        turn_to(&mut lab, "");
        check_listing(&mut lab);
        assert_eq!(lab.scan().snapshot.len(), 300 - 102 + 2, "{format} {version}");
    }
}

#[test]
fn what_is_ignored_counts_where_nobody_knows_what_git_tracks() {
    let mut lab = lab(&["**"]);
    git(lab.directory.path(), &["init", "--quiet"]);
    lab.file(".gitignore", "*.log\n").file("a.log", "");
    git(lab.directory.path(), &["add", "--force", "a.log"]);
    git(lab.directory.path(), &["update-index", "--split-index"]);
    lab.file("b.log", "");
    check(&mut lab, expect!["+.gitignore +a.log read 2"]);
    let files = fs::read_dir(lab.path(".git")).unwrap().map(|file| file.unwrap().path());
    let shared = files.filter(|path| path.to_str().unwrap().contains("sharedindex."));
    shared.for_each(|path| fs::write(path, "").unwrap());
    turn_to(&mut lab, "");
    check(&mut lab, expect!["+b.log read 1"]);
}

#[test]
fn a_directory_may_stand_for_all_that_is_tracked_in_it() {
    let mut lab = lab(&["**"]);
    let root = lab.directory.path().to_owned();
    git(&root, &["init", "--quiet"]);
    lab.file(".gitignore", "*.log\n").file("in/a", "").file("out/deep/a.log", "").file("out/b.log", "");
    git(&root, &["add", "--force", "."]);
    git(&root, &["-c", "user.name=a", "-c", "user.email=a", "commit", "--quiet", "-m", "a"]);
    git(&root, &["sparse-checkout", "set", "--cone", "--sparse-index", "in"]);
    assert!(git(&root, &["ls-files", "--sparse"]).ends_with(b"out/\n"));
    lab.file("out/deep/a.log", "edited").file("c.log", "");
    turn_to(&mut lab, "");
    check(&mut lab, expect!["+.gitignore +in/a +out/deep/a.log read 3"]);
}

#[test]
fn a_repository_inside_another_has_its_own_rules_and_index() {
    let mut lab = lab(&["**"]);
    let root = lab.directory.path().to_owned();
    git(&root, &["init", "--quiet"]);
    lab.file(".gitignore", "*.log\ndeep/\n/lost\n").file("in/.gitignore", "*.tmp\n");
    for path in ["in/a.log", "in/b.tmp", "in/kept.tmp", "in/deep/c", "in/secret", "lost/a"] {
        lab.file(path, "");
    }
    git(&lab.path("in"), &["init", "--quiet"]);
    git(&lab.path("lost"), &["init", "--quiet"]);
    lab.file("in/.git/info/exclude", "secret\n");
    git(&lab.path("in"), &["add", "--force", "kept.tmp"]);
    let listing = git(&lab.path("in"), &["ls-files", "--cached", "--others", "--exclude-standard"]);
    assert_eq!(String::from_utf8(listing).unwrap(), ".gitignore\na.log\ndeep/c\nkept.tmp\n");
    check(&mut lab, expect!["+.gitignore +in/.gitignore +in/a.log +in/deep/c +in/kept.tmp read 5"]);
    // As a submodule has it.
    lab.rename("in/.git", ".git/in").file("in/.git", "gitdir: ../.git/in\n");
    turn_to(&mut lab, "");
    check(&mut lab, expect!["read 0"]);
    turn_to(&mut lab, "in/deep");
    check(&mut lab, expect!["+c -.gitignore -in/.gitignore -in/a.log -in/deep/c -in/kept.tmp read 1"]);
}

#[test]
fn what_was_read_of_git_counts_until_it_is_forgotten() {
    let ignores = GitIgnores::new();
    let mut lab = Lab::of(|root| FileSet::inputs(root).patterns(["**"]).ignore(Ignore::Git(ignores.clone())));
    let root = lab.directory.path().to_owned();
    git(&root, &["init", "--quiet"]);
    lab.file(".gitignore", "*.log\n").file("a.log", "").file("b.tmp", "");
    // By the second time it is known of the index that it was read long after it had come.
    for _ in 0..2 {
        lab.scan();
        ignores.forget(lab.clock.wall());
    }
    check(&mut lab, expect!["read 0"]);
    lab.file(".gitignore", "*.tmp\n*.log\n");
    check(&mut lab, expect!["~.gitignore read 1"]);
    ignores.forget(lab.clock.wall());
    check(&mut lab, expect!["-b.tmp read 0"]);
    git(&root, &["add", "--force", "a.log"]);
    check(&mut lab, expect!["read 0"]);
    ignores.forget(lab.clock.wall());
    check(&mut lab, expect!["+a.log read 1"]);
}

/// What of these files git lists, and what belongs to the set, where these are the rules.
fn check_rules(rules: &[u8], files: &[&[u8]]) {
    use std::os::unix::ffi::OsStrExt as _;
    let mut lab = lab(&["**"]);
    let root = lab.directory.path().to_owned();
    git(&root, &["init", "--quiet"]);
    lab.file(".git/info/exclude", rules);
    for file in files {
        lab.file(OsStr::from_bytes(file), "");
    }
    let listing = git(&root, &["ls-files", "-z", "--others", "--exclude-standard"]);
    let mut expected: Vec<_> =
        listing.split_inclusive(|&byte| byte == 0).map(|path| &path[..path.len() - 1]).collect();
    expected.sort_unstable();
    let snapshot = lab.scan().snapshot;
    let selected: Vec<_> = snapshot.entries().map(|entry| entry.path.as_os_str().as_bytes()).collect();
    assert_eq!(selected, expected, "{}", rules.escape_ascii());
}

const ODD_FILES: &[&[u8]] = &[
    b"a",
    b"a1",
    b"7",
    b"ab",
    b"a]",
    b"]",
    b"-",
    b"[",
    b"a b",
    b"a ",
    b"x/7",
    b"x/a",
    b"da/x",
    b"dx",
    b"d/1/2/x",
    b"d1/2/3",
    b"a\\",
    b"na\xe9",
    b"na\xc3\xa9",
    b"{a,b}",
    b"\x0b",
    b"!",
    b"#",
    b"^",
    b":",
];
const ODD_RULES: &[&[u8]] = &[
    b"/",
    b"//",
    b"!/",
    b"x//7",
    b"x//",
    b"//a",
    b"./a",
    b"x/../a",
    b"[[:alpha:]]",
    b"[[:alpha:]]*",
    b"[^[:alpha:]]",
    b"[[:digit:]x]",
    b"[[:digit:]-x]",
    b"[[:nothing:]]",
    b"[[:alpha:]",
    b"[[:alpha]",
    b"[[:al]pha:]]",
    b"[\\]]",
    b"[]]",
    b"[!]]",
    b"[]-a]",
    b"[-a]",
    b"[a-]",
    b"[a-\\c]",
    b"[z-a]",
    b"[a",
    b"a[",
    b"[",
    b"[]",
    b"[!a-z]",
    b"[--0]",
    b"[x/y]/7",
    b"[[:space:][:cntrl:]]",
    b"[[:punct:]]",
    b"[[:blank:]]",
    b"a[[:blank:]]?",
    b"d**/x",
    b"/d**",
    b"/d**/",
    b"d**/2/**",
    b"d*/**/x",
    b"d?**/x",
    b"x/***",
    b"***/x",
    b"**x",
    b"na\xe9",
    b"na?",
    b"na??",
    b"a\\ ",
    b"a\\  ",
    b"a ",
    b"a\\",
    b"a\\\\",
    b"\\!",
    b"\\#",
    b"{a,b}",
    b"x\\/7",
    b"?",
    b"??",
    b"[\xe9]",
    b"*[\xe8-\xea]",
];

#[test]
fn odd_rules_mean_what_they_mean_to_git() {
    for line in ODD_RULES {
        check_rules(line, ODD_FILES);
        let taken_back = [b"*\n!x/\n!d*/\n!".as_slice(), line, b"\n"].concat();
        check_rules(&taken_back, ODD_FILES);
    }
}

fn arb_rule() -> impl Strategy<Value = String> {
    let part = prop::sample::select(vec![
        "a",
        "b",
        "ab",
        "*",
        "a*",
        "*b",
        "**",
        "?",
        "[ab]",
        "[!a]",
        "{a,b}",
        "\\a",
        "a**",
        "***",
        "[[:alpha:]]",
        "?[b]*",
        "",
    ]);
    let path = prop::collection::vec(part, 1..4).prop_map(|parts| parts.join("/"));
    let around = ("!?", prop::bool::ANY, prop::bool::ANY);
    (path, around).prop_map(|(path, (not, anchored, directory))| {
        let (anchor, slash) = (if anchored { "/" } else { "" }, if directory { "/" } else { "" });
        format!("{not}{anchor}{path}{slash}")
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn rules_mean_what_they_mean_to_git(
        files in prop::collection::vec(prop::collection::vec(prop::sample::select(vec!["a", "b", "ab", "ba"]), 1..4), 1..12),
        tracked in 0..3_usize,
        top in prop::collection::vec(arb_rule(), 0..5),
        deep in prop::collection::vec(arb_rule(), 0..3),
        exclude in prop::collection::vec(arb_rule(), 0..2),
    ) {
        let mut lab = lab(&["**"]);
        let root = lab.directory.path().to_owned();
        git(&root, &["init", "--quiet", "--template="]);
        lab.file(".gitignore", top.join("\n")).file(".git/info/exclude", exclude.join("\n"));
        for (n, file) in files.iter().enumerate() {
            let path = lab.path(file.join("/"));
            // What is a file in one path may be a directory in another.
            if fs::create_dir_all(path.parent().unwrap()).is_ok() && !path.exists() {
                fs::write(&path, "").unwrap();
                if n < tracked {
                    git(&root, &["add", "--force", path.to_str().unwrap()]);
                }
            }
        }
        if lab.path("a").is_dir() {
            lab.file("a/.gitignore", deep.join("\n"));
        }
        let listing = git(&root, &["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
        let listing = String::from_utf8(listing).unwrap();
        let mut expected: Vec<_> = listing.split_terminator('\0').collect();
        expected.sort_unstable();
        let snapshot = lab.scan().snapshot;
        let selected: Vec<_> = snapshot.entries().map(|entry| entry.path.to_str().unwrap()).collect();
        prop_assert_eq!(selected, expected, "{:?} {:?} {:?}", top, deep, exclude);
    }
}
