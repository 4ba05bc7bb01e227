//! Stat data: the filter in front of reading a file.
//!
//! Invariant: equal stat data of a regular file, settled when it was recorded, means equal content. Whatever
//! writes to a file, renames another over it, or sets its times changes at least the time of its last status
//! change, which no caller can set. Two things weaken that and are met here: a stamp has a granularity, so a
//! second write soon after the first may leave the same one (see [`Stat::is_settled_at`]), and a clock may be
//! stepped (a stamp in the future never is settled). One thing is not met: a process that writes through a
//! shared memory mapping, whose stamp the kernel sets at the first write of each writeback interval only.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;

use rustix::fs::FileType;

use super::SpecialFile;

/// How long a stamp must have lain in the past when a file was read for its stat data to be believed later.
///
/// Covers the kernel's coarse clock (up to 10 ms), file systems that keep whole seconds (ext3, NFS on top of
/// it) or two (FAT), and servers whose clock is a little off. The price is that a file edited less than this
/// before it is read is read once more by the next scan.
const SETTLING_NANOS: i64 = 2_000_000_000;

/// What a file system says of a path without opening it. Times are nanoseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stat {
    /// Device.
    pub device: u64,
    /// Inode.
    pub inode: u64,
    /// Length in bytes.
    pub size: u64,
    /// Last change of the content, as far as nobody has set it to something else.
    pub modified: i64,
    /// Last change of the content, mode, owner, links or times.
    pub changed: i64,
    /// Type and permission bits.
    pub mode: u32,
}

impl Stat {
    /// Whether whatever is written after `moment` (nanoseconds since 1970) is sure to show in the stat data.
    pub(super) fn is_settled_at(&self, moment: i64) -> bool {
        self.modified.max(self.changed) < moment.saturating_sub(SETTLING_NANOS)
    }

    /// The permission bits.
    pub fn permissions(&self) -> u32 {
        self.mode & 0o777
    }

    /// Whether a program runs with the rights of the file's owner or group. No digest covers that.
    pub fn gives_rights(&self) -> bool {
        self.mode & 0o6000 != 0
    }

    pub(super) fn file_type(&self) -> FileType {
        FileType::from_raw_mode(self.mode)
    }

    /// What special file this is, if it is one.
    pub(super) fn special(&self) -> Option<SpecialFile> {
        special(self.file_type())
    }
}

/// What special file something of this type is, if it is one.
pub(super) fn special(file_type: FileType) -> Option<SpecialFile> {
    match file_type {
        FileType::Fifo => Some(SpecialFile::Pipe),
        FileType::Socket => Some(SpecialFile::Socket),
        FileType::BlockDevice | FileType::CharacterDevice => Some(SpecialFile::Device),
        FileType::RegularFile | FileType::Directory | FileType::Symlink | FileType::Unknown => None,
    }
}

/// What a file system says of a directory that changes whenever a name in it comes, goes or leads elsewhere.
///
/// Invariant: equal stamps, settled when the directory was listed, mean equal names. That holds as for [`Stat`],
/// on file systems that keep it ([`keeps_stamps`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Stamp {
    pub(super) device: u64,
    pub(super) inode: u64,
    pub(super) modified: i64,
    pub(super) changed: i64,
}

impl Stamp {
    /// Of a directory whose names have to be listed each time, or are looked up one by one.
    pub(super) const NONE: Self = Self { device: 0, inode: 0, modified: i64::MAX, changed: i64::MAX };

    /// Whether any name that comes or goes after `moment` (nanoseconds since 1970) is sure to show.
    pub(super) fn is_settled_at(&self, moment: i64) -> bool {
        self.modified.max(self.changed) < moment.saturating_sub(SETTLING_NANOS)
    }
}

impl From<Stat> for Stamp {
    fn from(stat: Stat) -> Self {
        let Stat { device, inode, modified, changed, .. } = stat;
        Self { device, inode, modified, changed }
    }
}

/// Whether a directory is on a file system of which it is known that directories change their stamps with the
/// names in them. Some that are reached over a network, or made up by a program, do not.
#[cfg(target_os = "linux")]
pub(crate) fn keeps_stamps(directory: &OwnedFd) -> bool {
    const BCACHEFS: u64 = 0xca45_1a4e;
    const BTRFS: u64 = 0x9123_683e;
    const EXT: u64 = 0xef53;
    const F2FS: u64 = 0xf2f5_2010;
    const OVERLAY: u64 = 0x794c_7630;
    const TMPFS: u64 = 0x0102_1994;
    const XFS: u64 = 0x5846_5342;
    const ZFS: u64 = 0x2fc1_2fc1;
    let known = [BCACHEFS, BTRFS, EXT, F2FS, OVERLAY, TMPFS, XFS, ZFS];
    rustix::fs::fstatfs(directory).is_ok_and(|system| known.contains(&(system.f_type as u64 & 0xffff_ffff)))
}

#[cfg(not(target_os = "linux"))]
pub(super) fn keeps_stamps(_directory: &OwnedFd) -> bool {
    false
}

impl From<rustix::fs::Stat> for Stat {
    #[allow(clippy::unnecessary_cast, reason = "the fields' types differ between architectures")]
    fn from(stat: rustix::fs::Stat) -> Self {
        let nanos = |seconds: i64, nanos: i64| seconds.saturating_mul(1_000_000_000).saturating_add(nanos);
        Self {
            device: stat.st_dev as u64,
            inode: stat.st_ino as u64,
            size: stat.st_size as u64,
            modified: nanos(stat.st_mtime as i64, stat.st_mtime_nsec as i64),
            changed: nanos(stat.st_ctime as i64, stat.st_ctime_nsec as i64),
            mode: stat.st_mode as u32,
        }
    }
}

impl From<&fs::Metadata> for Stat {
    fn from(metadata: &fs::Metadata) -> Self {
        let nanos = |seconds: i64, nanos: i64| seconds.saturating_mul(1_000_000_000).saturating_add(nanos);
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: nanos(metadata.mtime(), metadata.mtime_nsec()),
            changed: nanos(metadata.ctime(), metadata.ctime_nsec()),
            mode: metadata.mode(),
        }
    }
}

/// The permission bits that this process's umask takes from every file that it makes.
///
/// Linux tells it without the detour of setting another one; where it does not, 0o022 is assumed, which can
/// cost a fingerprint that differs from a colleague's and nothing else.
pub fn process_umask() -> u32 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("Umask:"));
    mask.and_then(|mask| u32::from_str_radix(mask.trim(), 8).ok()).unwrap_or(0o022)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_believed_only_when_it_lay_safely_in_the_past() {
        let at = |modified, changed| Stat { modified, changed, ..Stat::default() };
        let second = 1_000_000_000;
        assert!(at(0, 0).is_settled_at(3 * second));
        assert!(!at(second, 0).is_settled_at(3 * second), "modified too late");
        assert!(!at(0, second).is_settled_at(3 * second), "changed too late");
        assert!(!at(0, 10 * second).is_settled_at(3 * second), "in the future");
        assert!(!at(i64::MIN, i64::MIN).is_settled_at(i64::MIN), "nothing is before all time");
    }
}
