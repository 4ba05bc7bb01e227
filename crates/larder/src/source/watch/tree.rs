//! What is watched below a root, as a tree of names.
//!
//! Invariant: a node that is in the tree is watched, and so is each directory above it, from before it was added. One
//! whose name may belong to something else by now is taken out with all that is below it, and its spot never is quiet
//! again.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use foldhash::fast::RandomState;

use super::{Event, Feed, Identity, WatchId, Watched, What};
use crate::sync::{AtomicBool, AtomicU64};

/// Says of a spot that nothing more will be told of it.
const ENDED: u64 = u64::MAX;

/// A thing that is watched.
#[derive(Debug)]
pub(super) struct Spot {
    /// The time of the last thing that happened to it, or since when it is watched; [`ENDED`] at last.
    changed: AtomicU64,
    /// Whether somebody made use of it since it was looked whether anybody does.
    used: AtomicBool,
}

impl Spot {
    fn new(now: u64) -> Arc<Self> {
        Arc::new(Self { changed: AtomicU64::new(now), used: AtomicBool::new(true) })
    }

    /// Whether nothing has happened to it after `time`.
    pub(super) fn is_quiet_since(&self, time: u64) -> bool {
        let quiet = self.changed.load(Ordering::Acquire) <= time;
        if quiet && !self.used.load(Ordering::Relaxed) {
            self.used.store(true, Ordering::Relaxed);
        }
        quiet
    }

    fn happened(&self, now: u64) {
        // The time does not stand still, but one that has ended stays so.
        if self.changed.load(Ordering::Relaxed) != ENDED {
            self.changed.store(now, Ordering::Release);
        }
    }

    fn end(&self) {
        self.changed.store(ENDED, Ordering::Release);
    }
}

type NodeId = u32;
const ROOT: NodeId = 0;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Directory,
    File,
    Nothing,
    Unreliable,
}

#[derive(Debug)]
struct Node {
    above: NodeId,
    name: Box<[u8]>,
    kind: Kind,
    watch: Option<WatchId>,
    below: HashMap<Box<[u8]>, NodeId, RandomState>,
    spot: Arc<Spot>,
}

/// Who a watch is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum For {
    Node(NodeId),
    /// A directory above the root.
    Above,
}

/// The root is somewhere else, or the way to it is not what it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RootGone;

/// What is watched.
pub(super) struct Tree {
    root: PathBuf,
    identity: Identity,
    nodes: Vec<Option<Node>>,
    free: Vec<NodeId>,
    watches: HashMap<WatchId, Vec<For>, RandomState>,
    limit: usize,
    /// Whether something could not be watched because there was no room.
    full: bool,
}

impl Tree {
    /// Watches the directory `root` and all directories above it. The path has no links in it, or this comes to
    /// nothing.
    pub(super) fn plant(root: PathBuf, feed: &mut dyn Feed, limit: usize, now: u64) -> Option<Self> {
        let mut watches: HashMap<_, Vec<For>, _> = HashMap::default();
        let mut above: Vec<&Path> = root.ancestors().skip(1).collect();
        above.reverse();
        for above in above {
            let Watched::Directory(id) = feed.watch_above(above) else { return None };
            watches.entry(id).or_default().push(For::Above);
        }
        let identity = feed.identity(&root)?;
        let Watched::Directory(id) = feed.watch(&root) else { return None };
        // One that was removed does not come back, so it was there in between.
        if feed.identity(&root) != Some(identity) {
            return None;
        }
        watches.entry(id).or_default().push(For::Node(ROOT));
        let node = Node {
            above: ROOT,
            name: Box::default(),
            kind: Kind::Directory,
            watch: Some(id),
            below: HashMap::default(),
            spot: Spot::new(now),
        };
        Some(Self { root, identity, nodes: vec![Some(node)], free: Vec::new(), watches, limit, full: false })
    }

    /// Whether the root is at `path`, still the same one. A directory that is removed while somebody has it open tells
    /// so only when that one closes it; its number goes to no other before.
    pub(super) fn is_at(&self, path: Option<&Path>, feed: &mut dyn Feed) -> bool {
        path == Some(&self.root) && feed.identity(&self.root) == Some(self.identity)
    }

    /// How many things are watched.
    pub(super) fn len(&self) -> usize {
        self.nodes.len() - self.free.len()
    }

    pub(super) fn is_full(&self) -> bool {
        self.full
    }

    fn node(&self, id: NodeId) -> &Node {
        self.nodes[id as usize].as_ref().expect("who refers to a node goes before it")
    }

    fn node_mut(&mut self, id: NodeId) -> &mut Node {
        self.nodes[id as usize].as_mut().expect("who refers to a node goes before it")
    }

    /// The spot at which is told what happens to whatever is found at `path`, which is watched from now on. `None` if
    /// not everything would be told.
    pub(super) fn spot(&mut self, path: &Path, feed: &mut dyn Feed, now: u64) -> Option<Arc<Spot>> {
        let (mut at, mut depth) = (ROOT, 0);
        for component in path.components() {
            let Component::Normal(name) = component else { return None };
            depth += 1;
            let known = self.node(at).below.get(name.as_bytes()).copied();
            at = match known {
                Some(node) => node,
                None => {
                    let full: PathBuf = self.root.components().chain(path.components().take(depth)).collect();
                    self.add(at, name.as_bytes(), &full, feed, now)?
                }
            };
            match self.node(at).kind {
                Kind::Directory => {}
                // What is below something that is no directory is not there, for as long as that is none.
                Kind::File | Kind::Nothing => break,
                Kind::Unreliable => return None,
            }
        }
        Some(Arc::clone(&self.node(at).spot))
    }

