//! The stored form of a snapshot; `docs/format.md` describes it byte by byte.
//!
//! Columns of fixed width behind front-coded paths: nothing is parsed but the paths' lengths. The form has no
//! checksum: whoever stores it has one. Damage never makes it panic or take more memory than a small multiple
//! of its length.

use super::Stat;
use super::snapshot::{Form, Row, Snapshot, Span, Visit};
use super::stat::Stamp;
use crate::clock::Timestamp;
use crate::key::Digest;

const MAGIC: &[u8; 4] = b"LSNP";
const VERSION: u8 = 2;
/// What one entry takes besides its path, digest and text.
const FIXED: usize = 1 + 2 + 2 + 8 + 8 + 8 + 8;
/// What one visited directory takes besides its path.
const VISIT: usize = 2 + 8 + 8 + 8;
/// Front-coded paths grow when they are spelled out, real ones by less than this factor of the whole form.
const MAX_GROWTH: usize = 64;

/// Bytes are not a snapshot that this version can read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotFormatError {
    /// They are a snapshot of another version.
    #[error("snapshot has version {0} where {VERSION} was expected")]
    Version(u8),
    /// They are no snapshot, or one that was cut or damaged.
    #[error("bytes are no whole snapshot")]
    Damaged,
}

impl Snapshot {
    /// A snapshot of nothing.
    pub(super) fn empty() -> Self {
        let choice = Digest::from_bytes([0; Digest::LEN]);
        Self::of_rows(Timestamp::default(), 0, Vec::new(), Vec::new(), choice, Vec::new())
    }

