//! Sessions with a watch: what nothing has happened to is not looked at again, and everything that has is seen.

use std::fs::{self, File};
use std::io::{Seek, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use larder::config::Mode;
use larder::engine::{Context, LookError, Outside, Query, Watch};
use larder::source::{Counts, WatchCounts};
use serde::{Deserialize, Serialize};

use super::lab::{Lab, Sum, Value, take_ran};

/// Whatever there is at some paths: content, names, or what a pattern selects.
#[derive(Serialize, Deserialize, Clone)]
pub(super) struct See(pub(super) Vec<String>);

impl Query for See {
    type Output = Vec<String>;
    type Error = LookError;
    const KIND: &'static str = "see";
    const VERSION: u32 = 1;

    async fn compute(&self, cx: &Context) -> Result<Vec<String>, LookError> {
        let mut seen = Vec::new();
        for what in &self.0 {
            seen.push(if let Some(directory) = what.strip_prefix("list ") {
                format!("{:?}", cx.list(directory).await?)
            } else if let Some(pattern) = what.strip_prefix("glob ") {
                format!("{:?}", cx.glob([pattern]).await?)
            } else {
                let content = cx.read(what).await?;
                format!("{:?}", content.map(|content| String::from_utf8_lossy(&content).into_owned()))
            });
        }
        Ok(seen)
    }
}

/// A lab whose sessions have a watch, and the same outside without.
struct Watched {
    lab: Lab,
    queries: larder::engine::Queries,
    watch: Watch,
    bare: Outside,
}

impl Watched {
    fn new() -> Self {
        Self::with(Watch::new())
    }

    fn with(watch: Watch) -> Self {
        let mut lab = Lab::settled();
        let bare = lab.outside.clone();
        lab.outside = bare.clone().watched(&watch);
        let queries = lab.queries.clone().with::<See>().unwrap();
        Self { lab, queries, watch, bare }
    }

    /// Asks in a session with the watch, and compares with one without.
    async fn see(&self, what: &[&str]) -> (String, Counts) {
        let see = See(what.iter().map(|&what| what.to_owned()).collect());
        let session = self.queries.session(self.lab.outside.clone());
        let told = |answer: Result<larder::engine::Derived<Vec<String>>, _>| match answer {
            Ok(seen) => seen.join(" "),
            Err(error) => super::lab::words(&error),
        };
        let seen = told(session.get(see.clone()).await);
        // One without would else be answered from what the other kept.
        let fresh = told(self.queries.session(self.bare.clone()).get(see).await);
        assert_eq!(seen, fresh, "{what:?}");
        (seen, session.counts())
    }

    /// What a session that sees what an earlier one saw looks at.
    async fn cost(&self, what: &[&str]) -> Counts {
        self.see(what).await.1
    }
}

const NOTHING: Counts = Counts { directories: 0, looked_at: 0, read: 0, read_bytes: 0, carried: 0 };

#[tokio::test]
async fn what_nothing_has_happened_to_is_not_looked_at_again() {
    let watched = Watched::new();
    watched.lab.set("a", "1").set("d/e/b", "2").set("d/c", "3");
    let what = ["a", "d/e/b", "list d", "none", "no/such/file", "a/below", "glob **/b"];
    watched.see(&what).await;
    watched.see(&what).await;
    assert_eq!(watched.cost(&what).await, Counts { carried: 7, ..NOTHING });
    watched.lab.set("d/c", "4");
    assert_eq!(watched.cost(&what).await, Counts { carried: 7, ..NOTHING }, "nobody looked there");
    watched.lab.set("a", "5");
    let cost = watched.cost(&what).await;
    // What is below a file hangs on the file. Read are the file, to see that it changed, and two contents.
    assert_eq!((cost.carried, cost.read), (5, 3));
    assert_eq!(watched.watch.counts().refused, 0);
}

#[tokio::test]
async fn an_untouched_tree_costs_no_look_and_an_edit_costs_what_it_touched() {
    let watched = Watched::new();
    for n in 0..1000 {
        watched.lab.set(&format!("d{}/c{n}", n / 50), "1");
    }
    let all = || Sum { pattern: "**/c*".to_owned() };
    let sum = async || {
        let session = watched.lab.session();
        (*session.get(all()).await.unwrap(), session.counts())
    };
    for _ in 0..3 {
        assert_eq!(sum().await.0, 1000);
    }
    take_ran();
    // The pattern and each file.
    assert_eq!(sum().await, (1000, Counts { carried: 1001, ..NOTHING }));
    assert!(take_ran().is_empty());
    watched.lab.set("d7/c350", "5");
    let (answer, cost) = sum().await;
    assert_eq!(answer, 1004);
    assert_eq!((cost.directories, cost.looked_at, cost.read), (0, 2, 2), "that file, and no other");
    assert_eq!(take_ran(), ["parse(d7/c350)", "sum", "value(d7/c350)"]);
    assert_eq!(sum().await.1, Counts { carried: 1001, ..NOTHING });
    assert_eq!(watched.watch.counts().refused, 0);
}

#[tokio::test]
async fn every_way_of_changing_a_file_is_seen() {
    let watched = Watched::new();
    let (lab, elsewhere) = (&watched.lab, tempfile::tempdir().unwrap());
    let other = elsewhere.path().join("other");
    lab.set("d/a", "0");
    fs::hard_link(lab.path("d/a"), &other).unwrap();
    let what = ["d/a", "list d"];
    let mut last = watched.see(&what).await.0;
    let mut check = async |how: &str, edit: &dyn Fn()| {
        assert_eq!(watched.cost(&what).await.carried, 2, "before: {how}");
        edit();
        let (seen, _) = watched.see(&what).await;
        assert_ne!(seen, last, "{how}");
        last = seen;
    };
    let path = lab.path("d/a");
    check("written", &|| fs::write(&path, "1").unwrap()).await;
    check("written by another name", &|| fs::write(&other, "2").unwrap()).await;
    check("written by a name from now", &|| {
        let newer = elsewhere.path().join("newer");
        fs::hard_link(&path, &newer).unwrap();
        fs::write(newer, "3").unwrap();
    })
    .await;
    let newest = elsewhere.path().join("newest");
    fs::hard_link(&path, &newest).unwrap();
    watched.see(&what).await;
    let mut open = File::options().write(true).open(&newest).unwrap();
    check("written by a descriptor from before", &|| (&open).write_all(b"45").unwrap()).await;
    check("cut short", &|| open.set_len(1).unwrap()).await;
    open.rewind().unwrap();
    check("another renamed over it", &|| {
        fs::write(lab.path("d/new"), "6").unwrap();
        fs::rename(lab.path("d/new"), &path).unwrap();
    })
    .await;
    check("removed", &|| fs::remove_file(&path).unwrap()).await;
    check("made", &|| fs::write(&path, "7").unwrap()).await;
    check("moved in from outside", &|| fs::rename(&other, &path).unwrap()).await;
    check("moved away", &|| fs::rename(&path, &other).unwrap()).await;
    check("linked in", &|| fs::hard_link(&other, &path).unwrap()).await;
}

#[tokio::test]
async fn every_way_of_changing_what_is_on_the_way_is_seen() {
    let watched = Watched::new();
    let (lab, elsewhere) = (&watched.lab, tempfile::tempdir().unwrap());
    lab.set("a/b/c/f", "0").set("x/b/c/f", "1");
    let what = ["a/b/c/f", "list a/b/c", "glob a/**/f"];
    let mut last = String::new();
    let mut check = async |how: &str, edit: &dyn Fn()| {
        edit();
        let (seen, _) = watched.see(&what).await;
        assert_ne!(seen, last, "{how}");
        last = seen;
        watched.see(&what).await;
        assert_eq!(watched.cost(&what).await.looked_at, 0, "after: {how}");
    };
    let (a, b, x) = (lab.path("a"), lab.path("a/b"), lab.path("x"));
    let away = elsewhere.path().join("away");
    check("as it was", &|| ()).await;
    check("a directory moved away", &|| fs::rename(&a, &away).unwrap()).await;
    check("another in its place", &|| fs::rename(&x, &a).unwrap()).await;
    check("what is in it, after that", &|| fs::write(b.join("c/f"), "2").unwrap()).await;
    check("removed with all that is in it", &|| fs::remove_dir_all(&b).unwrap()).await;
    check("made anew, and at once something deep in it", &|| {
        fs::create_dir_all(b.join("c/d")).unwrap();
        fs::write(b.join("c/f"), "3").unwrap();
    })
    .await;
    check("two names exchanged", &|| {
        let flags = rustix::fs::RenameFlags::EXCHANGE;
        rustix::fs::renameat_with(rustix::fs::CWD, &a, rustix::fs::CWD, &away, flags).unwrap();
    })
    .await;
    check("a file in its place", &|| {
        fs::remove_dir_all(&b).unwrap();
        fs::write(&b, "").unwrap();
    })
    .await;
}

#[tokio::test]
async fn what_is_found_through_a_link_is_looked_at_in_each_session() {
    let watched = Watched::new();
    let lab = &watched.lab;
    lab.set("real/f", "1").set("other/f", "22").set("f", "333");
    symlink("real", lab.path("way")).unwrap();
    symlink("f", lab.path("link")).unwrap();
    let what = ["way/f", "link", "list way", "glob way/*", "glob l*"];
    let mut last = String::new();
    for edit in 0..4 {
        match edit {
            0 => {}
            1 => {
                lab.set("real/f", "4").set("real/g", "4");
            }
            2 => {
                fs::remove_file(lab.path("way")).unwrap();
                symlink("other", lab.path("way")).unwrap();
            }
            _ => {
                lab.remove("f");
            }
        }
        let (seen, _) = watched.see(&what).await;
        assert_ne!(seen, last);
        last = seen;
        for _ in 0..2 {
            assert_eq!(watched.cost(&what).await.carried, 0);
        }
    }
    assert!(watched.watch.counts().refused > 0);
}

#[tokio::test]
async fn what_a_pattern_found_before_a_file_was_watched_is_not_handed_on() {
    let watched = Watched::new();
    watched.lab.set("d/f", "1");
    let (glob, file) = (See(vec!["glob d/*".into()]), See(vec!["d/f".into()]));
    // Kept is what the file's answer is built on, so that it is verified and not read.
    watched.queries.session(watched.bare.clone()).get(file.clone()).await.unwrap();
    let session = watched.queries.session(watched.lab.outside.clone());
    session.get(glob).await.unwrap();
    watched.lab.set("d/f", "2");
    let seen = session.get(file).await.unwrap();
    assert!(seen[0].contains('1'), "the session has looked at it before");
    assert!(watched.see(&["d/f"]).await.0.contains('2'));
}

#[tokio::test]
async fn what_is_found_right_all_at_once_is_one_view_with_what_is_asked_after_it() {
    let mut watched = Watched::new();
    watched.lab.export("V1", "1");
    let names: Vec<String> = (0..40).map(|n| format!("c{n}")).collect();
    for (n, name) in names.iter().enumerate() {
        watched.lab.set(name, &n.to_string());
    }
    watched.lab.set("all", &format!("$V1 {}", names.join(" ")));
    let all = || Value { cell: "all".to_owned() };
    let one = || Value { cell: "c7".to_owned() };
    let sum: i64 = 1 + (0..40).sum::<i64>();
    for _ in 0..4 {
        assert_eq!(*watched.lab.session().get(all()).await.unwrap(), sum);
    }
    take_ran();
    let session = watched.lab.session();
    assert_eq!(*session.get(all()).await.unwrap(), sum);
    assert_eq!((session.counts().looked_at, take_ran().len()), (0, 0));
    // Another session learns of it, and this one goes on as it began.
    watched.lab.set("c7", "1000");
    assert_eq!(*watched.lab.session().get(all()).await.unwrap(), sum + 993);
    take_ran();
    assert_eq!(*session.get(one()).await.unwrap(), 7);
    assert_eq!(*session.get(all()).await.unwrap(), sum);
    assert!(take_ran().is_empty(), "both are as they were when it began");
    watched.lab.set("c7", "7");
    for _ in 0..3 {
        assert_eq!(*watched.lab.session().get(all()).await.unwrap(), sum);
    }
    // One that began before the change, and asks for all of it only when others have found that right.
    let session = watched.lab.session();
    assert_eq!(*session.get(one()).await.unwrap(), 7);
    watched.lab.set("c7", "1000");
    for _ in 0..3 {
        assert_eq!(*watched.lab.session().get(all()).await.unwrap(), sum + 993);
    }
    assert_eq!(*session.get(all()).await.unwrap(), sum);
    watched.lab.set("c7", "7");
    watched.lab.outside.environment.insert("V1".into(), "5".into());
    assert_eq!(*watched.lab.session().get(all()).await.unwrap(), sum + 4);
    take_ran();
}

#[tokio::test]
async fn a_root_that_is_moved_or_made_anew_is_looked_at_afresh() {
    let watched = Watched::new();
    let lab = &watched.lab;
    for (at, content) in [("up/one", "1"), ("up/two", "2"), ("aside/one", "3")] {
        lab.set(&format!("{at}/f"), content).set(&format!("{at}/d/g"), content);
    }
    let path = |path: &str| lab.path(path);
    symlink("up", path("link")).unwrap();
    let mut roots = 0;
    for root in ["up/one", "link/one"] {
        let watch = Watch::new();
        let watched = Outside::new(lab.path(root)).watched(&watch);
        let sees = async |expected: &str| {
            for _ in 0..2 {
                let session = watched_queries(lab).session(watched.clone());
                let seen = session.get(See(vec!["f".into(), "d/g".into(), "list d".into()])).await.unwrap();
                assert!(seen[0].contains(expected) && seen[1].contains(expected), "{expected}: {seen:?}");
            }
            let session = watched_queries(lab).session(watched.clone());
            session.get(See(vec!["f".into(), "d/g".into(), "list d".into()])).await.unwrap();
            assert_eq!((session.counts().carried, session.counts().looked_at), (3, 0), "{expected}");
        };
        sees("1").await;
        // Another takes its place, and then it comes back.
        fs::rename(path("up/one"), path("up/three")).unwrap();
        fs::rename(path("up/two"), path("up/one")).unwrap();
        sees("2").await;
        fs::rename(path("up/one"), path("up/two")).unwrap();
        fs::rename(path("up/three"), path("up/one")).unwrap();
        sees("1").await;
        // The same, one directory further up: nothing happens to the root itself.
        fs::rename(path("up"), path("down")).unwrap();
        fs::rename(path("aside"), path("up")).unwrap();
        sees("3").await;
        fs::rename(path("up"), path("aside")).unwrap();
        fs::rename(path("down"), path("up")).unwrap();
        sees("1").await;
        // Somebody has it open, so that it does not tell that it was removed.
        let held = File::open(path("up/one")).unwrap();
        fs::remove_dir_all(path("up/one")).unwrap();
        lab.set("up/one/f", "4").set("up/one/d/g", "4");
        sees("4").await;
        for name in ["f", "d/g"] {
            fs::rename(path("aside/one").join(name), path("up/one").join(name)).unwrap();
        }
        sees("3").await;
        for name in ["f", "d/g"] {
            lab.set(&format!("aside/one/{name}"), "3");
        }
        drop(held);
        fs::remove_dir_all(path("up/one")).unwrap();
        lab.set("up/one/f", "1").set("up/one/d/g", "1");
        roots += watch.counts().moves;
    }
    assert_eq!(roots, 10, "each time");
    let watch = Watch::new();
    let watched = Outside::new(lab.path("link/one")).watched(&watch);
    for expected in ["1", "3"] {
        let session = watched_queries(lab).session(watched.clone());
        assert!(session.get(See(vec!["f".into()])).await.unwrap()[0].contains(expected));
        fs::remove_file(path("link")).unwrap();
        symlink("aside", path("link")).unwrap();
    }
}

fn watched_queries(lab: &Lab) -> larder::engine::Queries {
    lab.queries.clone().with::<See>().unwrap()
}

#[tokio::test]
async fn when_more_happens_than_the_queue_holds_everything_is_looked_at_again() {
    let watched = Watched::new();
    watched.lab.set("a", "1").set("b", "1").set("c", "1");
    let what = ["a", "b", "c"];
    watched.see(&what).await;
    let files = ["a", "b"].map(|name| File::options().append(true).open(watched.lab.path(name)).unwrap());
    let most: u64 =
        fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap().trim().parse().unwrap();
    // Two in turns, as what repeats itself is queued once.
    for n in 0..=most {
        (&files[(n % 2) as usize]).write_all(b"1").unwrap();
    }
    watched.lab.set("c", "2");
    let (seen, cost) = watched.see(&what).await;
    assert!(seen.ends_with("Some(\"2\")"), "the last event was lost");
    assert_eq!((cost.carried, watched.watch.counts().overflows), (0, 1));
    watched.see(&what).await;
    assert_eq!(watched.cost(&what).await, Counts { carried: 3, ..NOTHING });
}

#[tokio::test]
async fn where_there_is_no_room_for_a_watch_each_session_looks() {
    let watched = Watched::with(Watch::with_limit(4));
    let names: Vec<String> = (0..8).map(|n| format!("f{n}")).collect();
    let what: Vec<&str> = names.iter().map(String::as_str).collect();
    for name in &names {
        watched.lab.set(name, "1");
    }
    for n in 0..8 {
        watched.lab.set(&format!("f{n}"), "2");
        watched.see(&what).await;
        let cost = watched.cost(&what).await;
        assert_eq!((cost.carried, cost.looked_at), (3, 5), "the root takes room too");
    }
    assert_eq!(watched.watch.counts().watched, 4);
    // What is not asked for any more makes room.
    let last = &what[5..];
    for _ in 0..4 {
        watched.see(last).await;
    }
    assert_eq!(watched.cost(last).await, Counts { carried: 3, ..NOTHING });
}

#[tokio::test]
async fn what_can_not_be_watched_is_looked_at_in_each_session() {
    let watch = Watch::new();
    let lab = Lab::settled();
    // A file system that a program makes up.
    let outside = Outside::new("/proc/sys/fs/inotify").watched(&watch);
    for _ in 0..3 {
        let session = watched_queries(&lab).session(outside.clone());
        assert!(session.get(See(vec!["list ".into()])).await.is_ok());
        assert_eq!(session.counts().carried, 0);
    }
    assert_eq!(watch.counts(), WatchCounts { refused: watch.counts().refused, ..WatchCounts::default() });
}

#[tokio::test]
async fn with_the_cache_off_each_session_looks() {
    let mut lab = Lab::with(|settings| settings.mode = Mode::Off);
    lab.outside = lab.outside.clone().watched(&Watch::new());
    lab.set("a", "1");
    for _ in 0..3 {
        let session = lab.session();
        assert_eq!(*session.get(Value { cell: "a".to_owned() }).await.unwrap(), 1);
        assert_eq!((session.counts().carried, session.counts().read), (0, 2));
    }
    take_ran();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_sees_what_was_finished_before_it_began_whoever_else_looks() {
    use std::sync::atomic::{AtomicU64, Ordering};
    let watched = Watched::new();
    watched.lab.set("d/n", "0");
    let path = watched.lab.path("d/n");
    let finished = std::sync::Arc::new(AtomicU64::new(0));
    let writer = std::thread::spawn({
        let finished = std::sync::Arc::clone(&finished);
        move || {
            for n in 1..=2_000 {
                // In place and by renaming, in turns.
                let next = path.with_extension("next");
                if n % 3 == 0 {
                    fs::write(&next, n.to_string()).unwrap();
                    fs::rename(&next, &path).unwrap();
                } else {
                    let mut file = File::options().write(true).open(&path).unwrap();
                    // One write, so that it is never seen half done.
                    file.write_all(format!("{n:>6}").as_bytes()).unwrap();
                }
                finished.store(n, Ordering::SeqCst);
            }
        }
    });
    let mut sessions = tokio::task::JoinSet::new();
    for _ in 0..2 {
        let (queries, outside) = (watched.queries.clone(), watched.lab.outside.clone());
        let finished = std::sync::Arc::clone(&finished);
        sessions.spawn(async move {
            loop {
                let before = finished.load(Ordering::SeqCst);
                let session = queries.session(outside.clone());
                // It changes all the time: what could not be read in peace is an error, and no old answer.
                if let Ok(seen) = session.get(See(vec!["d/n".into()])).await {
                    let number: String = seen[0].chars().filter(char::is_ascii_digit).collect();
                    let number: u64 = number.parse().unwrap();
                    assert!(number >= before, "saw {number}, and {before} had been written");
                }
                if before == 2_000 {
                    return;
                }
            }
        });
    }
    while let Some(session) = sessions.join_next().await {
        session.unwrap();
    }
    writer.join().unwrap();
}

#[tokio::test]
async fn what_may_not_be_looked_at_any_more_is_seen() {
    let watched = Watched::new();
    watched.lab.set("d/f", "1");
    watched.see(&["d/f", "list d"]).await;
    let shut = |path: &Path, mode| fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    // Whoever may do anything is not kept out, and looks all the same.
    shut(&watched.lab.path("d"), 0o000);
    let cost = watched.cost(&["d/f", "list d"]).await;
    assert_eq!(cost.carried, 0);
    shut(&watched.lab.path("d"), 0o700);
    watched.see(&["d/f", "list d"]).await;
    shut(&watched.lab.path("d/f"), 0o600);
    assert_eq!(watched.cost(&["d/f", "list d"]).await.carried, 1);
}

#[tokio::test]
async fn whoever_waits_is_told_of_what_sessions_have_looked_at_and_of_nothing_else() {
    let watched = Watched::new();
    let bound = std::time::Duration::from_secs(60);
    let mut notices = watched.watch.notices();
    watched.lab.set("a", "1").set("d/b", "2").set("d/c", "3").set("e/f", "4");
    let what = ["a", "list d", "glob e/*", "none"];
    watched.see(&what).await;
    let mut next = async || tokio::time::timeout(bound, notices.next()).await.expect("a notice comes");
    assert!(
        next().await.rescan,
        "a glob may have missed what happened while it was looked at for the first time"
    );
    watched.see(&what).await;
    let root = watched.lab.path("").canonicalize().unwrap();
    watched.lab.set("d/c", "5").set("d/new", "6").set("a", "7").set("none", "8").set("e/new", "9");
    let told = next().await;
    let paths: Vec<_> = told.paths.iter().map(|path| path.strip_prefix(&root).unwrap()).collect();
    let expected = ["a", "d/new", "e/new", "none"].map(Path::new);
    assert_eq!((paths, told.rescan), (expected.to_vec(), false));
    watched.see(&what).await;
}
