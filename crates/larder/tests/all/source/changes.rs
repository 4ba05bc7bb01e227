//! Each way in which files change is noticed, and nothing else is read.

use expect_test::expect;

use super::*;

fn lab() -> Lab {
    let mut lab = Lab::inputs(&["src/**", "build.sh"]);
    lab.file("src/a", "aaaa").file("src/deep/b", "bbbb").file("build.sh", "true").file("other", "other");
    check(&mut lab, expect!["+build.sh +src/a +src/deep/b read 3"]);
    lab
}

#[test]
fn a_second_look_reads_nothing_and_gives_the_same_snapshot() {
    let mut lab = lab();
    let scan = lab.scan();
    assert!(!scan.is_new());
    assert_eq!((scan.counts.read, scan.counts.looked_at), (0, 5), "three files, src and src/deep");
}

#[test]
fn a_directory_in_which_no_name_has_come_or_gone_is_not_listed_again() {
    let mut lab = lab();
    assert_eq!(lab.scan().counts.directories, 0);
    lab.file("src/a", "aaab");
    assert_eq!(lab.scan().counts.directories, 0, "an edit in place");
    lab.file("src/deep/c", "c");
    assert_eq!(lab.scan().counts.directories, 1, "src/deep");
    lab.rename("src/deep/c", "src/deep/d");
    assert_eq!(lab.scan().counts.directories, 1, "src/deep");
    lab.remove("src/deep/d").file("other", "outside of the set");
    assert_eq!(lab.scan().counts.directories, 1, "src/deep");
    assert_eq!(lab.scan().counts.directories, 0);
}

#[test]
fn a_directory_that_changed_just_before_it_was_listed_is_listed_again() {
    let mut lab = Lab::inputs(&["src/**"]);
    lab.file("src/a", "a");
    lab.clock = Clock::manual(SystemTime::now().into());
    for _ in 0..2 {
        assert_eq!(lab.scan().counts.directories, 1, "its stamp may not show what came since");
    }
    lab.clock.advance(Duration::from_secs(3600));
    assert_eq!(lab.scan().counts.directories, 1);
    assert_eq!(lab.scan().counts.directories, 0, "by now it lay safely in the past when it was listed");
}

