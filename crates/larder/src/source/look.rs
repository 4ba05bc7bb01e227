//! One name in a directory: whether it belongs to the set, and whether it is what it was.
//!
//! What is unchanged against the previous snapshot costs one `fstatat` on the descriptor of its directory, or of one
//! not far above, and where the directory had to be listed a table look-up. What is not is read on the spot, by the
//! thread that met it.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{AtFlags, FileType, readlinkat, statat};
use rustix::io::Errno;

use super::read::{Content, Reader, open_file};
use super::set::{Ignore, Role};
use super::snapshot::{Form, Row, Span, Visit};
use super::stat::{Stamp, special};
use super::walk::{Directory, Open, Unit, Walk, Way};
use super::{Counts, SourceError, Stat};
use crate::key::Digest;

/// How many links to directories a path may go through; the kernel follows no more in one path either.
const MAX_LINKS: usize = 40;
/// How much of a directory is listed at a time.
const LISTING_BYTES: usize = 32 << 10;

/// What one thread found that is not in the previous snapshot just so.
#[derive(Default)]
pub(super) struct Found {
    pub(super) arena: Vec<u8>,
    pub(super) rows: Vec<Row>,
    pub(super) visits: Vec<Visit>,
    pub(super) counts: Counts,
    /// Whether what a link leads to had a say in it.
    pub(super) links: bool,
}

/// One thread's part in a walk.
pub(super) struct Worker<'w> {
    walk: &'w Walk<'w>,
    pub(super) found: Found,
    /// How many more threads this one may start, and how it does.
    pub(super) hands: Option<usize>,
    pub(super) help: &'w dyn Fn(),
    /// Whether there are, or may yet be, other threads to leave something to.
    pub(super) has_company: bool,
    /// How many of the entries looked at have been counted against the limit.
    pub(super) counted: usize,
    pub(super) listing: Vec<u8>,
    reader: Reader,
    /// Path below the root of what is being looked at.
    path: Vec<u8>,
}

/// Whether what was looked at is there.
#[derive(PartialEq, Eq)]
enum Presence {
    There,
    /// It vanished meanwhile, or became something else.
    Gone,
}

impl<'w> Worker<'w> {
    pub(super) fn new(
        walk: &'w Walk<'w>,
        hands: Option<usize>,
        help: &'w dyn Fn(),
        has_company: bool,
    ) -> Self {
        Self {
            walk,
            found: Found::default(),
            hands,
            help,
            has_company,
            counted: 0,
            listing: Vec::with_capacity(LISTING_BYTES),
            reader: Reader::default(),
            path: Vec::new(),
        }
    }

    /// Bytes read so far.
    pub(super) fn bytes(&self) -> u64 {
        self.reader.bytes
    }

    /// What this thread found.
    pub(super) fn into_found(mut self) -> Found {
        self.found.counts.read_bytes = self.reader.bytes;
        self.found
    }

    /// Turns to another directory.
    pub(super) fn stand_in(&mut self, open: &Open) {
        self.path.clear();
        self.path.extend_from_slice(&open.path);
    }

    /// Ends the walk because the present path cannot be read.
    pub(super) fn unreadable(&self, errno: Errno) {
        let path = self.walk.set.path_of(&self.path);
        self.walk.fail(SourceError::Unreadable { path, source: io::Error::from(errno) });
    }

