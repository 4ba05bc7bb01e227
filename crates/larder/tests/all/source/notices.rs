//! Notices of a real kernel.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Seek as _, Write as _};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use larder::source::{Notice, Notices, WatchedFiles};
use tempfile::TempDir;

/// How long is waited for what has to come.
const BOUND: Duration = Duration::from_secs(60);

async fn next(notices: &mut Notices) -> Notice {
    tokio::time::timeout(BOUND, notices.next()).await.expect("a notice comes")
}

struct Lab {
    directory: TempDir,
    files: WatchedFiles,
    notices: Notices,
}

impl Lab {
    /// Watches these paths in a directory of its own, in which `make` has made something.
    fn watching(paths: &[&str], make: impl FnOnce(&Path)) -> Self {
        let directory = TempDir::new().unwrap();
        make(directory.path());
        let files = WatchedFiles::new(directory.path(), 1000);
        let notices = files.notices();
        files.add(paths.iter().map(Path::new));
        Self { directory, files, notices }
    }

    /// Does something and waits until all of these paths were told. No other may be.
    async fn check(&mut self, edit: impl FnOnce(&Path), expected: &[&str]) {
        edit(self.directory.path());
        let root = self.directory.path().canonicalize().unwrap();
        let expected: BTreeSet<_> = expected.iter().map(|path| root.join(path)).collect();
        let mut told = BTreeSet::new();
        while told != expected {
            let notice = next(&mut self.notices).await;
            assert!(!notice.rescan && notice.paths.iter().all(|path| expected.contains(path)), "{notice:?}");
            told.extend(notice.paths);
        }
    }
}

#[tokio::test]
async fn every_way_of_changing_what_is_watched_is_told() {
    let mut lab = Lab::watching(&["d", "d/a", "d/none"], |root| {
        fs::create_dir_all(root.join("d/e")).unwrap();
        fs::write(root.join("d/a"), "0").unwrap();
    });
    lab.check(|root| fs::write(root.join("d/a"), "1").unwrap(), &["d/a"]).await;
    lab.check(|root| fs::write(root.join("d/none"), "1").unwrap(), &["d/none"]).await;
    lab.check(|root| fs::rename(root.join("d/none"), root.join("d/b")).unwrap(), &["d/b", "d/none"]).await;
    lab.check(|root| fs::write(root.join("d/e/unwatched"), "1").unwrap(), &[]).await;
    lab.check(|root| fs::remove_file(root.join("d/a")).unwrap(), &["d/a"]).await;
    // What came is watched by whoever names it.
    assert_eq!(lab.files.add([Path::new("d/e")]), 1);
    lab.check(|root| fs::write(root.join("d/e/f"), "1").unwrap(), &["d/e/f"]).await;
    lab.check(|root| fs::remove_dir_all(root.join("d/e")).unwrap(), &["d/e", "d/e/f", "d/e/unwatched"]).await;
    assert_eq!(lab.files.add([Path::new("d/b"), Path::new("d/b")]), 1);
    lab.check(
        |root| fs::hard_link(root.join("d/b"), root.join("by another name")).unwrap(),
        &["d/b", "by another name"],
    )
    .await;
    lab.check(|root| fs::write(root.join("by another name"), "2").unwrap(), &["d/b"]).await;
}

#[tokio::test]
async fn what_happened_before_somebody_waits_is_told_to_whoever_waits() {
    let mut lab = Lab::watching(&["a", "b"], |root| {
        fs::write(root.join("a"), "0").unwrap();
        fs::write(root.join("b"), "0").unwrap();
    });
    fs::write(lab.directory.path().join("a"), "1").unwrap();
    // One that is given up loses nothing.
    assert!(tokio::time::timeout(Duration::ZERO, lab.notices.next()).await.is_err());
    lab.check(|root| fs::write(root.join("b"), "1").unwrap(), &["a", "b"]).await;
    assert!(tokio::time::timeout(Duration::ZERO, lab.notices.next()).await.is_err(), "nothing is told twice");
}

#[tokio::test]
async fn when_more_happens_than_the_kernel_holds_everything_is_to_be_looked_at_again() {
    let mut lab = Lab::watching(&["a", "b"], |root| {
        fs::write(root.join("a"), "0").unwrap();
        fs::write(root.join("b"), "0").unwrap();
    });
    let limit = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
    let open = |name: &str| fs::File::options().write(true).open(lab.directory.path().join(name)).unwrap();
    let mut files = [open("a"), open("b")];
    // Two that take turns, as what happens to one again and again is one event.
    for _ in 0..limit.trim().parse::<usize>().unwrap() {
        for file in &mut files {
            file.rewind().unwrap();
            file.write_all(b"1").unwrap();
        }
    }
    assert_eq!(next(&mut lab.notices).await, Notice { paths: vec![], rescan: true });
    // Everything was forgotten, so it is watched again by whoever looks again.
    assert_eq!(lab.files.add([Path::new("a")]), 1);
    lab.check(|root| fs::write(root.join("a"), "2").unwrap(), &["a"]).await;
}

#[tokio::test]
async fn what_can_not_be_watched_is_looked_at_again_and_again() {
    let elsewhere = TempDir::new().unwrap();
    let target = elsewhere.path().join("target");
    fs::write(&target, "0").unwrap();
    let mut lab = Lab::watching(&["link"], |root| symlink(&target, root.join("link")).unwrap());
    for _ in 0..2 {
        assert_eq!(next(&mut lab.notices).await, Notice { paths: vec![], rescan: true });
        lab.files.add([Path::new("link")]);
    }
    // So is everything below a root that is not there, and what was there is missed.
    fs::remove_dir_all(lab.directory.path()).unwrap();
    assert!(next(&mut lab.notices).await.rescan);
}
