//! What the kernel tells: inotify, and the table of mounts.

use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ioctl_getflags, open as open_file, statat};
use rustix::io::{Errno, ioctl_fionread};

use super::super::Stat;
use super::{Event, Feed, Identity, Lost, WatchId, Watched, What};

/// Names that come and go, and what happens to the directory itself.
const OF_DIRECTORY: WatchFlags =
    WatchFlags::CREATE.union(WatchFlags::DELETE).union(WatchFlags::MOVE).union(OF_DIRECTORY_ITSELF);
const OF_DIRECTORY_ITSELF: WatchFlags =
    WatchFlags::ATTRIB.union(WatchFlags::DELETE_SELF).union(WatchFlags::MOVE_SELF).union(WatchFlags::ONLYDIR);
/// Not every way of writing is told by a `MODIFY` of its own, and a mapping's end is a `CLOSE_WRITE` too. That its name
/// goes is told by the directory.
const OF_FILE: WatchFlags = WatchFlags::MODIFY.union(WatchFlags::CLOSE_WRITE).union(WatchFlags::ATTRIB);
/// What is watched by two names has what either asks for.
const ANY: WatchFlags = WatchFlags::DONT_FOLLOW.union(WatchFlags::MASK_ADD);

/// The least that an event takes in the queue.
const EVENT_BYTES: u64 = 16;
/// How much is taken from the queue at a time.
const BUFFER_BYTES: usize = 16 << 10;

/// One instance of inotify.
struct Inotify {
    instance: OwnedFd,
    mounts: OwnedFd,
    /// Devices with a file system that tells.
    devices: Vec<u64>,
}

/// Opens an instance. `None` where there are too many, or no `/proc`.
pub(super) fn open() -> Option<Box<dyn Feed>> {
    let instance = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).ok()?;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let mounts = open_file("/proc/self/mountinfo", flags, Mode::empty()).ok()?;
    let mut inotify = Inotify { instance, mounts, devices: Vec::new() };
    // The first time tells what had been mounted before.
    inotify.is_mounted_as_before().ok()?;
    Some(Box::new(inotify))
}

impl Inotify {
    /// Whether nothing was mounted or unmounted since this was asked last.
    fn is_mounted_as_before(&mut self) -> Result<bool, Errno> {
        let mut polled = [PollFd::new(&self.mounts, PollFlags::PRI)];
        poll(&mut polled, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))?;
        Ok(!polled[0].revents().intersects(PollFlags::PRI | PollFlags::ERR))
    }

    /// Whether whatever happens to the directory at `path`, on this device, is told.
    fn is_told(&mut self, path: &Path, device: u64) -> bool {
        if !self.devices.contains(&device) {
            if !rustix::fs::statfs(path).is_ok_and(|system| tells(system.f_type as u64)) {
                return false;
            }
            self.devices.push(device);
        }
        !folds_case(path)
    }

    fn add(&mut self, path: &Path, flags: WatchFlags) -> Result<WatchId, Watched> {
        inotify::add_watch(&self.instance, path, flags | ANY).map_err(|errno| match errno {
            Errno::NOSPC | Errno::NOMEM => Watched::Full,
            _ => Watched::Unreliable,
        })
    }

    fn directory(&mut self, path: &Path, device: u64, flags: WatchFlags) -> Watched {
        match self.is_told(path, device) {
            true => self.add(path, flags).map_or_else(|why| why, Watched::Directory),
            false => Watched::Unreliable,
        }
    }
}

/// Whether a file system is one that only this kernel changes, and only by its calls. One that is reached over a
/// network, or made up by a program, is not; nor is one that can be put back to what it was while it is mounted (ZFS).
fn tells(system: u64) -> bool {
    const BCACHEFS: u64 = 0xca45_1a4e;
    const BTRFS: u64 = 0x9123_683e;
    const EXT: u64 = 0xef53;
    const F2FS: u64 = 0xf2f5_2010;
    const OVERLAY: u64 = 0x794c_7630;
    const TMPFS: u64 = 0x0102_1994;
    const XFS: u64 = 0x5846_5342;
    [BCACHEFS, BTRFS, EXT, F2FS, OVERLAY, TMPFS, XFS].contains(&(system & 0xffff_ffff))
}