#[test]
fn a_snapshot_of_other_patterns_spares_no_listing() {
    let mut lab = Lab::inputs(&["src/*.rs"]);
    lab.file("src/a.rs", "a").file("src/b.md", "b").file("src/deep/c.rs", "c");
    check(&mut lab, expect!["+src/a.rs read 1"]);
    for pattern in ["src/*", "src/**", "src/**/*.rs"] {
        lab.set = FileSet::inputs(lab.directory.path()).patterns([pattern]).build().unwrap();
        lab.scan();
    }
    check_entries(
        &mut lab,
        expect![[r#"
            src/a.rs 644 17762fdd
            src/deep/c.rs 644 ea7aa1fc
        "#]],
    );
}

#[test]
fn directories_of_outputs_come_and_go_without_a_change_in_those_above() {
    let mut lab = Lab::outputs(&["dist"]);
    lab.file("dist/a/b/c", "c").directory("dist/empty");
    check(&mut lab, expect!["+dist +dist/a +dist/a/b +dist/a/b/c +dist/empty read 1"]);
    assert_eq!(lab.scan().counts.directories, 0);
    lab.remove("dist/a/b/c").directory("dist/empty/full").mode("dist/empty", 0o700);
    check(&mut lab, expect!["+dist/empty/full -dist/a/b/c ~dist/empty read 0"]);
    lab.remove("dist/empty").file("dist/empty", "now a file");
    check(&mut lab, expect!["-dist/empty/full ~dist/empty read 1"]);
}

#[test]
fn an_edit_is_noticed_and_only_that_file_is_read() {
    let mut lab = lab();
    lab.file("src/a", "aaab");
    check(&mut lab, expect!["~src/a read 1"]);
    check(&mut lab, expect!["read 0"]);
}

#[test]
fn an_edit_that_keeps_size_and_times_is_noticed() {
    let mut lab = lab();
    lab.keeping_times("src/a", |lab| {
        lab.file("src/a", "aaab");
    });
    check(&mut lab, expect!["~src/a read 1"]);
}

#[test]
fn times_that_go_backwards_are_noticed() {
    let mut lab = lab();
    lab.file("src/a", "aaab").modified("src/a", SystemTime::UNIX_EPOCH);
    check(&mut lab, expect!["~src/a read 1"]);
}

#[test]
fn a_file_renamed_over_another_of_the_same_size_and_times_is_noticed() {
    let mut lab = lab();
    lab.keeping_times("src/a", |lab| {
        lab.file("new", "aaab").rename("new", "src/a");
    });
    check(&mut lab, expect!["~src/a read 1"]);
}

#[test]
fn two_files_that_swap_names_are_noticed() {
    let mut lab = lab();
    lab.rename("src/a", "tmp").rename("src/deep/b", "src/a").rename("tmp", "src/deep/b");
    check(&mut lab, expect!["~src/a ~src/deep/b read 2"]);
}

#[test]
fn a_directory_renamed_over_another_is_noticed() {
    let mut lab = lab();
    lab.file("new/b", "BBBB").remove("src/deep").rename("new", "src/deep");
    check(&mut lab, expect!["~src/deep/b read 1"]);
}

#[test]
fn a_changed_mode_is_noticed() {
    let mut lab = lab();
    lab.mode("src/a", 0o600);
    check(&mut lab, expect!["~src/a read 1"]);
    lab.mode("src/a", 0o755);
    check(&mut lab, expect!["~src/a read 1"]);
    lab.mode("src/a", 0o644);
    check(&mut lab, expect!["~src/a read 1"]);
}

#[test]
fn touching_a_file_costs_one_read_and_changes_nothing() {
    let mut lab = lab();
    lab.modified("src/a", SystemTime::UNIX_EPOCH);
    let scan = lab.scan();
    assert!(scan.is_new() && scan.changes().is_empty());
    assert_eq!(scan.counts.read, 1);
    check(&mut lab, expect!["read 0"]);
}

#[test]
fn files_come_go_and_move() {
    let mut lab = lab();
    lab.file("src/c", "c").remove("src/a").rename("src/deep", "src/deeper");
    check(&mut lab, expect!["+src/c +src/deeper/b -src/a -src/deep/b read 2"]);
}

#[test]
fn what_stands_beside_an_output_while_that_is_made_is_no_input_and_is_among_outputs() {
    let mut lab = lab();
    let temporary = format!("src/{}", larder::tier::disk::temporary_name());
    lab.file(&temporary, "half of").file("src/.larder-tmp", "a file of a user's");
    check(&mut lab, expect!["+src/.larder-tmp read 1"]);
    let mut outputs = Lab::outputs(&["dist"]);
    outputs.file("dist/.larder-tmp-1-2-3", "left behind");
    check(&mut outputs, expect!["+dist +dist/.larder-tmp-1-2-3 read 1"]);
}

#[test]
fn a_file_becomes_a_directory_and_back() {
    let mut lab = lab();
    lab.remove("src/a").file("src/a/x", "x").remove("src/deep").file("src/deep", "d");
    check(&mut lab, expect!["+src/a/x +src/deep -src/a -src/deep/b read 2"]);
    lab.remove("src/a").file("src/a", "aaaa");
    check(&mut lab, expect!["+src/a -src/a/x read 1"]);
}

#[test]
fn a_file_becomes_a_link_to_the_same_content_and_back() {
    let mut lab = lab();
    lab.rename("src/a", "elsewhere").link("src/a", "../elsewhere");
    check(&mut lab, expect!["~src/a read 1"]);
    lab.remove("src/a").rename("elsewhere", "src/a");
    check(&mut lab, expect!["~src/a read 1"]);
}

#[test]
fn files_outside_of_the_set_are_not_even_looked_at() {
    let mut lab = lab();
    for n in 0..100 {
        lab.file(format!("node_modules/{n}/x"), "x");
    }
    let counts = lab.scan().counts;
    assert_eq!((counts.directories, counts.looked_at), (0, 5), "three files, src and src/deep");
}

#[test]
fn two_clones_have_one_fingerprint() {
    let (mut one, mut other) = (lab(), lab());
    assert_eq!(one.scan().fingerprint(), other.scan().fingerprint());
    other.mode("src/a", 0o755);
    assert_ne!(one.scan().fingerprint(), other.scan().fingerprint());
}

#[test]
fn two_clones_under_two_umasks_have_one_fingerprint() {
    let fingerprint = |umask: u32, modes: &[u32]| {
        let mut lab = Lab::of(|root| FileSet::inputs(root).patterns(["**"]).umask(umask));
        for (n, mode) in modes.iter().enumerate() {
            lab.file(n.to_string(), "").mode(&n.to_string(), *mode);
        }
        lab.scan().fingerprint()
    };
    let usual = fingerprint(0o022, &[0o644, 0o755, 0o644]);
    assert_eq!(fingerprint(0o077, &[0o600, 0o700, 0o600]), usual);
    assert_eq!(fingerprint(0o002, &[0o664, 0o775, 0o664]), usual);
    assert_ne!(fingerprint(0o022, &[0o644, 0o644, 0o644]), usual);
    assert_ne!(fingerprint(0o022, &[0o664, 0o755, 0o644]), usual);
    assert_ne!(fingerprint(0o002, &[0o644, 0o755, 0o644]), usual);
}

#[test]
fn another_umask_changes_the_fingerprint_without_reading() {
    let mut lab = lab();
    let before = lab.scan();
    lab.set =
        FileSet::inputs(lab.directory.path()).patterns(["src/**", "build.sh"]).umask(0o077).build().unwrap();
    let after = lab.scan();
    assert_eq!(after.counts.read, 0);
    assert_ne!(before.fingerprint(), after.fingerprint());
    assert!(after.is_new());
}

#[test]
fn a_snapshot_of_another_set_spares_reading_and_changes_no_answer() {
    let mut lab = lab();
    lab.file("src/c", "c");
    lab.set = FileSet::inputs(lab.directory.path()).patterns(["src/*"]).build().unwrap();
    check(&mut lab, expect!["+src/c -build.sh -src/deep/b read 1"]);
    let other = Lab::inputs(&["src/*"]);
    lab.set = FileSet::inputs(other.path("")).patterns(["src/*"]).build().unwrap();
    lab.directory = other.directory;
    lab.file("src/a", "aaaa");
    check(&mut lab, expect!["-src/c read 1"]);
}

#[test]
fn fingerprints_are_these_forever() {
    let mut lab = Lab::inputs(&["**"]);
    lab.file("a", "").file("b/c", "content").mode("b/c", 0o755).file("d", "d").mode("d", 0o600);
    lab.link("e", "d").link("f", "nowhere");
    expect!["567206c836ce1c7f93c2a907ce699909678833adf41c6318d594572e51d24641"]
        .assert_eq(&lab.scan().fingerprint().to_string());
    let mut lab = Lab::outputs(&["**"]);
    lab.file("a", "").directory("b").link("c", "a");
    expect!["965acdf995f59f4b030fa16a0acc0a74b750e8b3b90420f769d581e585ff3212"]
        .assert_eq(&lab.scan().fingerprint().to_string());
}

#[test]
fn names_that_are_not_utf8_are_like_any_other() {
    use std::os::unix::ffi::OsStrExt;
    let mut lab = Lab::inputs(&["**/*.txt"]);
    let name = OsStr::from_bytes(b"\xff\xfe.txt");
    lab.file(name, "a").file("ü.txt", "b").file("new\nline.txt", "c").file(" .txt", "d");
    let scan = lab.scan();
    assert_eq!(scan.snapshot.len(), 4);
    assert!(scan.snapshot.get(name.as_ref()).is_some());
    lab.file(name, "b");
    assert_eq!(lab.scan().changes().modified, [name]);
}

#[test]
fn many_files_on_several_threads_give_what_one_gives() {
    for directories in [1, 40] {
        let mut lab = Lab::inputs(&["**"]);
        for n in 0..3000 {
            lab.file(format!("{}/{n}", n % directories), n.to_string());
        }
        let alone = lab.scan();
        assert_eq!(alone.counts.read, 3000);
        lab.threads = 4;
        let together = lab.scan();
        assert_eq!((together.counts.read, together.is_new()), (0, false));
        assert_eq!(lab.try_scan(None).unwrap().fingerprint(), alone.fingerprint());
        lab.file("0/0", "zero").remove("0/2000").file("0/new", "new");
        check(&mut lab, expect!["+0/new -0/2000 ~0/0 read 2"]);
    }
}

/// Times as they are now, so that what was just written has not settled.
fn unsettled(lab: &mut Lab) {
    lab.clock = Clock::manual(SystemTime::now().into());
}

#[test]
fn a_file_touched_just_before_a_scan_is_read_once_more_by_the_next() {
    let mut lab = lab();
    lab.previous = None;
    unsettled(&mut lab);
    check(&mut lab, expect!["+build.sh +src/a +src/deep/b read 3"]);
    lab.clock.advance(Duration::from_secs(10));
    check(&mut lab, expect!["read 3"]);
    check(&mut lab, expect!["read 0"]);
}

#[test]
fn a_stamp_in_the_future_is_never_trusted() {
    let mut lab = lab();
    let future: SystemTime = lab.clock.wall().plus(Duration::from_secs(1)).into();
    lab.modified("src/a", future);
    check(&mut lab, expect!["read 1"]);
    check(&mut lab, expect!["read 1"]);
    lab.clock.advance(Duration::from_secs(10));
    check(&mut lab, expect!["read 1"]);
    check(&mut lab, expect!["read 0"]);
}

#[test]
fn after_the_clock_stepped_back_everything_is_read_once() {
    let mut lab = lab();
    lab.clock.step_wall(Timestamp::from_millis(lab.clock.wall().as_millis() - 1_800_000));
    check(&mut lab, expect!["read 3"]);
    check(&mut lab, expect!["read 0"]);
}
