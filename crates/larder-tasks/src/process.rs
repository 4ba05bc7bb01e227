//! Processes as `/proc` tells of them.
//!
//! A process that has ended and that nobody has waited for yet still answers to signals. In a container whose first
//! process waits for nobody such remains stay for good: only `/proc` tells them from the living.
//!
//! What a command starts may leave its process group, and is then known by the command's **mark**, a variable that says
//! which task is run and where.
//!
//! On systems without `/proc` no process is found by its id, and a group is alive as long as it takes signals.

use std::fs;

use rustix::process::{Pid, test_kill_process_group};

/// The variable whose value is a command's mark, with a space and the marks before it of what it runs under.
pub(crate) const MARKS: &str = "LARDER_PLACE";

/// A living process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Process {
    /// Who started it, or took it in.
    pub(crate) parent: i32,
    /// The process group it is in.
    pub(crate) group: i32,
    /// Clock ticks from the machine's start to its own.
    pub(crate) began: u64,
}

impl Process {
    /// The process of this id, if it lives.
    pub(crate) fn find(id: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        // The second field is a name that may hold anything, in parentheses.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let is_alive = !matches!(*fields.first()?, "Z" | "X");
        let found = Self {
            parent: fields.get(1)?.parse().ok()?,
            group: fields.get(2)?.parse().ok()?,
            began: fields.get(19)?.parse().ok()?,
        };
        is_alive.then_some(found)
    }
}

/// The ids of the machine's processes, of the dead as well.
pub(crate) fn ids() -> impl Iterator<Item = u32> {
    let ids = fs::read_dir("/proc").into_iter().flatten();
    ids.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// The living members of a process group. Looks at every process of the machine, one by one.
fn members(group: Pid) -> impl Iterator<Item = Process> {
    ids().filter_map(Process::find).filter(move |process| process.group == group.as_raw_nonzero().get())
}

/// Whether anyone in the group lives. Costs one call where nobody is left, else a look at the machine's processes.
pub(crate) fn group_is_alive(group: Pid) -> bool {
    test_kill_process_group(group).is_ok()
        && (Process::find(std::process::id()).is_none() || members(group).next().is_some())
}

/// Clock ticks since the machine's start, as processes tell when they began.
pub(crate) fn ticks() -> u64 {
    #[cfg(target_os = "linux")]
    let since_start = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    // Nothing compares them where there is no `/proc`.
    #[cfg(not(target_os = "linux"))]
    let since_start = rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 };
    let nanos = i128::from(since_start.tv_sec) * 1_000_000_000 + i128::from(since_start.tv_nsec);
    let ticks = nanos * i128::from(rustix::param::clock_ticks_per_second()) / 1_000_000_000;
    u64::try_from(ticks).unwrap_or(0)
}

/// Whether a process lives that has this mark and began in that tick or later. That of another user is not known.
pub(crate) fn is_marked(id: u32, mark: &str, since: u64) -> bool {
    let is_mark = |variable: &[u8]| {
        let marks = variable.strip_prefix(MARKS.as_bytes()).and_then(|rest| rest.strip_prefix(b"="));
        marks.is_some_and(|marks| marks.split(|&byte| byte == b' ').any(|one| one == mark.as_bytes()))
    };
    let environment = fs::read(format!("/proc/{id}/environ"));
    environment.is_ok_and(|variables| variables.split(|&byte| byte == 0).any(is_mark))
        && Process::find(id).is_some_and(|process| process.began >= since)
}