    /// Looks at `name` in the directory that this thread stands in. `stat` is of the name itself, not of what a
    /// link leads to; without it, the type may be unknown.
    pub(super) fn look_at(&mut self, open: &Arc<Open>, name: &CStr, file_type: FileType, stat: Option<Stat>) {
        self.path.truncate(open.path.len());
        self.path.extend_from_slice(name.to_bytes());
        match file_type {
            FileType::Directory => self.directory(open, name, stat),
            FileType::Symlink => self.link(open, name),
            FileType::RegularFile => {
                if !self.selects(open, name, false) {
                    return;
                }
                let row = self.walk.previous.find(&self.path);
                if row.is_none() && !self.walk.written.has(&self.path) {
                    // It will be opened anyway, and its stat data taken then.
                    self.found.counts.looked_at += 1;
                    self.read(open, None, Form::File);
                    return;
                }
                let Some(stat) = stat.or_else(|| self.stat(open, AtFlags::SYMLINK_NOFOLLOW)) else {
                    return;
                };
                if stat.file_type() == FileType::RegularFile {
                    self.file(open, &stat, row, Form::File);
                } else {
                    self.look_at(open, name, stat.file_type(), Some(stat));
                }
            }
            FileType::Unknown => {
                // A file system that does not say, or a name that was not listed but given.
                if let Some(stat) = self.stat(open, AtFlags::SYMLINK_NOFOLLOW) {
                    self.look_at(open, name, stat.file_type(), Some(stat));
                }
            }
            FileType::Fifo | FileType::Socket | FileType::BlockDevice | FileType::CharacterDevice => {
                let git = matches!(self.walk.set.ignore, Ignore::Git(_));
                if let Some(what) = special(file_type).filter(|_| !git && self.selects(open, name, false)) {
                    self.walk.fail(SourceError::Special { path: self.walk.set.path_of(&self.path), what });
                }
            }
        }
    }

    /// Looks again at what row `row` of the previous snapshot says lies in a directory in which no name has come or
    /// gone since. It belongs to the set as it did then.
    pub(super) fn look_again(&mut self, open: &Arc<Open>, row: u32) {
        let Some((path, form)) = self.walk.previous.row(row) else { return };
        self.path.clear();
        self.path.extend_from_slice(path);
        let file_type = match form {
            Form::File => {
                let Some(stat) = self.stat(open, AtFlags::SYMLINK_NOFOLLOW) else { return };
                if stat.file_type() == FileType::RegularFile {
                    self.note_origin(open);
                    self.file(open, &stat, Some(row), Form::File);
                    return;
                }
                // Something was mounted over it.
                stat.file_type()
            }
            // Those that were looked into follow by themselves.
            Form::Directory if self.walk.previous.was_visited(path) => return,
            Form::Directory => FileType::Directory,
            _ => FileType::Symlink,
        };
        if let Ok(name) = CString::new(&path[open.path.len()..]) {
            self.look_at(open, &name, file_type, None);
        }
    }

    /// Notes the pattern that selects the present path, unless each has been noted as one that does.
    fn note_origin(&self, open: &Open) {
        if self.walk.has_unselected() {
            let name = &self.path[open.path.len()..];
            let verdict = self.walk.set.rules.verdict(open.state(), name, false);
            if let Some(verdict) = verdict.filter(|verdict| verdict.selects) {
                self.walk.note_selected(verdict.origin);
            }
        }
    }

    /// Notes that a directory was looked into.
    pub(super) fn visited(&mut self, open: &Open, stamp: Stamp) {
        let path = open.path.strip_suffix(b"/").unwrap_or(&open.path);
        if self.walk.previous.keeps_visit(path, &stamp) {
            return;
        }
        let Found { arena, rows, visits, .. } = &mut self.found;
        match Span::push(arena, path) {
            Some(path) => visits.push(Visit { path, stamp }),
            None => {
                let limit = rows.len();
                self.walk.fail(SourceError::TooMany { root: self.walk.set.root.clone(), limit });
            }
        }
    }

    /// The pattern that selects the present path, if one does and nothing ignores it.
    fn selecting(&self, open: &Open, name: &CStr, is_directory: bool) -> Option<usize> {
        let verdict = self.walk.set.rules.verdict(open.state(), name.to_bytes(), is_directory)?;
        (verdict.selects && !open.layers.ignores(&self.path, name.to_bytes(), is_directory))
            .then_some(verdict.origin)
    }

    /// Whether the present path is selected; if so, the pattern is noted as one that selects something.
    fn selects(&self, open: &Open, name: &CStr, is_directory: bool) -> bool {
        let origin = self.selecting(open, name, is_directory);
        origin.inspect(|&origin| self.walk.note_selected(origin)).is_some()
    }

