//! Which files git tracks: a tracked file is not ignored, whatever the rules say.
//!
//! Reads `.git/index` in versions 2 to 4 (`gitformat-index`), paths only. An index in another form, or one split
//! in two, tells nothing; files that only it would bring back then count as ignored.

use std::fs;
use std::io;
use std::path::Path;

/// Paths of all tracked files, in the order of their bytes.
#[derive(Debug, Default)]
pub(super) struct Index {
    arena: Vec<u8>,
    /// Where each path ends in the arena; it begins where the one before ends.
    ends: Vec<usize>,
}

impl Index {
    /// Reads the index at `path`; none is an empty one.
    pub(super) fn read(path: &Path) -> io::Result<Self> {
        match fs::read(path) {
            // Nothing in it says whether digests have 20 bytes or 32, but only one of the two adds up.
            Ok(bytes) => Ok(parse(&bytes, 20).or_else(|| parse(&bytes, 32)).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error),
        }
    }

    fn path(&self, at: usize) -> &[u8] {
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.arena[start..self.ends[at]]
    }

    /// Whether `path` is tracked, or something below it.
    pub(super) fn has(&self, path: &[u8]) -> bool {
        self.at_or_after(path).is_some_and(|found| found == path) || {
            let below = [path, b"/"].concat();
            self.at_or_after(&below).is_some_and(|found| found.starts_with(&below))
        }
    }

    /// The first path that is not before `path`.
    fn at_or_after(&self, path: &[u8]) -> Option<&[u8]> {
        let (mut from, mut to) = (0, self.ends.len());
        while from < to {
            let middle = from.midpoint(to);
            if self.path(middle) < path {
                from = middle + 1;
            } else {
                to = middle;
            }
        }
        (from < self.ends.len()).then(|| self.path(from))
    }
}

/// Bytes of an entry before its digest: two times, device, inode, mode, owner, group, size.
const STAT_BYTES: usize = 40;
/// In an entry's flags, that more flags follow.
const EXTENDED: u16 = 0x4000;

fn parse(bytes: &[u8], digest_bytes: usize) -> Option<Index> {
    let number = |at: usize| Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?));
    let version = number(4).filter(|version| bytes.starts_with(b"DIRC") && (2..=4).contains(version))?;
    let end = bytes.len().checked_sub(digest_bytes)?;
    let mut index = Index::default();
    let mut at = 12;
    for _ in 0..number(8)? {
        let start = at;
        let flags = u16::from_be_bytes(*bytes.get(start + STAT_BYTES + digest_bytes..)?.first_chunk()?);
        at = start + STAT_BYTES + digest_bytes + if flags & EXTENDED == 0 { 2 } else { 4 };
        let mut path = Vec::new();
        if version == 4 {
            let cut = variable_number(bytes, &mut at)?;
            let last = index.ends.len().checked_sub(1).map_or(&[][..], |last| index.path(last));
            path.extend_from_slice(last.get(..last.len().checked_sub(cut)?)?);
        }
        let rest = bytes.get(at..end)?;
        let len = rest.iter().position(|&byte| byte == 0)?;
        path.extend_from_slice(&rest[..len]);
        let told = usize::from(flags & 0xfff);
        if path.is_empty() || told != path.len().min(0xfff) {
            return None;
        }
        at = match version {
            4 => at + len + 1,
            // Padded with NULs, at least one, to a multiple of eight bytes.
            _ => start + (at + len - start) / 8 * 8 + 8,
        };
        index.arena.extend_from_slice(&path);
        index.ends.push(index.arena.len());
    }
    Some(index)
}

/// Reads a number as version 4 writes it: seven bits a byte, highest first, each continuation counting one more.
fn variable_number(bytes: &[u8], at: &mut usize) -> Option<usize> {
    let mut number = 0_usize;
    loop {
        let byte = *bytes.get(*at)?;
        *at += 1;
        number = number.checked_mul(128)?.checked_add(usize::from(byte & 0x7f))?;
        if byte < 0x80 {
            return Some(number);
        }
        number = number.checked_add(1)?;
    }
}
