//! Files that the caller has just written are believed while they look as they did.

use larder::key::Digest;
use larder::source::Written;

use super::*;

/// Three outputs, and what was written into two of them.
fn lab() -> (Lab, Written) {
    let mut lab = Lab::outputs(&["dist"]);
    lab.file("dist/a", "aaaa").file("dist/deep/b", "bbbb").file("dist/c", "cccc");
    let mut written = Written::default();
    for (path, content) in [("dist/a", "aaaa"), ("dist/deep/b", "bbbb")] {
        let metadata = fs::metadata(lab.path(path)).unwrap();
        written.add(Path::new(path), &metadata, Digest::of(content.as_bytes()));
    }
    (lab, written)
}

fn scan(lab: &Lab, previous: Option<&Arc<Snapshot>>, written: &Written) -> Scan {
    let stop = AtomicBool::new(false);
    let options = ScanOptions { clock: &lab.clock, stop: &stop, threads: Some(NonZeroUsize::MIN) };
    lab.set.scan_written(previous, written, &options).unwrap()
}

#[test]
fn what_was_just_written_is_not_read_to_know_what_is_in_it() {
    let (mut lab, written) = lab();
    let seen = scan(&lab, None, &written);
    assert_eq!(seen.counts.read, 1, "only dist/c");
    assert_eq!(seen.fingerprint(), lab.scan().fingerprint());
}

#[test]
fn a_file_that_does_not_look_as_when_it_was_written_is_read() {
    let (mut lab, written) = lab();
    lab.file("dist/a", "other").remove("dist/deep/b").link("dist/deep/b", "../a");
    let seen = scan(&lab, None, &written);
    assert_eq!(seen.counts.read, 2, "dist/a and dist/c");
    assert_eq!(seen.fingerprint(), lab.scan().fingerprint());
}

#[test]
fn what_is_written_in_the_same_moment_as_the_file_shows_in_the_next_scan() {
    let (mut lab, written) = lab();
    lab.clock = Clock::manual(SystemTime::now().into());
    let seen = scan(&lab, None, &written);
    // The stamps of this may be the same.
    lab.file("dist/a", "AAAA");
    let next = scan(&lab, Some(&seen.snapshot), &Written::default());
    assert_eq!(next.fingerprint(), lab.scan().fingerprint());
    assert_ne!(next.fingerprint(), seen.fingerprint());
}