    /// Does something with the present path, given from the nearest open directory.
    fn at<T>(&mut self, open: &Open, act: impl FnOnce(&OwnedFd, &CStr) -> T) -> T {
        self.path.push(0);
        let path = CStr::from_bytes_with_nul(&self.path[open.anchored..]).expect("no name has a NUL in it");
        let done = act(&open.anchor, path);
        self.path.pop();
        done
    }

    /// Stat data of the present path, or `None` if it is gone or the walk has failed.
    fn stat(&mut self, open: &Open, flags: AtFlags) -> Option<Stat> {
        self.found.counts.looked_at += 1;
        match self.at(open, |anchor, path| statat(anchor, path, flags)) {
            Ok(stat) => Some(stat.into()),
            // A directory on the way may have gone with it, or become something else.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => None,
            Err(errno) => {
                self.unreadable(errno);
                None
            }
        }
    }

    pub(super) fn directory(&mut self, open: &Arc<Open>, name: &CStr, stat: Option<Stat>) {
        self.path.truncate(open.path.len());
        self.path.extend_from_slice(name.to_bytes());
        let Walk { set, previous, .. } = self.walk;
        if open.layers.ignores(&self.path, name.to_bytes(), true) {
            return;
        }
        let mut stat = stat;
        if set.role == Role::Outputs && self.selects(open, name, true) {
            let Some(now) = stat.or_else(|| self.stat(open, AtFlags::SYMLINK_NOFOLLOW)) else { return };
            stat = Some(now);
            // When its entries came and went shows in the entries.
            let kept = Stat { mode: now.mode, ..Stat::default() };
            let row = previous.find(&self.path);
            if previous.still_directory(row, &kept) {
                previous.keep(row);
            } else {
                self.note(row, Form::Directory, kept, None, b"");
            }
        }
        self.descend(open, name, false, stat);
    }

    /// Leaves a directory to be looked into, if anything below it can be selected.
    fn descend(&mut self, open: &Arc<Open>, name: &CStr, through_link: bool, stat: Option<Stat>) {
        let state = self.walk.set.rules.enter(open.state(), name.to_bytes());
        if self.walk.set.rules.can_select(&state) {
            let parent = Arc::clone(open);
            let directory = Directory { parent, name: name.to_owned(), state, through_link, stat };
            self.walk.push(self, Unit::Directory(directory));
        }
    }

    fn link(&mut self, open: &Arc<Open>, name: &CStr) {
        let Walk { set, previous, .. } = self.walk;
        let selected = self.selects(open, name, false);
        let follow = set.role == Role::Inputs && !open.layers.ignores(&self.path, name.to_bytes(), false);
        let leads_on = follow && set.rules.can_select(&set.rules.enter(open.state(), name.to_bytes()));
        let as_directory = if follow { self.selecting(open, name, true) } else { None };
        if !selected && !leads_on && as_directory.is_none() {
            return;
        }
        let Some(stat) = self.stat(open, AtFlags::SYMLINK_NOFOLLOW) else { return };
        if stat.file_type() != FileType::Symlink {
            return self.look_at(open, name, stat.file_type(), Some(stat));
        }
        self.found.links = true;
        let row = previous.find(&self.path);
        let form = match set.role {
            Role::Outputs => Form::Link,
            Role::Inputs => match self.follow(open, name, row, selected) {
                Some(form) => form,
                None => return,
            },
        };
        // A pattern that asks for a directory, or for what is in one, says nothing of a link to anything else.
        if !selected && !matches!(form, Form::LinkToDirectory | Form::LinkToAncestor) {
            return;
        }
        if let (false, Some(origin)) = (selected, as_directory) {
            self.walk.note_selected(origin);
        }
        if previous.still(row, &stat, |known| known == form).is_some() {
            return previous.keep(row);
        }
        // The text belongs to the inode: as long as that is the same, so is the text.
        match previous.still(row, &stat, Form::is_link) {
            Some(known) => self.note(row, form, stat, None, previous.text(known)),
            None => match self.at(open, |anchor, path| readlinkat(anchor, path, Vec::new())) {
                Ok(text) => self.note(row, form, stat, None, text.to_bytes()),
                Err(Errno::NOENT | Errno::INVAL) => {}
                Err(errno) => self.unreadable(errno),
            },
        }
    }

