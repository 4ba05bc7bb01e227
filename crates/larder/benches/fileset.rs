//! File sets against what the system calls alone cost, in one run.
//!
//! `cargo bench -p larder --bench fileset` prints, for each case, the median and the least of rounds that are
//! taken in turns, in milliseconds, and the ratio of the medians to the floor's. Floors: a walk that does
//! `getdents` and `fstatat` on directory descriptors and nothing with the results; and reading every file into
//! a buffer with one BLAKE3 call.

#![allow(clippy::print_stdout, reason = "its output is what a benchmark is for")]

use std::ffi::CString;
use std::fs;
use std::hint::black_box;
use std::mem::MaybeUninit;
use std::num::NonZeroUsize;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use larder::clock::Clock;
use larder::source::{FileSet, GitIgnores, Ignore, Scan, ScanOptions, Snapshot};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RawDir, openat, statat};

const ROUNDS: usize = 41;
/// What such files usually hold.
const GITIGNORE: &str = "/target\n/dist\nbuild/\n*.log\n*.tmp\n*.swp\n*~\n.DS_Store\nnode_modules/\n.idea/\n\
    .vscode/*\n!.vscode/settings.json\n*.py[cod]\n__pycache__/\n.env\n.env.*\n!.env.example\ncoverage/\n\
    .cache/\n**/generated/**\n/packages/*/out\n*.o\n*.a\n*.so\n*.class\n.terraform/\n*.orig\n/tmp/\n";
const FILE_BYTES: usize = 4 << 10;

fn main() {
    let temporary = tempfile::tempdir().expect("a temporary directory");
    // `cargo test --all-targets` runs benchmarks too, without this argument.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    fs::create_dir(temporary.path().join(".git")).expect("a directory");
    fs::write(temporary.path().join(".gitignore"), GITIGNORE).expect("a file");
    let many = tree(&temporary.path().join("many"), 100, 1, 50);
    let deep = tree(&temporary.path().join("deep"), 1, 100, 100);
    let flat = tree(&temporary.path().join("flat"), 1, 1, 10_000);
    // Stamps settle, so that the second scan may believe the first.
    thread::sleep(Duration::from_millis(2_100));
    no_op("100 sets of 50 files", &many);
    no_op("1 set of 100 directories of 100 files", &deep);
    no_op("1 set of 1 directory of 10,000 files", &flat);
    full_hash("1 set of 100 directories of 100 files of 4 KiB", &deep);
    stored_form(&deep[0]);
}

/// Makes packages that each have `build.sh` and `src`, and returns their roots.
fn tree(root: &Path, packages: usize, directories: usize, files: usize) -> Vec<PathBuf> {
    let mut roots = Vec::new();
    let mut content = vec![0; FILE_BYTES];
    for package in 0..packages {
        let root = root.join(format!("package-{package:03}"));
        for directory in 0..directories {
            let directory = root.join(format!("src/module_{directory:02}"));
            fs::create_dir_all(&directory).expect("a directory");
            for file in 0..files {
                content[..8].copy_from_slice(&(file as u64).to_le_bytes());
                fs::write(directory.join(format!("source_file_{file:05}.txt")), &content).expect("a file");
            }
        }
        fs::write(root.join("build.sh"), "cat src/*/* > dist/out.txt\n").expect("a file");
        roots.push(root);
    }
    roots
}

fn set(root: &Path, patterns: &[&str]) -> FileSet {
    FileSet::inputs(root).patterns(patterns.iter().copied()).build().expect("patterns are well formed")
}

fn scan(set: &FileSet, previous: Option<&Arc<Snapshot>>, threads: usize) -> Scan {
    let threads = NonZeroUsize::new(threads);
    let stop = AtomicBool::new(false);
    set.scan(previous, &ScanOptions { clock: &Clock::system(), stop: &stop, threads })
        .expect("readable files")
}

/// Does something once for each item, on one thread or two.
fn each<T: Sync>(threads: usize, items: &[T], act: impl Fn(&T) + Sync) {
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
            act(item);
        }
    };
    thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(work);
        }
        work();
    });
}

struct Case<'a> {
    name: String,
    run: Box<dyn FnMut() + 'a>,
}

fn case<'a>(name: &str, run: impl FnMut() + 'a) -> Case<'a> {
    Case { name: name.to_owned(), run: Box::new(run) }
}

/// Runs the cases in turns and prints them against the first.
fn compare(title: &str, mut cases: Vec<Case<'_>>) {
    let mut times = vec![Vec::new(); cases.len()];
    for round in 0..=ROUNDS {
        for (case, times) in cases.iter_mut().zip(&mut times) {
            let start = Instant::now();
            (case.run)();
            if round > 0 {
                times.push(start.elapsed());
            }
        }
    }
    println!("\n{title}");
    let millis = |time: Duration| time.as_secs_f64() * 1e3;
    let mut floor = None;
    for (case, times) in cases.iter().zip(&mut times) {
        times.sort();
        let median = millis(times[times.len() / 2]);
        let floor = *floor.get_or_insert(median);
        println!("  {:<44} {median:7.2} /{:7.2} ms   {:5.2}", case.name, millis(times[0]), median / floor);
    }
}

