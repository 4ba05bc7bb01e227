//! A model of a kernel that tells, in place of the real one: for what that does seldom, and for every order of events.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use super::root::{Vigil, WatchedRoot};
use super::{Event, Feed, Identity, Lost, WatchId, Watched, What};
use crate::sync::Mutex;

const ROOT_WATCH: WatchId = 1;

/// A root with one file, and what is told of it.
#[derive(Default)]
struct World {
    content: u64,
    /// Another file may take its name.
    file: WatchId,
    watched: BTreeMap<WatchId, ()>,
    queue: Vec<Event>,
    lost: Option<Lost>,
    refuses: bool,
    opened: usize,
}

impl World {
    fn tell(&mut self, id: WatchId, name: Option<&str>, what: What) {
        if self.watched.contains_key(&id) {
            self.queue.push(Event { id, name: name.map(|name| name.as_bytes().into()), what });
        }
    }
}

struct Model(Arc<Mutex<World>>);

impl Feed for Model {
    fn watch(&mut self, path: &Path) -> Watched {
        let world = &mut *self.0.lock();
        if world.refuses {
            return Watched::Full;
        }
        if path == Path::new("/") {
            world.watched.insert(ROOT_WATCH, ());
            return Watched::Directory(ROOT_WATCH);
        }
        world.watched.insert(world.file + 2, ());
        Watched::File(world.file + 2)
    }

    fn watch_above(&mut self, _path: &Path) -> Watched {
        Watched::Unreliable
    }

    fn identity(&mut self, _path: &Path) -> Option<Identity> {
        Some((1, 1))
    }

    fn unwatch(&mut self, id: WatchId) {
        self.0.lock().watched.remove(&id);
    }

    fn descriptor(&self) -> Option<OwnedFd> {
        None
    }

    fn take(&mut self) -> Result<Vec<Event>, Lost> {
        let world = &mut *self.0.lock();
        match world.lost.take() {
            Some(lost) => Err(lost),
            None => Ok(std::mem::take(&mut world.queue)),
        }
    }
}

/// What sessions hand on.
struct Carried {
    world: Arc<Mutex<World>>,
    root: WatchedRoot,
    seen: Mutex<Option<(u64, Vigil)>>,
}

impl Carried {
    fn new() -> Self {
        let world: Arc<Mutex<World>> = Arc::default();
        let shared = Arc::clone(&world);
        let root = WatchedRoot::with(Path::new("/"), 8, move || {
            shared.lock().watched.clear();
            shared.lock().opened += 1;
            Some(Box::new(Model(Arc::clone(&shared))))
        });
        Self { world, root, seen: Mutex::default() }
    }

    /// Sees the file in a new session, as the engine does. Beside it, whether it had to be looked at.
    fn see(&self) -> (u64, bool) {
        self.root.catch_up();
        let seen = self.seen.lock().clone();
        if let Some((seen, _)) = seen.filter(|(_, vigil)| vigil.is_unbroken()) {
            return (seen, false);
        }
        let vigil = self.root.vigils([Path::new("file")]).pop().flatten();
        let content = self.world.lock().content;
        if let Some(vigil) = vigil.filter(Vigil::is_unbroken) {
            *self.seen.lock() = Some((content, vigil));
        }
        (content, true)
    }

    /// Writes to the file, or puts another in its place; it is done before it is told, and told before this returns.
    fn change(&self, in_place: bool) -> u64 {
        let (before, content) = {
            let world = &mut *self.world.lock();
            world.content += 1;
            let before = world.file;
            world.file += WatchId::from(!in_place);
            (before, world.content)
        };
        crate::sync::yield_now();
        let world = &mut *self.world.lock();
        match in_place {
            true => world.tell(before + 2, None, What::Content),
            false => world.tell(ROOT_WATCH, Some("file"), What::Name),
        }
        content
    }
}

