//! What git ignores, as far as a repository itself says so.
//!
//! Rules come from `.git/info/exclude` and the `.gitignore` files between the repository's root and a file;
//! the deepest file with a rule for a name decides, in it the last rule, and nothing below an ignored
//! directory comes back, except for what git tracks (`index`). In a repository that lies in another, such as a
//! submodule, its own rules and index say so alone. Not here: the user's global excludes, which differ between
//! machines.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use hashbrown::HashMap;
use parking_lot::Mutex;
use rustix::fs::{Access, AtFlags, CWD, Mode, OFlags, accessat, openat};
use rustix::io::Errno;

use super::gitpattern::GitRule;
use super::index::Index;
use super::pattern::{Meaning, Rules, State};
use super::previous::nanos;
use super::{SourceError, Stat};
use crate::clock::Timestamp;

/// The rules of git's that have been read so far, so that the file sets of one repository read them once.
///
/// Clones share. What was read is not read again until it is forgotten: make a new one for each session. Rules in the
/// directories below a set's root are read by each scan and not kept here.
#[derive(Debug, Clone, Default)]
pub struct GitIgnores(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    /// How often all was forgotten.
    forgotten: u64,
    /// When it was forgotten last, in nanoseconds since 1970.
    since: Option<i64>,
    directories: HashMap<PathBuf, Directory>,
    /// What was found in indexes before, by where they lie.
    indexes: HashMap<PathBuf, Found>,
}

/// What one directory has to say.
#[derive(Debug, Clone)]
struct Directory {
    rules: Arc<Rules>,
    repository: Option<Arc<Repository>>,
}

/// A repository that begins in a directory.
#[derive(Debug)]
struct Repository {
    /// Rules of `info/exclude`.
    exclude: Arc<Rules>,
    /// Where the index lies.
    own: PathBuf,
    /// What was found there before.
    former: Option<Found>,
    /// When it was not read yet, in nanoseconds since 1970.
    since: Option<i64>,
    /// Read when the first ignored name asks for it.
    found: OnceLock<Found>,
}

/// An index as it was read.
#[derive(Debug, Clone)]
struct Found {
    /// `None` if what it says cannot be known.
    index: Arc<Option<Index>>,
    /// Its file's stat data, if that had settled when it was read.
    settled: Option<Stat>,
}

/// The rules that apply in one directory, those from further up first.
#[derive(Debug, Clone, Default)]
pub(super) struct Layers {
    layers: Vec<Layer>,
    /// Whether the directory itself is ignored, and with it all that git does not track.
    closed: bool,
    /// Of the repository that a directory is in, and of those around that.
    tracked: Vec<Tracked>,
}

/// What git tracks below the root of a set.
#[derive(Debug, Clone)]
struct Tracked {
    repository: Arc<Repository>,
    /// The set's root below the repository's, with a slash at the end unless it is empty.
    prefix: Arc<[u8]>,
    /// How much of a path below the set's root leads to the repository's, if that is further down.
    above: usize,
}

#[derive(Debug, Clone)]
struct Layer {
    rules: Arc<Rules>,
    state: State,
}

impl GitIgnores {
    /// Nothing read yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets what was read, as it may be other `now`. An index whose stat data shows that it is not is kept.
    pub fn forget(&self, now: Timestamp) {
        let mut known = self.0.lock();
        let Known { forgotten, since, directories, indexes } = &mut *known;
        *forgotten += 1;
        *since = Some(nanos(now));
        for (_, Directory { repository, .. }) in directories.drain() {
            if let Some((repository, found)) =
                repository.as_ref().and_then(|one| Some((one, one.found.get()?)))
            {
                indexes.insert(repository.own.clone(), found.clone());
            }
        }
    }

