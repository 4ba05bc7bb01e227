//! Random trees and edits: what sessions with a watch answer is what sessions without one do, also where something
//! happens in the middle of one.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;

use larder::engine::{Outside, Queries, Watch};
use proptest::collection::vec;
use proptest::prelude::*;

use super::lab::Lab;
use super::watching::See;

#[derive(Debug, Clone)]
enum Edit {
    Write(usize, u8),
    /// Writes below a path, with all directories that are missing.
    Grow(usize, u8),
    Remove(usize),
    Rename(usize, usize),
    Exchange(usize, usize),
    /// Makes a symbolic link that leads to a path.
    Lead(usize, usize),
    /// Gives a file another name, outside of the root or inside.
    Link(usize, usize),
    /// Writes through a descriptor that was opened before, whatever it belongs to by now.
    Hold(usize),
    WriteHeld(u8),
}

#[derive(Debug, Clone)]
enum Step {
    Edit(Edit),
    /// Asks for some of what there is.
    Ask(Vec<usize>),
    /// The same, with an edit in the middle: what it answers is not sure, what is asked after it is.
    Straddle(Vec<usize>, Edit),
    /// A session that begins, goes on after an edit and another session, and asks for the same.
    Overlap(Vec<usize>, Edit),
}

/// Paths below the root, and the last two outside of it.
const PATHS: [&str; 12] =
    ["a", "b", "a/a", "a/b", "b/a", "b/b", "a/a/a", "a/a/b", "a/b/a", "b/a/b", "../out/x", "../out/y"];
const INSIDE: usize = 10;

/// What can be asked for: the content and the names at each path, and some patterns.
fn sources() -> Vec<String> {
    let paths = PATHS[..INSIDE].iter();
    let mut sources: Vec<String> =
        paths.flat_map(|path| [(*path).to_owned(), format!("list {path}")]).collect();
    sources.extend(["list ", "glob **/a", "glob a/**", "glob */b", "glob a/a/b"].map(str::to_owned));
    sources
}