#[cfg(not(feature = "shuttle"))]
mod one_thread {
    use std::time::Duration;

    use tokio::time::{Instant, sleep};

    use super::*;
    use crate::source::watch::{Listener, Notice, Notices};

    #[test]
    fn whatever_is_lost_everything_is_looked_at_again_and_watched_anew() {
        let carried = Carried::new();
        assert_eq!((carried.see(), carried.see()), ((0, true), (0, false)));
        for (nth, lost) in [Lost::Overflow, Lost::Mounts, Lost::Failed].into_iter().enumerate() {
            carried.change(true);
            carried.world.lock().queue.clear();
            carried.world.lock().lost = Some(lost);
            assert_eq!(carried.see(), (nth as u64 + 1, true), "{lost:?}");
            assert_eq!(carried.see(), (nth as u64 + 1, false));
            assert_eq!(carried.world.lock().opened, nth + 2);
        }
        let counts = carried.root.counts();
        assert_eq!((counts.overflows, counts.mounts, counts.failures, counts.moves), (1, 1, 1, 0));
        // A directory above, or the root itself.
        carried.world.lock().tell(ROOT_WATCH, None, What::Gone);
        assert_eq!((carried.see(), carried.see()), ((3, true), (3, false)));
        assert_eq!((carried.root.counts().moves, carried.root.counts().watched), (1, 2));
    }

    #[test]
    fn where_nothing_can_be_watched_each_session_looks() {
        let carried = Carried::new();
        carried.world.lock().refuses = true;
        for n in 1..4 {
            carried.change(true);
            assert_eq!((carried.see(), carried.see()), ((n, true), (n, true)));
        }
        carried.world.lock().refuses = false;
        assert_eq!((carried.see(), carried.see()), ((3, true), (3, false)));
        assert_eq!(carried.root.counts().refused, 6);
    }

    /// Notices of a root with nothing to read from: whoever catches up tells.
    fn noticed() -> (Arc<Mutex<World>>, Arc<WatchedRoot>, Notices) {
        let Carried { world, root, .. } = Carried::new();
        let (root, listener) = (Arc::new(root), Arc::<Listener>::default());
        listener.listen_to(&root);
        root.catch_up();
        (world, root, Notices::of(listener))
    }

    fn touch(world: &Mutex<World>, root: &WatchedRoot, name: &str) {
        world.lock().tell(ROOT_WATCH, Some(name), What::Name);
        root.catch_up();
    }

    /// The names that a notice tells, and after how many milliseconds it came.
    async fn next(notices: &mut Notices, since: Instant) -> (Vec<String>, bool, u128) {
        let Notice { paths, rescan } = notices.next().await;
        let names = paths.iter().map(|path| path.display().to_string()).collect();
        (names, rescan, since.elapsed().as_millis())
    }

    #[tokio::test(start_paused = true)]
    async fn what_happens_in_quick_succession_is_told_at_once_when_it_is_over() {
        let (world, root, mut notices) = noticed();
        let since = Instant::now();
        let happening = async {
            for (after, name) in [(10, "b"), (60, "a"), (90, "b")] {
                sleep(Duration::from_millis(after)).await;
                touch(&world, &root, name);
            }
        };
        let (told, ()) = tokio::join!(next(&mut notices, since), happening);
        assert_eq!(told, (vec!["/a".to_owned(), "/b".to_owned()], false, 260));
    }

    #[tokio::test(start_paused = true)]
    async fn what_happens_all_the_time_is_told_all_the_same() {
        let (world, root, mut notices) = noticed();
        let since = Instant::now();
        let happening = async {
            for _ in 0..60 {
                touch(&world, &root, "log");
                sleep(Duration::from_millis(50)).await;
            }
        };
        let told = async {
            let first = next(&mut notices, since).await.2;
            (first, next(&mut notices, since).await.2)
        };
        let ((first, second), ()) = tokio::join!(told, happening);
        assert!((1000..1200).contains(&first) && (2000..2400).contains(&second), "{first} {second}");
    }

