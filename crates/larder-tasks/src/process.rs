//! Processes as `/proc` tells of them.
//!
//! A process that has ended and that nobody has waited for yet still answers to signals. In a container whose first
//! process waits for nobody such remains stay for good: only `/proc` tells them from the living.
//!
//! On systems without `/proc` no process is found by its id, and a group is alive as long as it takes signals.

use std::fs;

use rustix::process::{Pid, test_kill_process_group};

/// A living process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Process {
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
        let found = Self { group: fields.get(2)?.parse().ok()?, began: fields.get(19)?.parse().ok()? };
        is_alive.then_some(found)
    }
}

/// The living members of a process group with their ids. Looks at every process of the machine, one by one.
pub(crate) fn members(group: Pid) -> impl Iterator<Item = (u32, Process)> {
    let ids = fs::read_dir("/proc").into_iter().flatten();
    let ids = ids.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    ids.filter_map(|id| Some((id, Process::find(id)?)))
        .filter(move |(_, process)| process.group == group.as_raw_nonzero().get())
}

/// Whether anyone in the group lives. Costs one call where nobody is left, else a look at the machine's processes.
pub(crate) fn group_is_alive(group: Pid) -> bool {
    test_kill_process_group(group).is_ok()
        && (Process::find(std::process::id()).is_none() || members(group).next().is_some())
}