    /// The stored form.
    pub fn encode(&self) -> Vec<u8> {
        let mut devices: Vec<u64> = Vec::new();
        let index_of = |device: u64, devices: &[u64]| devices.iter().position(|&known| known == device);
        let visited = self.visits.iter().map(|visit| visit.stamp.device);
        for device in self.rows.iter().map(|row| row.stat.device).chain(visited) {
            // There are a few at most; beyond 65,535 the index is cut, and a wrong device means a file is read.
            if index_of(device, &devices).is_none() {
                devices.push(device);
            }
        }
        devices.truncate(usize::from(u16::MAX));
        let mut bytes =
            Vec::with_capacity(64 + self.arena.len() + self.rows.len() * (FIXED + Digest::LEN + 2));
        bytes.extend_from_slice(MAGIC);
        bytes.push(VERSION);
        bytes.extend_from_slice(&(self.umask as u16).to_le_bytes());
        bytes.extend_from_slice(&self.taken.as_millis().to_le_bytes());
        bytes.extend_from_slice(self.fingerprint.as_bytes());
        bytes.extend_from_slice(&(self.rows.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&(devices.len() as u16).to_le_bytes());
        devices.iter().for_each(|device| bytes.extend_from_slice(&device.to_le_bytes()));

        bytes.extend(self.rows.iter().map(|row| row.form as u8));
        let index = |device| index_of(device, &devices).unwrap_or(usize::from(u16::MAX)) as u16;
        self.rows.iter().for_each(|row| bytes.extend_from_slice(&index(row.stat.device).to_le_bytes()));
        self.rows.iter().for_each(|row| bytes.extend_from_slice(&(row.stat.mode as u16).to_le_bytes()));
        self.rows.iter().for_each(|row| bytes.extend_from_slice(&row.stat.inode.to_le_bytes()));
        self.rows.iter().for_each(|row| bytes.extend_from_slice(&row.stat.size.to_le_bytes()));
        self.rows.iter().for_each(|row| bytes.extend_from_slice(&row.stat.modified.to_le_bytes()));
        self.rows.iter().for_each(|row| bytes.extend_from_slice(&row.stat.changed.to_le_bytes()));
        for row in self.rows.iter().filter(|row| row.form.has_content()) {
            bytes.extend_from_slice(row.digest.as_bytes());
        }
        for row in self.rows.iter().filter(|row| row.form.is_link()) {
            let text = row.text.of(&self.arena);
            push_number(&mut bytes, text.len());
            bytes.extend_from_slice(text);
        }
        push_paths(&mut bytes, self.rows.iter().map(|row| row.path.of(&self.arena)));
        bytes.extend_from_slice(self.choice.as_bytes());
        bytes.extend_from_slice(&(self.visits.len() as u32).to_le_bytes());
        for Visit { stamp, .. } in &self.visits {
            bytes.extend_from_slice(&index(stamp.device).to_le_bytes());
            bytes.extend_from_slice(&stamp.inode.to_le_bytes());
            bytes.extend_from_slice(&stamp.modified.to_le_bytes());
            bytes.extend_from_slice(&stamp.changed.to_le_bytes());
        }
        push_paths(&mut bytes, self.visits.iter().map(|visit| visit.path.of(&self.arena)));
        bytes
    }

    /// Reads the stored form.
    pub fn decode(bytes: &[u8]) -> Result<Self, SnapshotFormatError> {
        let mut from = bytes;
        if take(&mut from) != Some(MAGIC) {
            return Err(SnapshotFormatError::Damaged);
        }
        match take(&mut from) {
            Some(&[VERSION]) => {}
            Some(&[version]) => return Err(SnapshotFormatError::Version(version)),
            None => return Err(SnapshotFormatError::Damaged),
        }
        decode_body(from, bytes.len()).ok_or(SnapshotFormatError::Damaged)
    }
}

/// Reads what follows the version; `None` if it is damaged.
fn decode_body(mut from: &[u8], len: usize) -> Option<Snapshot> {
    let from = &mut from;
    let umask = u32::from(u16::from_le_bytes(*take(from)?));
    let taken = Timestamp::from_millis(u64::from_le_bytes(*take(from)?));
    let fingerprint = Digest::from_bytes(*take(from)?);
    let count = u32::from_le_bytes(*take(from)?) as usize;
    let device_count = usize::from(u16::from_le_bytes(*take(from)?));
    let devices = column::<8>(from, device_count)?;
    let forms = column::<1>(from, count)?;
    let device_indexes = column::<2>(from, count)?;
    let modes = column::<2>(from, count)?;
    let inodes = column::<8>(from, count)?;
    let sizes = column::<8>(from, count)?;
    let modified = column::<8>(from, count)?;
    let changed = column::<8>(from, count)?;

    let mut form_of = [None; 256];
    Form::ALL.iter().for_each(|&form| form_of[form as usize] = Some(form));
    let form_of = |at: usize| form_of[usize::from(forms[at][0])];
    let is = |at: usize, property: fn(Form) -> bool| form_of(at).is_some_and(property);
    let mut digests = column::<32>(from, (0..count).filter(|&at| is(at, Form::has_content)).count())?.iter();

    let mut arena = Vec::with_capacity(from.len() * 2);
    let mut rows: Vec<Row> = Vec::with_capacity(count);
    for at in 0..count {
        let form = form_of(at)?;
        let device = usize::from(u16::from_le_bytes(device_indexes[at]));
        let stat = Stat {
            device: devices.get(device).map_or(u64::MAX, |&device| u64::from_le_bytes(device)),
            inode: u64::from_le_bytes(inodes[at]),
            size: u64::from_le_bytes(sizes[at]),
            modified: i64::from_le_bytes(modified[at]),
            changed: i64::from_le_bytes(changed[at]),
            mode: u32::from(u16::from_le_bytes(modes[at])),
        };
        let digest = if form.has_content() { *digests.next()? } else { [0; Digest::LEN] };
        let text = if form.is_link() {
            let len = number(from)?;
            Span::push(&mut arena, slice(from, len)?)?
        } else {
            Span::default()
        };
        rows.push(Row { path: Span::default(), text, form, stat, digest: Digest::from_bytes(digest) });
    }
    let max = len.saturating_mul(MAX_GROWTH);
    decode_paths(from, &mut rows, &mut arena, max)?;
    let choice = Digest::from_bytes(*take(from)?);
    let visits = decode_visits(from, devices, &mut arena, max)?;
    from.is_empty().then_some(Snapshot { taken, umask, fingerprint, arena, rows, choice, visits })
}

fn decode_visits(
    from: &mut &[u8],
    devices: &[[u8; 8]],
    arena: &mut Vec<u8>,
    max: usize,
) -> Option<Vec<Visit>> {
    let count = u32::from_le_bytes(*take(from)?) as usize;
    let stamps = column::<VISIT>(from, count)?;
    let mut visits = Vec::with_capacity(count);
    let mut path: Vec<u8> = Vec::new();
    for (at, mut stamp) in stamps.iter().map(|stamp| &stamp[..]).enumerate() {
        let stamp = &mut stamp;
        let device = usize::from(u16::from_le_bytes(*take(stamp)?));
        let stamp = Stamp {
            device: devices.get(device).map_or(u64::MAX, |&device| u64::from_le_bytes(device)),
            inode: u64::from_le_bytes(*take(stamp)?),
            modified: i64::from_le_bytes(*take(stamp)?),
            changed: i64::from_le_bytes(*take(stamp)?),
        };
        let (shared, len) = (number(from)?, number(from)?);
        let rest = slice(from, len)?;
        let last_rest = path.get(shared..)?;
        // Only the first path can be empty: that of the root.
        if at > 0 && rest <= last_rest || arena.len() > max {
            return None;
        }
        path.truncate(shared);
        path.extend_from_slice(rest);
        visits.push(Visit { path: Span::push(arena, &path)?, stamp });
    }
    Some(visits)
}

/// Reads the paths into `rows` and checks that they are in order.
fn decode_paths(from: &mut &[u8], rows: &mut [Row], arena: &mut Vec<u8>, max: usize) -> Option<()> {
    let mut path: Vec<u8> = Vec::new();
    for at in 0..rows.len() {
        let (shared, len) = (number(from)?, number(from)?);
        let rest = slice(from, len)?;
        let last_rest = path.get(shared..)?;
        let linked = rows[at].form == Form::LinkedFile;
        if linked {
            let link =
                at.checked_sub(1).map(|link| rows[link]).filter(|link| link.form == Form::LinkToFile)?;
            if !last_rest.is_empty() || !rest.is_empty() {
                return None;
            }
            rows[at].path = link.path;
            continue;
        }
        if rest <= last_rest || arena.len() > max {
            return None;
        }
        path.truncate(shared);
        path.extend_from_slice(rest);
        rows[at].path = Span::push(arena, &path)?;
    }
    Some(())
}

pub(super) fn take<'a, const N: usize>(from: &mut &'a [u8]) -> Option<&'a [u8; N]> {
    let (head, tail) = from.split_first_chunk()?;
    *from = tail;
    Some(head)
}