    #[tokio::test(start_paused = true)]
    async fn fifty_paths_are_told_without_waiting_and_the_rest_after_them() {
        let (world, root, mut notices) = noticed();
        let since = Instant::now();
        (0..110).for_each(|n| touch(&world, &root, &format!("{n:03}")));
        let mut told = Vec::new();
        for (count, after) in [(50, 0), (50, 0), (10, 100)] {
            let (names, rescan, at) = next(&mut notices, since).await;
            assert_eq!((names.len(), rescan, at), (count, false, after));
            told.extend(names);
        }
        assert_eq!((told.len(), told.is_sorted()), (110, true));
    }

    #[tokio::test(start_paused = true)]
    async fn where_not_all_is_known_everything_is_to_be_looked_at_again() {
        let (world, root, mut notices) = noticed();
        let since = Instant::now();
        touch(&world, &root, "a");
        world.lock().lost = Some(Lost::Overflow);
        root.catch_up();
        assert_eq!(next(&mut notices, since).await, (vec![], true, 0));
        // What can't be watched is made up for once a second.
        world.lock().refuses = true;
        root.vigils([Path::new("file")]);
        assert_eq!(next(&mut notices, since).await, (vec![], true, 1000));
        touch(&world, &root, "b");
        assert_eq!(next(&mut notices, since).await, (vec!["/b".to_owned()], false, 1100));
        // More than anybody wants to hear of one by one.
        (0..5000).for_each(|n| touch(&world, &root, &n.to_string()));
        assert_eq!(next(&mut notices, since).await, (vec![], true, 1100));
    }

    #[test]
    fn what_happens_while_something_is_looked_at_is_not_missed() {
        let carried = Carried::new();
        carried.see();
        for in_place in [true, false] {
            carried.root.catch_up();
            let vigil = carried.root.vigils([Path::new("file")]).pop().flatten().unwrap();
            carried.change(in_place);
            assert!(vigil.is_unbroken(), "nobody has asked yet");
            carried.root.catch_up();
            assert!(!vigil.is_unbroken());
            let mark = carried.root.now();
            let later = carried.root.vigils([Path::new("file")]).pop().flatten().unwrap();
            assert_eq!(
                later.clone().since(mark).is_unbroken(),
                in_place,
                "the other file was not watched by then"
            );
            assert!(later.is_unbroken() && !vigil.is_unbroken());
        }
    }
}

/// Every schedule of a few threads, by the model checker: `cargo test -p larder --features shuttle scheduled`.
#[cfg(feature = "shuttle")]
mod scheduled {
    use shuttle::sync::atomic::{AtomicU64, Ordering};
    use shuttle::thread;

    use super::*;

    fn check() {
        let carried = Arc::new(Carried::new());
        let finished = Arc::new(AtomicU64::new(0));
        let threads = (0..4).map(|n| {
            let (carried, finished) = (Arc::clone(&carried), Arc::clone(&finished));
            thread::spawn(move || {
                for round in 0..3 {
                    if n == 0 {
                        let content = carried.change(round != 1);
                        finished.store(content, Ordering::SeqCst);
                    } else {
                        let before = finished.load(Ordering::SeqCst);
                        let (seen, _) = carried.see();
                        assert!(seen >= before, "saw {seen}, and {before} had been written");
                    }
                }
            })
        });
        let threads: Vec<_> = threads.collect();
        threads.into_iter().for_each(|thread| thread.join().expect("no thread panics"));
        // All is quiet: it is looked at once more at most.
        carried.see();
        assert_eq!(carried.see(), (3, false));
    }

    #[test]
    fn scheduled_a_session_sees_what_was_finished_before_it_began() {
        shuttle::check_random(check, 10_000);
        shuttle::check_pct(check, 10_000, 3);
    }
}