fn edit() -> impl Strategy<Value = Edit> {
    let path = || 0..PATHS.len();
    prop_oneof![
        4 => (path(), any::<u8>()).prop_map(|(path, n)| Edit::Write(path, n)),
        3 => (path(), any::<u8>()).prop_map(|(path, n)| Edit::Grow(path, n)),
        2 => path().prop_map(Edit::Remove),
        4 => (path(), path()).prop_map(|(from, to)| Edit::Rename(from, to)),
        1 => (path(), path()).prop_map(|(one, other)| Edit::Exchange(one, other)),
        1 => (path(), path()).prop_map(|(at, to)| Edit::Lead(at, to)),
        2 => (path(), path()).prop_map(|(of, at)| Edit::Link(of, at)),
        1 => path().prop_map(Edit::Hold),
        2 => any::<u8>().prop_map(Edit::WriteHeld),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let some = || vec(0..sources().len(), 1..12);
    let step = prop_oneof![
        6 => edit().prop_map(Step::Edit),
        5 => some().prop_map(Step::Ask),
        2 => (some(), edit()).prop_map(|(some, edit)| Step::Straddle(some, edit)),
        1 => (some(), edit()).prop_map(|(some, edit)| Step::Overlap(some, edit)),
    ];
    vec(step, 1..60)
}

struct World {
    lab: Lab,
    queries: Queries,
    watched: Outside,
    held: Option<File>,
}

impl World {
    fn new(watch: &Watch) -> Self {
        let mut lab = Lab::new();
        fs::create_dir(lab.path("root")).unwrap();
        fs::create_dir(lab.path("out")).unwrap();
        lab.outside = Outside::new(lab.path("root"));
        let watched = lab.outside.clone().watched(watch);
        let queries = lab.queries.clone().with::<See>().unwrap();
        Self { lab, queries, watched, held: None }
    }

    fn path(&self, path: usize) -> PathBuf {
        self.lab.path("root").join(PATHS[path])
    }

    /// What can't be done is left.
    fn edit(&mut self, edit: &Edit) {
        let done = match *edit {
            Edit::Write(path, n) => fs::write(self.path(path), n.to_string()),
            Edit::Grow(path, n) => {
                let deep = self.path(path).join("a");
                fs::create_dir_all(&deep).and_then(|()| fs::write(deep.join("b"), n.to_string()))
            }
            Edit::Remove(path) => {
                let path = self.path(path);
                fs::remove_file(&path).or_else(|_| fs::remove_dir_all(&path))
            }
            Edit::Rename(from, to) => fs::rename(self.path(from), self.path(to)),
            Edit::Exchange(one, other) => {
                let (here, exchange) = (rustix::fs::CWD, rustix::fs::RenameFlags::EXCHANGE);
                let paths = [self.path(one), self.path(other)];
                rustix::fs::renameat_with(here, &paths[0], here, &paths[1], exchange).map_err(Into::into)
            }
            Edit::Lead(at, to) => std::os::unix::fs::symlink(self.path(to), self.path(at)),
            Edit::Link(of, at) => fs::hard_link(self.path(of), self.path(at)),
            Edit::Hold(path) => {
                self.held = File::options().append(true).open(self.path(path)).ok();
                Ok(())
            }
            Edit::WriteHeld(n) => self.held.iter_mut().try_for_each(|held| write!(held, "{n}")),
        };
        let _ = done;
    }

    async fn see(&self, outside: &Outside, some: &[usize]) -> Vec<Option<Vec<String>>> {
        let session = self.queries.session(outside.clone());
        ask(&session, some).await
    }

    async fn check(&self, some: &[usize]) -> Result<(), TestCaseError> {
        let watched = self.see(&self.watched, some).await;
        let bare = self.see(&self.lab.outside, some).await;
        let names: Vec<String> = some.iter().map(|&at| sources().swap_remove(at)).collect();
        prop_assert_eq!(watched, bare, "{:?}", names);
        // What can mostly be seen without an error, by one query: enough to be found right all at once.
        let whole = || See(sources().into_iter().filter(|source| source.contains(' ')).collect());
        let watched = self.queries.session(self.watched.clone()).get(whole()).await;
        let bare = self.queries.session(self.lab.outside.clone()).get(whole()).await;
        // A link may lead to itself.
        prop_assert_eq!(watched.ok().map(|seen| seen.to_vec()), bare.ok().map(|seen| seen.to_vec()));
        Ok(())
    }
}

/// What each of them answers; `None` if that failed, as where a directory is read.
async fn ask(session: &larder::engine::Session, some: &[usize]) -> Vec<Option<Vec<String>>> {
    let mut seen = Vec::new();
    for &at in some {
        let see = See(vec![sources().swap_remove(at)]);
        seen.push(session.get(see).await.ok().map(|answer| (*answer).to_vec()));
    }
    seen
}

fn check(steps: &[Step]) -> Result<(), TestCaseError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let watch = Watch::new();
        let mut world = World::new(&watch);
        for step in steps {
            match step {
                Step::Edit(edit) => world.edit(edit),
                Step::Ask(some) => world.check(some).await?,
                Step::Straddle(some, edit) => {
                    let session = world.queries.session(world.watched.clone());
                    ask(&session, &some[..some.len() / 2]).await;
                    world.edit(edit);
                    ask(&session, some).await;
                    drop(session);
                    world.check(some).await?;
                }
                Step::Overlap(some, edit) => {
                    let session = world.queries.session(world.watched.clone());
                    ask(&session, &some[..1]).await;
                    world.edit(edit);
                    world.check(some).await?;
                    ask(&session, some).await;
                    drop(session);
                    world.check(some).await?;
                }
            }
        }
        let all: Vec<usize> = (0..sources().len()).collect();
        for _ in 0..3 {
            world.check(&all).await?;
        }
        let counts = watch.counts();
        prop_assert_eq!((counts.overflows, counts.mounts, counts.failures), (0, 0, 0));
        Ok(())
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 400, ..ProptestConfig::default() })]

    #[test]
    fn a_session_with_a_watch_answers_what_one_without_does(steps in steps()) {
        check(&steps)?;
    }
}