/// Whether a name in the directory may be told in another spelling than the one that somebody looked at.
fn folds_case(path: &Path) -> bool {
    const FS_CASEFOLD_FL: u32 = 0x4000_0000;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let Ok(directory) = open_file(path, flags, Mode::empty()) else { return true };
    match ioctl_getflags(&directory) {
        Ok(flags) => flags.bits() & FS_CASEFOLD_FL != 0,
        // It knows of no flags, and so of none of this.
        Err(errno) => !matches!(errno, Errno::NOTTY | Errno::OPNOTSUPP | Errno::INVAL | Errno::NOSYS),
    }
}

impl Feed for Inotify {
    fn watch(&mut self, path: &Path) -> Watched {
        let stat = match statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Stat::from(stat),
            Err(Errno::NOENT | Errno::NOTDIR) => return Watched::Nothing,
            Err(_) => return Watched::Unreliable,
        };
        match stat.file_type() {
            FileType::Directory => self.directory(path, stat.device, OF_DIRECTORY),
            // One that is mounted by itself may be on another device than the directory that it is in.
            FileType::RegularFile if self.devices.contains(&stat.device) => {
                self.add(path, OF_FILE).map_or_else(|why| why, Watched::File)
            }
            _ => Watched::Unreliable,
        }
    }

    fn watch_above(&mut self, path: &Path) -> Watched {
        match statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW).map(Stat::from) {
            Ok(stat) => self.directory(path, stat.device, OF_DIRECTORY_ITSELF),
            Err(_) => Watched::Unreliable,
        }
    }

    fn identity(&mut self, path: &Path) -> Option<Identity> {
        let stat = statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW).ok().map(Stat::from)?;
        Some((stat.device, stat.inode))
    }

    fn unwatch(&mut self, id: WatchId) {
        // One that the kernel has ended itself is no news.
        let _ = inotify::remove_watch(&self.instance, id);
    }

    fn descriptor(&self) -> Option<OwnedFd> {
        self.instance.try_clone().ok()
    }

    fn take(&mut self) -> Result<Vec<Event>, Lost> {
        if !self.is_mounted_as_before().map_err(|_| Lost::Failed)? {
            return Err(Lost::Mounts);
        }
        // Only what is there by now: somebody may go on adding to it for ever.
        let mut most = ioctl_fionread(&self.instance).map_err(|_| Lost::Failed)? / EVENT_BYTES;
        let mut events = Vec::new();
        let mut buffer = [MaybeUninit::uninit(); BUFFER_BYTES];
        let mut reader = Reader::new(&self.instance, &mut buffer);
        while most > 0 || !reader.is_buffer_empty() {
            let event = match reader.next() {
                Ok(event) => event,
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => continue,
                Err(_) => return Err(Lost::Failed),
            };
            most = most.saturating_sub(1);
            let flags = event.events();
            if flags.contains(ReadFlags::QUEUE_OVERFLOW) {
                return Err(Lost::Overflow);
            }
            events.push(Event {
                id: event.wd(),
                name: event.file_name().map(|name| name.to_bytes().into()),
                what: what(flags),
            });
        }
        Ok(events)
    }
}

fn what(flags: ReadFlags) -> What {
    let names = ReadFlags::CREATE | ReadFlags::DELETE | ReadFlags::MOVED_FROM | ReadFlags::MOVED_TO;
    if flags.intersects(names) {
        What::Name
    } else if flags.intersects(ReadFlags::MODIFY | ReadFlags::CLOSE_WRITE) {
        What::Content
    } else if flags.contains(ReadFlags::ATTRIB) {
        What::Attributes
    } else {
        What::Gone
    }
}
