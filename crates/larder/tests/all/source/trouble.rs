//! Files that cannot be compared, and files that move under the walk.

use expect_test::expect;

use super::reading::make_pipe;
use super::*;

#[test]
fn a_missing_root_is_named() {
    let lab = Lab::inputs(&["**"]);
    let set = FileSet::inputs(lab.path("missing")).patterns(["**"]).build().unwrap();
    let options =
        ScanOptions { clock: &lab.clock, stop: &AtomicBool::new(false), threads: Some(NonZeroUsize::MIN) };
    check_error(
        &lab,
        &set.scan(None, &options).unwrap_err(),
        expect!["ROOT/missing cannot be read: No such file or directory (os error 2)"],
    );
}

#[test]
fn a_pipe_or_socket_is_named_and_never_opened() {
    let mut lab = Lab::inputs(&["src/**"]);
    lab.file("src/a", "");
    make_pipe(&lab.path("pipe"));
    lab.scan();
    make_pipe(&lab.path("src/pipe"));
    check_error(
        &lab,
        &lab.try_scan(None).unwrap_err(),
        expect!["ROOT/src/pipe is a named pipe, which has no content to compare"],
    );
    lab.remove("src/pipe");
    let _socket = std::os::unix::net::UnixListener::bind(lab.path("src/socket")).unwrap();
    check_error(
        &lab,
        &lab.try_scan(lab.previous.as_ref()).unwrap_err(),
        expect!["ROOT/src/socket is a socket, which has no content to compare"],
    );
    lab.set = FileSet::inputs(lab.directory.path()).patterns(["src/**", "!src/socket"]).build().unwrap();
    lab.scan();
    lab.set = FileSet::inputs(lab.directory.path()).patterns(["pipe"]).build().unwrap();
    check_error(
        &lab,
        &lab.try_scan(None).unwrap_err(),
        expect!["ROOT/pipe is a named pipe, which has no content to compare"],
    );
}

#[test]
fn a_pipe_that_took_a_files_place_is_not_waited_for() {
    let mut lab = Lab::inputs(&["**"]);
    lab.file("a", "");
    lab.scan();
    lab.remove("a");
    make_pipe(&lab.path("a"));
    check_error(
        &lab,
        &lab.try_scan(lab.previous.as_ref()).unwrap_err(),
        expect!["ROOT/a is a named pipe, which has no content to compare"],
    );
}

/// Reading this process's memory at address zero fails for every user, root included.
#[test]
fn an_unreadable_file_is_named() {
    let mut lab = Lab::inputs(&["**"]);
    lab.file("a", "").link("memory", "/proc/self/mem");
    check_error(
        &lab,
        &lab.try_scan(None).unwrap_err(),
        expect!["ROOT/memory cannot be read: Input/output error (os error 5)"],
    );
}

#[test]
fn files_that_keep_changing_are_named() {
    let mut lab = Lab::inputs(&["**"]);
    lab.link("status", "/proc/self/status");
    check_error(
        &lab,
        &lab.try_scan(None).unwrap_err(),
        expect!["ROOT/status kept changing while it was read"],
    );
}

#[test]
fn a_scan_stops_when_it_is_told_to() {
    let mut lab = Lab::inputs(&["**"]);
    lab.file("a", "");
    let options =
        ScanOptions { clock: &lab.clock, stop: &AtomicBool::new(true), threads: Some(NonZeroUsize::MIN) };
    assert!(matches!(lab.set.scan(None, &options), Err(SourceError::Stopped)));
}

#[test]
fn files_that_come_and_go_during_the_walk_are_a_change_and_no_error() {
    let mut lab = Lab::inputs(&["**"]);
    lab.file("stays", "x").threads = 2;
    for n in 0..700 {
        lab.file(format!("many/{n}"), "x");
    }
    let stop = AtomicBool::new(false);
    let root = lab.directory.path().to_owned();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let file = root.join("many/flickers");
            let (directory, below) = (root.join("directory"), root.join("directory/deep"));
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                fs::write(&file, "x").unwrap();
                fs::create_dir_all(&below).unwrap();
                fs::write(below.join("x"), "x").unwrap();
                fs::remove_file(&file).unwrap();
                symlink("stays", &file).unwrap();
                fs::remove_dir_all(&directory).unwrap();
                fs::write(&directory, "x").unwrap();
                fs::remove_file(&file).unwrap();
                fs::remove_file(&directory).unwrap();
            }
        });
        let mut previous = None;
        for _ in 0..200 {
            match lab.try_scan(previous.as_ref()) {
                Ok(scan) => {
                    assert!(scan.snapshot.get("stays".as_ref()).is_some() && scan.snapshot.len() > 700);
                    previous = Some(scan.snapshot);
                }
                Err(SourceError::Unstable { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    assert_eq!(lab.scan().snapshot.len(), 701);
}