    /// Adds what is at `path`, which is `name` in the directory `above`.
    fn add(
        &mut self,
        above: NodeId,
        name: &[u8],
        path: &Path,
        feed: &mut dyn Feed,
        now: u64,
    ) -> Option<NodeId> {
        if self.full || self.len() >= self.limit {
            self.full = true;
            return None;
        }
        let (kind, watch) = match feed.watch(path) {
            Watched::Directory(id) => (Kind::Directory, Some(id)),
            Watched::File(id) => (Kind::File, Some(id)),
            Watched::Nothing => (Kind::Nothing, None),
            Watched::Unreliable => (Kind::Unreliable, None),
            Watched::Full => {
                self.full = true;
                return None;
            }
        };
        let node =
            Node { above, name: name.into(), kind, watch, below: HashMap::default(), spot: Spot::new(now) };
        let id = match self.free.pop() {
            Some(id) => id,
            None => {
                self.nodes.push(None);
                (self.nodes.len() - 1) as NodeId
            }
        };
        self.nodes[id as usize] = Some(node);
        self.node_mut(above).below.insert(name.into(), id);
        if let Some(watch) = watch {
            self.watches.entry(watch).or_default().push(For::Node(id));
        }
        Some(id)
    }

    /// Adds the paths of what an event is about. It has not been taken in yet.
    pub(super) fn touched_by(&self, event: &Event, paths: &mut Vec<PathBuf>) {
        for whose in self.watches.get(&event.id).into_iter().flatten() {
            let For::Node(id) = *whose else { continue };
            let mut path = self.path_of(id);
            path.extend(event.name.as_deref().map(OsStr::from_bytes));
            paths.push(path);
        }
    }

    fn path_of(&self, id: NodeId) -> PathBuf {
        let mut names = Vec::new();
        let mut at = id;
        while at != ROOT {
            let Node { above, name, .. } = self.node(at);
            names.push(OsStr::from_bytes(name));
            at = *above;
        }
        let mut path = self.root.clone();
        path.extend(names.into_iter().rev());
        path
    }

    /// Takes in something that happened.
    pub(super) fn happened(&mut self, event: &Event, feed: &mut dyn Feed, now: u64) -> Result<(), RootGone> {
        // Of a watch that was ended, more may be told that happened before.
        let Some(whose) = self.watches.get(&event.id) else { return Ok(()) };
        for whose in whose.clone() {
            let For::Node(id) = whose else {
                // What else comes and goes in a directory above does not matter.
                if event.name.is_none() {
                    return Err(RootGone);
                }
                continue;
            };
            // One event may take out another node of the same watch.
            if self.nodes[id as usize].as_ref().is_none_or(|node| node.watch != Some(event.id)) {
                continue;
            }
            match (event.name.as_deref(), event.what) {
                (Some(name), What::Attributes) => {
                    // What is watched tells that itself; what could not be watched perhaps can be now.
                    let below = self.node(id).below.get(name).copied();
                    if let Some(below) = below.filter(|&below| self.node(below).kind == Kind::Unreliable) {
                        self.remove(below, feed);
                    }
                }
                (Some(name), _) => {
                    self.node(id).spot.happened(now);
                    if let Some(&below) = self.node(id).below.get(name) {
                        self.remove(below, feed);
                    }
                }
                (None, What::Gone) if id == ROOT => return Err(RootGone),
                (None, What::Gone) => self.remove(id, feed),
                (None, _) => self.all_below(id).into_iter().for_each(|id| self.node(id).spot.happened(now)),
            }
        }
        Ok(())
    }

    /// A node and all below it, each behind the one above it.
    fn all_below(&self, id: NodeId) -> Vec<NodeId> {
        let mut all = vec![id];
        let mut at = 0;
        while at < all.len() {
            all.extend(self.node(all[at]).below.values());
            at += 1;
        }
        all
    }

    /// Takes out a node and all that is below it.
    fn remove(&mut self, id: NodeId, feed: &mut dyn Feed) {
        let Node { above, name, .. } = self.node(id);
        let (above, name) = (*above, name.clone());
        self.node_mut(above).below.remove(&name);
        for id in self.all_below(id) {
            let node = self.nodes[id as usize].take().expect("it was met just now");
            self.free.push(id);
            node.spot.end();
            let Some(watch) = node.watch else { continue };
            let whose = self.watches.get_mut(&watch).expect("each watch is for somebody");
            whose.retain(|&whose| whose != For::Node(id));
            if whose.is_empty() {
                self.watches.remove(&watch);
                feed.unwatch(watch);
            }
        }
    }

    /// Makes room where there was none: takes out what nobody made use of since the last time.
    pub(super) fn sweep(&mut self, feed: &mut dyn Feed) {
        let leaves = self.nodes.iter().enumerate().skip(1).filter_map(|(id, node)| {
            let node = node.as_ref()?;
            let used = node.spot.used.swap(false, Ordering::Relaxed);
            (!used && node.below.is_empty()).then_some(id as NodeId)
        });
        let leaves: Vec<NodeId> = leaves.collect();
        self.full = leaves.is_empty();
        leaves.into_iter().for_each(|leaf| self.remove(leaf, feed));
    }

    /// Says of everything that nothing more will be told of it.
    pub(super) fn fell(&self) {
        self.nodes.iter().flatten().for_each(|node| node.spot.end());
    }
}