pub(super) fn slice<'a>(from: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (head, tail) = from.split_at_checked(len)?;
    *from = tail;
    Some(head)
}

pub(super) fn column<'a, const N: usize>(from: &mut &'a [u8], count: usize) -> Option<&'a [[u8; N]]> {
    Some(slice(from, count.checked_mul(N)?)?.as_chunks().0)
}

/// Appends sorted paths, each as how much it shares with the one before, and what follows.
pub(super) fn push_paths<'a>(to: &mut Vec<u8>, paths: impl Iterator<Item = &'a [u8]>) {
    let mut last: &[u8] = b"";
    for path in paths {
        let shared = path.iter().zip(last).take_while(|(a, b)| a == b).count();
        push_number(to, shared);
        push_number(to, path.len() - shared);
        to.extend_from_slice(&path[shared..]);
        last = path;
    }
}

/// Appends a number, seven bits a byte, lowest first, the high bit set on all but the last.
fn push_number(to: &mut Vec<u8>, mut number: usize) {
    while number >= 0x80 {
        to.push(number as u8 | 0x80);
        number >>= 7;
    }
    to.push(number as u8);
}

pub(super) fn number(from: &mut &[u8]) -> Option<usize> {
    let mut number = 0;
    for shift in (0..32).step_by(7) {
        let &[byte] = take(from)?;
        number |= usize::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}
