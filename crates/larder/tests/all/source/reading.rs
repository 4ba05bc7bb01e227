//! Reading one file, and the stored form of what was read.

use std::os::fd::AsFd;

use expect_test::expect;
use larder::key::Digest;
use larder::source::{SnapshotFormatError, digest_file, digest_open_file};

use super::*;

#[test]
fn a_file_of_any_length_has_the_digest_of_its_content() {
    let mut lab = Lab::inputs(&[]);
    let mib = 1 << 20;
    for len in [0, 1, 4095, 4096, mib - 1, mib, mib + 1, 3 * mib + 77] {
        let content: Vec<u8> = (0..len).map(|n| (n % 251) as u8).collect();
        lab.file("file", &content);
        let file = digest_file(&lab.path("file")).unwrap();
        assert_eq!((file.digest, file.size, file.stat.size), (Digest::of(&content), len as u64, len as u64));
        let open = fs::File::open(lab.path("file")).unwrap();
        assert_eq!(digest_open_file(open.as_fd(), &lab.path("file")).unwrap(), file);
    }
}

#[test]
fn what_has_no_content_is_refused_by_kind() {
    let mut lab = Lab::inputs(&[]);
    lab.directory("directory");
    let _socket = std::os::unix::net::UnixListener::bind(lab.path("socket")).unwrap();
    make_pipe(&lab.path("pipe"));
    let check = |path: &str, expected: Expect| {
        check_error(&lab, &digest_file(&lab.path(path)).unwrap_err(), expected);
    };
    check("missing", expect!["ROOT/missing cannot be read: No such file or directory (os error 2)"]);
    check("directory", expect!["ROOT/directory cannot be read: is a directory"]);
    check("socket", expect!["ROOT/socket is a socket, which has no content to compare"]);
    check("pipe", expect!["ROOT/pipe is a named pipe, which has no content to compare"]);
    check("/dev/null", expect!["/dev/null is a device, which has no content to compare"]);
}

/// A file whose length is not what its stat data says is one that changes while it is read, as far as anybody
/// can tell; the kernel has such files.
#[test]
fn a_file_that_does_not_keep_still_is_unstable() {
    let lab = Lab::inputs(&[]);
    let error = digest_file(Path::new("/proc/self/status")).unwrap_err();
    check_error(&lab, &error, expect!["/proc/self/status kept changing while it was read"]);
}

#[test]
fn a_file_that_is_touched_while_it_is_read_is_unstable() {
    let mut lab = Lab::inputs(&[]);
    lab.file("file", "");
    let file = fs::File::options().write(true).open(lab.path("file")).unwrap();
    // Long enough to read that somebody else gets a turn, and without a block on disk.
    file.set_len(32 << 20).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for second in 0.. {
                file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(second)).unwrap();
                if stop.load(std::sync::atomic::Ordering::Relaxed) {
                    break;
                }
            }
        });
        let unstable = || matches!(digest_file(&lab.path("file")), Err(SourceError::Unstable { .. }));
        let noticed = (0..100).any(|_| unstable());
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(noticed);
    });
}

#[test]
fn a_file_that_grows_while_it_is_read_gives_a_content_that_it_had_or_none() {
    use std::io::Write as _;
    let lab = Lab::inputs(&[]);
    let path = lab.path("log");
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut file = fs::File::create(&path).unwrap();
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                file.write_all(&[b'x'; 1000]).unwrap();
                if file.metadata().unwrap().len() > 8 << 20 {
                    file.set_len(0).unwrap();
                    file = fs::OpenOptions::new().append(true).open(&path).unwrap();
                }
            }
        });
        for _ in 0..200 {
            match digest_file(&path) {
                Ok(file) => assert_eq!(file.digest, Digest::of(&vec![b'x'; file.size as usize])),
                Err(SourceError::Unstable { path: named }) => assert_eq!(named, path),
                Err(SourceError::Unreadable { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

fn stored() -> Vec<u8> {
    let mut lab = Lab::inputs(&["**"]);
    lab.file("a", "")
        .file("src/abc", "x")
        .file("src/abd", "y")
        .link("src/link", "abc")
        .link("gone", "missing");
    lab.scan().snapshot.encode()
}

#[test]
fn a_stored_snapshot_that_was_cut_or_damaged_is_refused_or_at_least_whole() {
    let bytes = stored();
    assert_eq!(Snapshot::decode(&bytes).unwrap().encode(), bytes);
    for len in 0..bytes.len() {
        assert!(Snapshot::decode(&bytes[..len]).is_err(), "cut at {len}");
    }
    for at in 0..bytes.len() {
        for flip in [1, 0x80, 0xff] {
            let mut damaged = bytes.clone();
            damaged[at] ^= flip;
            // Whether it is noticed is up to the checksum around it; all that is promised here is a snapshot
            // that can be used.
            if let Ok(snapshot) = Snapshot::decode(&damaged) {
                assert_eq!(snapshot.entries().count(), snapshot.len());
                assert_eq!(Snapshot::decode(&snapshot.encode()).as_ref(), Ok(&snapshot));
            }
        }
    }
}

#[test]
fn a_stored_snapshot_of_another_version_is_refused_by_its_number() {
    let mut bytes = stored();
    bytes[4] = 9;
    let error = Snapshot::decode(&bytes).unwrap_err();
    assert_eq!(error, SnapshotFormatError::Version(9));
    expect!["snapshot has version 9 where 2 was expected"].assert_eq(&error.to_string());
}

pub(super) fn make_pipe(path: &Path) {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o644), 0).unwrap();
}
