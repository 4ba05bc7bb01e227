//! What the machine has to give, as far as limits go by it.

use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::size::ByteSize;

/// What the machine has to give.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// Memory that a process may take now: what the kernel calls available, or what is left below the limit of a
    /// control group that this process is in, if that is less. `None` where neither can be read.
    pub memory: Option<ByteSize>,
    /// How many threads run at once.
    pub processors: NonZeroUsize,
}

impl Machine {
    /// One that was not looked at, for a process that does one thing at a time, keeps a few answers in memory and ends.
    pub fn unknown() -> Self {
        Self { memory: None, processors: NonZeroUsize::MIN }
    }

    /// Looks under `root`, which is `/` except in tests. Blocks: reads some small files of the kernel, more where control
    /// groups are nested.
    pub fn probe(root: &Path) -> Self {
        let limits = [available(root)].into_iter().chain(group_rooms(root));
        Self { memory: limits.flatten().min().map(ByteSize), processors: processors() }
    }
}

/// How many threads run at once, as it was when this was asked first: finding out takes a dozen system calls where
/// control groups limit it.
pub fn processors() -> NonZeroUsize {
    static PROCESSORS: OnceLock<NonZeroUsize> = OnceLock::new();
    *PROCESSORS.get_or_init(|| std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN))
}

/// `MemAvailable` in bytes.
fn available(root: &Path) -> Option<u64> {
    let text = fs::read_to_string(root.join("proc/meminfo")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix("kB")?.trim_end().parse::<u64>().ok()?.checked_mul(1024)
}

/// What is left below the limit of each control group that this process is in, version 2 and 1.
fn group_rooms(root: &Path) -> Vec<Option<u64>> {
    let text = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let mut rooms = Vec::new();
    for line in text.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
        let (base, limit, used) = match controllers {
            "" => ("sys/fs/cgroup", "memory.max", "memory.current"),
            list if list.split(',').any(|controller| controller == "memory") => {
                ("sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes")
            }
            _ => continue,
        };
        let base = root.join(base);
        // A group's limit holds for all groups below it. Inside a container the path may lead nowhere, and the
        // group's own files stand at the base.
        let mut group: PathBuf = base.join(path.trim_start_matches('/'));
        loop {
            let number = |name| fs::read_to_string(group.join(name)).ok()?.trim().parse::<u64>().ok();
            rooms.push(number(limit).zip(number(used)).map(|(limit, used)| limit.saturating_sub(used)));
            if group == base || !group.pop() {
                break;
            }
        }
    }
    rooms
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(files: &[(&str, &str)], memory: Option<u64>) {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        assert_eq!(Machine::probe(root.path()).memory, memory.map(ByteSize), "{files:?}");
    }

    const MEMINFO: (&str, &str) =
        ("proc/meminfo", "MemTotal:  9000 kB\nMemFree:  10 kB\nMemAvailable:    8000 kB\n");

    #[test]
    fn the_tightest_limit_of_kernel_and_control_groups_counts() {
        check(&[MEMINFO], Some(8_192_000));
        let group = ("proc/self/cgroup", "0::/a/b\n");
        check(&[MEMINFO, group, ("sys/fs/cgroup/a/b/memory.max", "max\n")], Some(8_192_000));
        let (limit, used) =
            (("sys/fs/cgroup/a/memory.max", "5000\n"), ("sys/fs/cgroup/a/memory.current", "2000\n"));
        check(&[MEMINFO, group, limit, used], Some(3000));
        check(&[MEMINFO, group, limit, ("sys/fs/cgroup/a/memory.current", "6000\n")], Some(0));
    }

    #[test]
    fn control_groups_of_version_1_count_and_a_path_of_another_namespace_leads_to_the_base() {
        let group = ("proc/self/cgroup", "5:cpu:/x\n4:memory:/docker/f00\n");
        let limit = ("sys/fs/cgroup/memory/memory.limit_in_bytes", "7000\n");
        check(&[MEMINFO, group, limit, ("sys/fs/cgroup/memory/memory.usage_in_bytes", "1000")], Some(6000));
    }

    #[test]
    fn memory_that_cannot_be_read_is_absent() {
        check(&[], None);
    }
}