    /// Looks at what a link leads to, and says what that is; `None` if the walk has failed.
    fn follow(&mut self, open: &Arc<Open>, name: &CStr, link: Option<u32>, selected: bool) -> Option<Form> {
        self.found.counts.looked_at += 1;
        let stat = match self.at(open, |anchor, path| statat(anchor, path, AtFlags::empty())) {
            Ok(stat) => Stat::from(stat),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NAMETOOLONG) => {
                return Some(Form::LinkToNothing);
            }
            Err(errno) => {
                self.unreadable(errno);
                return None;
            }
        };
        Some(match stat.file_type() {
            FileType::RegularFile if !selected => Form::LinkToFile,
            FileType::RegularFile => {
                let row = self.walk.previous.linked_file(link);
                match self.file(open, &stat, row, Form::LinkedFile) {
                    Presence::There => Form::LinkToFile,
                    Presence::Gone => Form::LinkToNothing,
                }
            }
            FileType::Directory => {
                let below = self.walk.set.rules.enter(open.state(), name.to_bytes());
                match self.walk.way(open, &stat, &below) {
                    Way::Back => Form::LinkToAncestor,
                    _ if open.links() == MAX_LINKS => Form::LinkToNothing,
                    Way::On => {
                        self.descend(open, name, true, None);
                        Form::LinkToDirectory
                    }
                    Way::Out => {
                        let (path, root) = (self.walk.set.path_of(&self.path), self.walk.set.root.clone());
                        self.walk.fail(SourceError::LeadsOut { path, root });
                        return None;
                    }
                }
            }
            _ => Form::LinkToSpecial,
        })
    }

    fn file(&mut self, open: &Open, stat: &Stat, row: Option<u32>, form: Form) -> Presence {
        let previous = &self.walk.previous;
        if previous.still(row, stat, |known| known == form).is_some() {
            previous.keep(row);
            return Presence::There;
        }
        if let Some(digest) = self.walk.written.digest(&self.path, stat).filter(|_| form == Form::File) {
            self.note(row, form, *stat, Some(digest), b"");
            return Presence::There;
        }
        self.read(open, row, form)
    }

    fn read(&mut self, open: &Open, row: Option<u32>, form: Form) -> Presence {
        let through_links = form == Form::LinkedFile;
        let file = match self.at(open, |anchor, path| open_file(anchor.as_fd(), path, through_links)) {
            Ok(file) => file,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NXIO) => return Presence::Gone,
            Err(errno) => {
                self.unreadable(errno);
                return Presence::Gone;
            }
        };
        match self.reader.digest(file.as_fd(), self.walk.stop()) {
            Ok(Content::Digest(content)) => {
                self.found.counts.read += 1;
                self.note(row, form, content.stat, Some(content.digest), b"");
                return Presence::There;
            }
            Ok(Content::Unstable) => {
                self.walk.fail(SourceError::Unstable { path: self.walk.set.path_of(&self.path) });
            }
            Ok(Content::Stopped) => self.walk.fail(SourceError::Stopped),
            Ok(Content::Other(_)) => {}
            Err(errno) => self.unreadable(errno),
        }
        Presence::Gone
    }

    /// Notes an entry at the present path that takes the place of `row`.
    fn note(&mut self, row: Option<u32>, form: Form, stat: Stat, digest: Option<Digest>, text: &[u8]) {
        let Found { arena, rows, .. } = &mut self.found;
        let (Some(path), Some(text)) = (Span::push(arena, &self.path), Span::push(arena, text)) else {
            let limit = rows.len();
            return self.walk.fail(SourceError::TooMany { root: self.walk.set.root.clone(), limit });
        };
        let digest = digest.unwrap_or(Digest::from_bytes([0; Digest::LEN]));
        rows.push(Row { path, text, form, stat, digest });
        self.walk.previous.replace(row);
    }
}
