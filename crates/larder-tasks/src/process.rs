//! Processes as `/proc` tells of them.
//!
//! A process that has ended and that nobody has waited for yet still answers to signals. In a container whose first
//! process waits for nobody such remains stay for good: only `/proc` tells them from the living.
//!
//! What a command starts may leave its process group, and is then known by two things. It has the command's **mark**, a
//! variable that says which task is run and where. And once its parents have ended it is a child of this process, if that
//! takes orphans in: nothing else has to be looked at when a command ends.
//!
//! On systems without `/proc`, and where it tells of another namespace's processes, no process is found by its id, and a
//! group is alive as long as it takes signals.
//!
//! A group or session whose first process is not to be seen from here, as that of a container that was started from
//! outside, is number 0. So groups and sessions are plain numbers, and are not asked of `rustix`, which takes none for 0.

use std::fs;
use std::sync::OnceLock;

use rustix::process::{Pid, WaitOptions, getpid, test_kill_process_group, waitpid};

/// The variable whose value is a command's mark, with a space and the marks before it of what it runs under.
pub const MARKS: &str = "LARDER_PLACE";

/// How often it is looked at most for what came while others were looked at.
const MAX_LOOKS: usize = 16;

/// A process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Process {
    /// Whether it lives: one that has ended is there until it is waited for.
    is_alive: bool,
    /// Who started it, or took it in.
    pub(crate) parent: i32,
    /// The process group it is in.
    pub(crate) group: i32,
    /// The session it is in.
    session: i32,
    /// Clock ticks from the machine's start to its own.
    pub(crate) began: u64,
}

impl Process {
    /// The process of this id, if it lives.
    pub(crate) fn find(id: u32) -> Option<Self> {
        Self::read(id).filter(|process| process.is_alive)
    }

    /// The process of this id, living or not.
    fn read(id: u32) -> Option<Self> {
        if !proc_is_ours() {
            return None;
        }
        Self::parse(&fs::read_to_string(format!("/proc/{id}/stat")).ok()?)
    }

    fn parse(stat: &str) -> Option<Self> {
        // The second field is a name that may hold anything, in parentheses.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        Some(Self {
            is_alive: !matches!(*fields.first()?, "Z" | "X"),
            parent: fields.get(1)?.parse().ok()?,
            group: fields.get(2)?.parse().ok()?,
            session: fields.get(3)?.parse().ok()?,
            began: fields.get(19)?.parse().ok()?,
        })
    }
}

/// Whether `/proc` is there and has our numbers: a container may have been given one from outside, in which they are others'.
fn proc_is_ours() -> bool {
    static IS_OURS: OnceLock<bool> = OnceLock::new();
    let own = || fs::read_link("/proc/self").ok()?.to_str()?.parse().ok();
    *IS_OURS.get_or_init(|| own() == Some(std::process::id()))
}

/// The ids of the machine's processes, of the dead as well.
pub(crate) fn ids() -> impl Iterator<Item = u32> {
    let ids = proc_is_ours().then(|| fs::read_dir("/proc")).into_iter().flatten().flatten();
    ids.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// The living members of a process group. Looks at every process of the machine, one by one.
fn members(group: Pid) -> impl Iterator<Item = Process> {
    ids().filter_map(Process::find).filter(move |process| process.group == group.as_raw_pid())
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

/// The mark of a command among its marks.
pub(crate) fn own_mark(marks: &str) -> Option<&str> {
    marks.rsplit(' ').next()
}

/// Those of the [`orphans`] that have this mark and began in that tick or later; and whether there is one of which that is
/// not known, as it is about to end or has no environment.
pub(crate) fn marked_orphans(mark: &str, since: u64) -> (Vec<Pid>, bool) {
    let (mut marked, mut is_unknown) = (Vec::new(), false);
    let mut before = Vec::new();
    for _ in 0..MAX_LOOKS {
        let all = orphans();
        let mut have_ended = false;
        (marked, is_unknown) = (Vec::new(), false);
        for &id in &all {
            let number = id.as_raw_pid().unsigned_abs();
            let has_none =
                || fs::read(format!("/proc/{number}/environ")).map_or(true, |text| text.is_empty());
            if is_marked(number, mark, since) {
                marked.push(id);
            } else if has_none() {
                let lives = Process::find(number).is_some();
                is_unknown |= lives;
                have_ended |= !lives;
            }
        }
        // What one that ended has left behind may have come after the look.
        if !have_ended || all == before {
            break;
        }
        before = all;
    }
    (marked, is_unknown)
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

/// Makes this process the parent of whatever its commands leave behind, where the system can, so that a command is known
/// to have left something that is in its process group no more.
///
/// Ended processes that were taken in are waited for from time to time while commands run. So that none is mistaken for
/// one, whoever calls this starts no children that are in another session, or in a process group of others.
pub fn take_in_orphans() {
    // Where it cannot, a command that hides what it leaves behind is not found out.
    #[cfg(target_os = "linux")]
    let _ = rustix::process::set_child_subreaper(Some(getpid()));
}

#[cfg(target_os = "linux")]
fn takes_in_orphans() -> bool {
    rustix::process::child_subreaper().is_ok_and(|set| set.is_some())
}

#[cfg(not(target_os = "linux"))]
fn takes_in_orphans() -> bool {
    false
}

/// Children of this process that live and may have been taken in; those that have ended are waited for.
pub(crate) fn orphans() -> Vec<Pid> {
    if !takes_in_orphans() || !proc_is_ours() {
        return Vec::new();
    }
    let mut children = taken_in();
    let Some(own) = children.first().and_then(|_| Process::read(std::process::id())) else {
        return Vec::new();
    };
    for _ in 0..MAX_LOOKS {
        let mut living = Vec::new();
        let mut are_there = true;
        for &id in &children {
            let number = id.as_raw_pid();
            match Process::read(number.unsigned_abs()) {
                Some(child) if child.group == own.group => {}
                // What this process has started itself leads a group in its session, and is waited for by who started it.
                Some(child) if child.group == number && child.session == own.session => living.push(id),
                Some(_) if matches!(waitpid(Some(id), WaitOptions::NOHANG), Ok(None)) => living.push(id),
                Some(_) | None => are_there = false,
            }
        }
        // What one that ends leaves behind comes after it, and a list that is shortened while it is read may lack some.
        let now = if children.is_empty() { Vec::new() } else { taken_in() };
        if are_there && now == children {
            return living;
        }
        children = now;
    }
    children
}

/// The children of the thread that orphans come to, which is a process's first.
fn taken_in() -> Vec<Pid> {
    let own = getpid().as_raw_pid();
    let pid = |id: u32| Pid::from_raw(i32::try_from(id).ok()?);
    match fs::read_to_string(format!("/proc/self/task/{own}/children")) {
        Ok(children) => children.split_whitespace().filter_map(|id| pid(id.parse().ok()?)).collect(),
        // A kernel that lists no children.
        Err(_) => {
            let parent = |id| Process::find(id).map(|process| process.parent);
            ids().filter(|&id| parent(id) == Some(own)).filter_map(pid).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_whose_group_and_session_are_outside_of_the_container_is_one_of_group_and_session_0() {
        let stat = "7 (a) b) Z) S 1 0 0 34816 7 4194304 94 0 0 0 0 0 0 0 20 0 1 0 4213 8704000 950";
        let found = Process { is_alive: true, parent: 1, group: 0, session: 0, began: 4213 };
        assert_eq!(Process::parse(stat), Some(found));
    }
}