    /// The rules that apply in `root`, from it and from the directories above it up to the repository's.
    pub(super) fn layers(&self, root: &Path) -> Result<Layers, SourceError> {
        let unreadable = |source| SourceError::Unreadable { path: root.to_owned(), source };
        let root = fs::canonicalize(root).map_err(unreadable)?;
        let mut above = Vec::new();
        for path in root.ancestors() {
            let directory = self.directory(path)?;
            let ends = directory.repository.is_some();
            above.push((path, directory));
            if ends {
                break;
            }
        }
        // Outside of a repository, what lies above is none of the set's business.
        if above.last().is_none_or(|(_, directory)| directory.repository.is_none()) {
            above.truncate(1);
        }
        let mut layers = Layers::default();
        for (path, directory) in above.into_iter().rev() {
            let below = root.strip_prefix(path).expect("it is an ancestor");
            let exclude = directory.repository.as_ref().map(|repository| Arc::clone(&repository.exclude));
            for rules in exclude.into_iter().chain([directory.rules]) {
                let names = below.components().map(|name| name.as_os_str().as_bytes());
                let state = names.fold(rules.start(), |state, name| rules.enter(&state, name));
                layers.push(rules, state);
            }
            if let Some(repository) = directory.repository {
                let mut prefix = below.as_os_str().as_bytes().to_vec();
                if !prefix.is_empty() {
                    prefix.push(b'/');
                }
                layers.tracked.push(Tracked { repository, prefix: prefix.into(), above: 0 });
            }
        }
        Ok(layers)
    }

    fn directory(&self, path: &Path) -> Result<Directory, SourceError> {
        let (forgotten, since) = {
            let known = self.0.lock();
            if let Some(directory) = known.directories.get(path) {
                return Ok(directory.clone());
            }
            (known.forgotten, known.since)
        };
        let unreadable = |source| SourceError::Unreadable { path: path.to_owned(), source };
        let rules =
            Arc::new(read_rules(CWD, &path.join(".gitignore")).map_err(unreadable)?.unwrap_or_default());
        let repository = match git_directories(&path.join(".git")).map_err(unreadable)? {
            None => None,
            Some((own, common)) => {
                let exclude = read_rules(CWD, &common.join("info/exclude")).map_err(unreadable)?;
                let exclude = Arc::new(exclude.unwrap_or_default());
                let former = self.0.lock().indexes.get(&own).cloned();
                Some(Arc::new(Repository { exclude, own, former, since, found: OnceLock::new() }))
            }
        };
        let directory = Directory { rules, repository };
        let mut known = self.0.lock();
        if known.forgotten == forgotten {
            known.directories.insert(path.to_owned(), directory.clone());
        }
        Ok(directory)
    }
}

impl Repository {
    /// `None` if what the index says cannot be known.
    fn index(&self) -> Option<&Index> {
        let found = self.found.get_or_init(|| {
            let stat = fs::metadata(self.own.join("index")).ok().as_ref().map(Stat::from);
            match &self.former {
                Some(former) if stat.is_some() && former.settled == stat => former.clone(),
                _ => Found {
                    index: Arc::new(Index::read(&self.own)),
                    settled: stat.filter(|stat| self.since.is_some_and(|since| stat.is_settled_at(since))),
                },
            }
        });
        (*found.index).as_ref()
    }
}

impl Tracked {
    fn has(&self, path: &[u8]) -> bool {
        // Where nobody knows, it may be.
        self.repository.index().is_none_or(|index| index.has(&[&self.prefix, &path[self.above..]].concat()))
    }
}

impl Layers {
    fn push(&mut self, rules: Arc<Rules>, state: State) {
        if !rules.is_empty() {
            self.layers.push(Layer { rules, state });
        }
    }

    /// Whether `name` in this directory is ignored; `path` is its path below the root of the set.
    pub(super) fn ignores(&self, path: &[u8], name: &[u8], is_directory: bool) -> bool {
        self.excludes(name, is_directory) && !self.tracked.iter().any(|tracked| tracked.has(path))
    }

    /// Whether rules exclude `name`, tracked or not.
    fn excludes(&self, name: &[u8], is_directory: bool) -> bool {
        let layers = self.layers.iter().rev();
        let mut verdicts = layers.filter_map(|layer| layer.rules.verdict(&layer.state, name, is_directory));
        self.closed || verdicts.next().is_some_and(|verdict| verdict.selects)
    }