fn no_op(title: &str, roots: &[PathBuf]) {
    let prepare = |patterns: &[&str]| -> Vec<_> {
        let set = |root: &PathBuf| {
            let set = set(root, patterns);
            let snapshot = scan(&set, None, 2).snapshot;
            (set, snapshot)
        };
        roots.iter().map(set).collect()
    };
    let plain = prepare(&["src/**", "build.sh"]);
    let globs = prepare(&["src/**/*.txt", "!src/**/*_generated.txt", "build.sh"]);
    // What a package with no declared inputs comes to: everything that git does not ignore.
    let ignores = |root: &PathBuf, git: &GitIgnores| {
        let set = FileSet::inputs(root).patterns(["**"]).ignore(Ignore::Git(git.clone()));
        set.build().expect("patterns are well formed")
    };
    let ignoring: Vec<_> =
        roots.iter().map(|root| scan(&ignores(root, &GitIgnores::new()), None, 2).snapshot).collect();
    let no_op = |(set, snapshot): &(FileSet, Arc<Snapshot>), threads| {
        let scan = scan(set, Some(snapshot), threads);
        assert!(!scan.is_new() && scan.counts.read == 0);
    };
    let alone = roots.len() == 1;
    let (outer, inner) = if alone { (1, 2) } else { (2, 1) };
    compare(
        &format!("no-op, {title}"),
        vec![
            case("floor: getdents + fstatat", || roots.iter().for_each(|root| stat_all(root))),
            case("scan, 1 thread", || plain.iter().for_each(|pair| no_op(pair, 1))),
            case("scan, 1 thread, **/*.txt and an exclude", || globs.iter().for_each(|pair| no_op(pair, 1))),
            case("scan, 1 thread, what git does not ignore", || {
                let git = GitIgnores::new();
                roots.iter().zip(&ignoring).for_each(|(root, snapshot)| {
                    assert!(!scan(&ignores(root, &git), Some(snapshot), 1).is_new());
                });
            }),
            case("floor, 2 threads", || match alone {
                true => {
                    let directories: Vec<_> = subdirectories(&roots[0].join("src"));
                    each(2, &directories, |directory| stat_all(directory));
                }
                false => each(2, roots, |root| stat_all(root)),
            }),
            case("scan, 2 threads", || each(outer, &plain, |pair| no_op(pair, inner))),
        ],
    );
}

fn full_hash(title: &str, roots: &[PathBuf]) {
    let set = set(&roots[0], &["src/**", "build.sh"]);
    let directories = subdirectories(&roots[0].join("src"));
    compare(
        &format!("full hash, {title}"),
        vec![
            case("floor: read + blake3", || directories.iter().for_each(|directory| read_all(directory))),
            case("scan without a snapshot, 1 thread", || assert!(scan(&set, None, 1).counts.read > 0)),
            case("floor, 2 threads", || each(2, &directories, |directory| read_all(directory))),
            case("scan without a snapshot, 2 threads", || assert!(scan(&set, None, 2).counts.read > 0)),
        ],
    );
}

fn stored_form(root: &Path) {
    let snapshot = scan(&set(root, &["src/**", "build.sh"]), None, 2).snapshot;
    let bytes = snapshot.encode();
    println!("\nstored form of {} entries: {} bytes", snapshot.len(), bytes.len());
    compare(
        "stored form",
        vec![
            case("decode", || assert!(Snapshot::decode(black_box(&bytes)).is_ok())),
            case("encode", || assert!(!black_box(&snapshot).encode().is_empty())),
        ],
    );
}

fn open_directory(path: &Path) -> OwnedFd {
    openat(CWD, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .expect("a directory")
}

fn stat_all(path: &Path) {
    let mut buffer = [MaybeUninit::uninit(); 32 << 10];
    let mut open = vec![open_directory(path)];
    while let Some(directory) = open.pop() {
        let mut below: Vec<CString> = Vec::new();
        let mut entries = RawDir::new(&directory, &mut buffer);
        while let Some(entry) = entries.next() {
            let entry = entry.expect("a listing");
            let name = entry.file_name();
            match entry.file_type() {
                FileType::Directory if name.to_bytes() == b"." || name.to_bytes() == b".." => {}
                FileType::Directory => below.push(name.to_owned()),
                _ => {
                    black_box(statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW).expect("stat data"));
                }
            }
        }
        for name in below {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            open.push(openat(&directory, &*name, flags, Mode::empty()).expect("a directory"));
        }
    }
}

fn subdirectories(path: &Path) -> Vec<PathBuf> {
    fs::read_dir(path).expect("a directory").map(|entry| entry.expect("an entry").path()).collect()
}

fn read_all(path: &Path) {
    let directory = open_directory(path);
    let mut listing = [MaybeUninit::uninit(); 32 << 10];
    let mut buffer = vec![0; 64 << 10];
    let mut entries = RawDir::new(&directory, &mut listing);
    while let Some(entry) = entries.next() {
        let entry = entry.expect("a listing");
        if entry.file_type() == FileType::RegularFile {
            let flags = OFlags::RDONLY | OFlags::CLOEXEC;
            let file = openat(&directory, entry.file_name(), flags, Mode::empty()).expect("a file");
            let len = rustix::io::read(&file, &mut buffer).expect("content");
            black_box(blake3::hash(&buffer[..len]));
        }
    }
}
