//! Which files git tracks: a tracked file is not ignored, whatever the rules say.
//!
//! Reads `.git/index` in versions 2 to 4 (`gitformat-index`), paths only, and what it leaves to a shared index. Where
//! one cannot be read, or is in another form, nobody knows what is tracked.

use std::fmt::Write as _;
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
    /// Reads the index in a directory of git's; none is an empty one. `None` if it cannot be known what it says.
    pub(super) fn read(directory: &Path) -> Option<Self> {
        match fs::read(directory.join("index")) {
            // Nothing in it says whether digests have 20 bytes or 32, but only one of the two adds up.
            Ok(bytes) => {
                let [short, long] = [20, 32].map(|digest_bytes| parse(&bytes, digest_bytes));
                short.or(long)?.with_shared(directory)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Some(Self::default()),
            Err(_) => None,
        }
    }

    fn push(&mut self, path: &[u8]) {
        self.arena.extend_from_slice(path);
        self.ends.push(self.arena.len());
    }

    fn path(&self, at: usize) -> &[u8] {
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.arena[start..self.ends[at]]
    }

    /// Whether `path` is tracked, or something below it.
    pub(super) fn has(&self, path: &[u8]) -> bool {
        let slashes = path.iter().enumerate().filter(|&(_, &byte)| byte == b'/');
        // Where little is checked out, a directory with a slash at its end stands for all that is tracked in it.
        let mut whole = slashes.map(|(at, _)| &path[..=at]).chain([path]);
        whole.any(|path| self.at_or_after(path).is_some_and(|found| found == path)) || {
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

/// One file of an index, as it stands.
#[derive(Debug, Default)]
struct Parsed {
    /// Those without a name stand for entries of the shared index that have other stat data.
    entries: Index,
    /// The extension that says what is taken from a shared index.
    link: Option<Vec<u8>>,
    digest_bytes: usize,
}

impl Parsed {
    /// All of an index, of which this one holds what differs from a shared one.
    fn with_shared(self, directory: &Path) -> Option<Index> {
        let Some(link) = &self.link else { return Some(self.entries) };
        let (digest, bitmaps) = link.split_at_checked(self.digest_bytes)?;
        if digest.iter().all(|&byte| byte == 0) {
            return Some(self.entries);
        }
        let mut name = "sharedindex.".to_owned();
        digest.iter().for_each(|byte| write!(name, "{byte:02x}").expect("a string takes everything"));
        let shared = parse(&fs::read(directory.join(name)).ok()?, self.digest_bytes)?;
        let (own, shared) = (&self.entries, &shared.entries);
        let limit = shared.ends.len();
        let deleted = if bitmaps.is_empty() { Vec::new() } else { positions(bitmaps, limit)? };
        let mut paths: Vec<&[u8]> = (0..own.ends.len()).map(|at| own.path(at)).collect();
        let mut deleted = deleted.into_iter().peekable();
        for at in 0..shared.ends.len() {
            if deleted.next_if_eq(&at).is_none() {
                paths.push(shared.path(at));
            }
        }
        paths.retain(|path| !path.is_empty());
        paths.sort_unstable();
        let mut all = Index::default();
        paths.into_iter().for_each(|path| all.push(path));
        Some(all)
    }
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn parse(bytes: &[u8], digest_bytes: usize) -> Option<Parsed> {
    let version =
        number(bytes, 4).filter(|version| bytes.starts_with(b"DIRC") && (2..=4).contains(version))?;
    let end = bytes.len().checked_sub(digest_bytes)?;
    let mut entries = Index::default();
    let mut at = 12;
    for _ in 0..number(bytes, 8)? {
        let start = at;
        let flags = u16::from_be_bytes(*bytes.get(start + STAT_BYTES + digest_bytes..)?.first_chunk()?);
        at = start + STAT_BYTES + digest_bytes + if flags & EXTENDED == 0 { 2 } else { 4 };
        let mut path = Vec::new();
        if version == 4 {
            let cut = variable_number(bytes, &mut at)?;
            let last = entries.ends.len().checked_sub(1).map_or(&[][..], |last| entries.path(last));
            path.extend_from_slice(last.get(..last.len().checked_sub(cut)?)?);
        }
        let rest = bytes.get(at..end)?;
        let len = rest.iter().position(|&byte| byte == 0)?;
        path.extend_from_slice(&rest[..len]);
        let told = usize::from(flags & 0xfff);
        if told != path.len().min(0xfff) {
            return None;
        }
        at = match version {
            4 => at + len + 1,
            // Padded with NULs, at least one, to a multiple of eight bytes.
            _ => start + (at + len - start) / 8 * 8 + 8,
        };
        entries.push(&path);
    }
    let link = extensions(bytes.get(at..end)?)?;
    let has_all_names = link.is_some() || (0..entries.ends.len()).all(|at| !entries.path(at).is_empty());
    has_all_names.then_some(Parsed { entries, link, digest_bytes })
}

/// Goes through what follows the entries, and returns the extension that names a shared index, if there is one.
/// `None` if what is there does not add up, or cannot be done without and is not known.
fn extensions(mut rest: &[u8]) -> Option<Option<Vec<u8>>> {
    let mut link = None;
    while !rest.is_empty() {
        let (head, data) = rest.split_at_checked(8)?;
        let (data, after) = data.split_at_checked(usize::try_from(number(head, 4)?).ok()?)?;
        match &head[..4] {
            b"link" => link = Some(data.to_vec()),
            // Says that there may be directories among the entries.
            b"sdir" => {}
            name if name[0].is_ascii_uppercase() => {}
            _ => return None,
        }
        rest = after;
    }
    Some(link)
}

/// The positions that a compressed bitmap has set (EWAH, `gitformat-bitmap`), in order. `None` if it is of more than `limit`
/// positions.
///
/// Words of 64 bits: a marker with a bit, how many words are full of it, and how many words follow as they are.
fn positions(bytes: &[u8], limit: usize) -> Option<Vec<usize>> {
    let (bits, words) = (number(bytes, 0)? as usize, number(bytes, 4)? as usize);
    if bits > limit {
        return None;
    }
    let words = bytes.get(8..)?.get(..words.checked_mul(8)?)?;
    let mut words = words.chunks_exact(8).map(|word| u64::from_be_bytes(*word.first_chunk().expect("eight")));
    let mut found = Vec::new();
    let mut at = 0_usize;
    while at < bits {
        let marker = words.next()?;
        let full = 64 * (marker >> 1 & 0xffff_ffff) as usize;
        if marker & 1 == 1 {
            found.extend(at..(at + full).min(bits));
        }
        at += full;
        for _ in 0..marker >> 33 {
            let word = words.next()?;
            found.extend((0..64).filter(|bit| word >> bit & 1 == 1).map(|bit| at + bit));
            at += 64;
        }
    }
    Some(found)
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