    /// The rules that apply in the subdirectory `name`, apart from its own.
    pub(super) fn enter(&self, name: &[u8]) -> Self {
        let enter = |layer: &Layer| {
            let state = layer.rules.enter(&layer.state, name);
            Layer { rules: Arc::clone(&layer.rules), state }
        };
        let closed = self.excludes(name, true);
        Self { layers: self.layers.iter().map(enter).collect(), closed, tracked: self.tracked.clone() }
    }

    /// Adds the rules of the `.gitignore` in `directory`, which these layers are for, or takes those of the repository
    /// that begins there instead. `path` is its path below the root of the set, with a slash at the end, and `whole` all
    /// of it.
    pub(super) fn read(
        &mut self,
        directory: impl AsFd,
        path: &[u8],
        whole: impl Fn() -> PathBuf,
        ignores: &GitIgnores,
    ) -> Result<(), SourceError> {
        if accessat(&directory, ".git", Access::EXISTS, AtFlags::empty()).is_ok() {
            let Directory { rules, repository } = ignores.directory(&whole())?;
            if let Some(repository) = repository {
                self.layers.clear();
                self.closed = false;
                for rules in [Arc::clone(&repository.exclude), rules] {
                    let state = rules.start();
                    self.push(rules, state);
                }
                self.tracked.push(Tracked { repository, prefix: Arc::default(), above: path.len() });
                return Ok(());
            }
        }
        let rules = read_rules(directory, Path::new(".gitignore"));
        if let Some(rules) = rules.map_err(|source| SourceError::Unreadable { path: whole(), source })? {
            let state = rules.start();
            self.push(Arc::new(rules), state);
        }
        Ok(())
    }
}

/// Reads a file of rules; `None` if there is none.
fn read_rules(directory: impl AsFd, path: &Path) -> io::Result<Option<Rules>> {
    // Git does not follow a link here either; without waiting, since it could be a pipe.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = match openat(directory, path, flags, Mode::empty()) {
        Ok(file) => fs::File::from(file),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NXIO) => return Ok(None),
        Err(errno) => return Err(errno.into()),
    };
    if !file.metadata()?.is_file() {
        return Ok(None);
    }
    let mut text = Vec::new();
    io::Read::read_to_end(&mut &file, &mut text)?;
    Ok(Some(parse(&text)))
}

fn parse(text: &[u8]) -> Rules {
    let mut rules = Rules::new(None);
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    for line in text.split(|&byte| byte == b'\n') {
        let line = trim_end(line.strip_suffix(b"\r").unwrap_or(line));
        if line.is_empty() || line.starts_with(b"#") {
            continue;
        }
        let (means, line) =
            line.strip_prefix(b"!").map_or((Meaning::Selects, line), |line| (Meaning::TakesBack, line));
        rules.add_git(GitRule::read(line), means);
    }
    rules
}

/// Without the spaces at the end, except for one that a backslash quotes.
fn trim_end(line: &[u8]) -> &[u8] {
    let without = |last: u8, text: &[u8]| text.iter().rposition(|&byte| byte != last).map_or(0, |at| at + 1);
    let trimmed = without(b' ', line);
    let backslashes = trimmed - without(b'\\', &line[..trimmed]);
    if backslashes % 2 == 1 && trimmed < line.len() { &line[..=trimmed] } else { &line[..trimmed] }
}

/// The directory that holds the index of the work tree whose root has this `.git`, and the one that holds
/// `info/exclude`.
fn git_directories(git: &Path) -> io::Result<Option<(PathBuf, PathBuf)>> {
    let metadata = match fs::metadata(git) {
        Ok(metadata) => metadata,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    if metadata.is_dir() {
        return Ok(Some((git.to_owned(), git.to_owned())));
    }
    if !metadata.is_file() {
        return Ok(None);
    }
    // In a work tree of its own or a submodule it is a file that says where; several work trees have one
    // directory in common.
    let text = fs::read_to_string(git)?;
    let Some(path) = text.strip_prefix("gitdir:").map(str::trim) else { return Ok(None) };
    let own = git.with_file_name("").join(path);
    let common = fs::read_to_string(own.join("commondir"));
    let common = common.map_or_else(|_| own.clone(), |common| own.join(common.trim()));
    Ok(Some((own, common)))
}
