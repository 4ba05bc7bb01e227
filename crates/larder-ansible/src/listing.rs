//! Listings in ansible-playbook's own text form: `--list-hosts`, `--list-tasks` and `--list-tags`.
//!
//! Invariant: byte for byte what ansible-playbook prints, but for the order of a play's own tags and of its hosts:
//! Ansible prints sets in the order of Python's hashing, which differs from one start to the next. Here tags are
//! sorted, and hosts come in the order in which the play has them.
//! Not here: which plays there are (`planner`).

use std::collections::{BTreeSet, HashMap};
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::compiled::CompiledPlay;
use crate::inventory::Chosen;
use crate::plain::Plain;
use crate::tags::TagSelection;

/// A play as it is listed: a small part of what it comes to.
///
/// The tasks are in a form that is quick to read back, as that is most of the work of a listing that is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedPlay {
    /// Its name.
    pub name: String,
    /// Patterns of hosts.
    pub hosts: Vec<String>,
    /// Tags that all of it has, sorted.
    pub tags: Vec<String>,
    /// The labels of all tasks, one after the other.
    labels: String,
    /// Of each task, where its label ends, and which of the sets of tags it has.
    tasks: Vec<(u32, u32)>,
    /// All sets of tags that tasks have, each sorted.
    tag_sets: Vec<Vec<String>>,
}

impl ListedPlay {
    /// What is listed of a compiled play: the tasks that Ansible lists, in order, whatever their tags.
    pub fn of(play: &CompiledPlay) -> Self {
        let mut listed = Self {
            name: play.name.clone(),
            hosts: play.hosts.clone(),
            tags: play.tags.clone(),
            labels: String::new(),
            tasks: Vec::new(),
            tag_sets: Vec::new(),
        };
        let mut sets: HashMap<&[String], u32> = HashMap::new();
        for task in play.tasks.iter().filter(|task| task.is_listed()) {
            let set = *sets.entry(&task.tags).or_insert_with(|| {
                listed.tag_sets.push(task.tags.clone());
                listed.tag_sets.len() as u32 - 1
            });
            listed.labels += &task.label(&play.roles);
            listed.tasks.push((listed.labels.len() as u32, set));
        }
        listed
    }

    /// The label of each task, which is its role and name, and which of the sets of tags it has.
    fn tasks(&self) -> impl Iterator<Item = (&str, usize)> {
        let mut begin = 0;
        self.tasks.iter().map(move |&(end, set)| {
            let label = self.labels.get(begin..end as usize).unwrap_or_default();
            begin = end as usize;
            (label, set as usize)
        })
    }
}

/// What to list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Listed {
    /// Each task with its tags.
    pub tasks: bool,
    /// The tags of each play.
    pub tags: bool,
}

/// The choice of tags for a listing. When tags are listed and none are asked for, those of tasks that never run by
/// themselves count too.
pub fn selection<S: AsRef<str>>(listed: Listed, only: &[S], skip: &[S]) -> TagSelection {
    let only: Vec<&str> = only.iter().map(AsRef::as_ref).collect();
    let skip: Vec<&str> = skip.iter().map(AsRef::as_ref).collect();
    if listed.tags && only.is_empty() {
        TagSelection::new(&["never", "all"], &skip)
    } else {
        TagSelection::new(&only, &skip)
    }
}

/// The listing of a playbook. `playbook` is the path as it was given; `hosts` are those of each play, if they are to
/// be listed.
pub fn text(
    playbook: &str,
    plays: &[ListedPlay],
    hosts: Option<&[Chosen]>,
    listed: Listed,
    selection: &TagSelection,
) -> String {
    let mut out = format!("\nplaybook: {playbook}\n");
    for (n, play) in plays.iter().enumerate() {
        let patterns = play.hosts.join(",");
        let tags = play.tags.join(",");
        let _ = writeln!(out, "\n  play #{} ({patterns}): {}\tTAGS: [{tags}]", n + 1, play.name);
        if let Some(chosen) = hosts.and_then(|hosts| hosts.get(n)) {
            let patterns = play.hosts.iter().map(|pattern| Plain::text(&**pattern)).collect();
            let _ = writeln!(out, "    pattern: {}", Plain::List(patterns).shown());
            let _ = writeln!(out, "    hosts ({}):", chosen.hosts.len());
            for host in &chosen.hosts {
                let _ = writeln!(out, "      {host}");
            }
        }
        if listed.tasks || listed.tags {
            tasks(play, listed, selection, &mut out);
        }
    }
    out
}

fn tasks(play: &ListedPlay, listed: Listed, selection: &TagSelection, out: &mut String) {
    let mut all_tags: BTreeSet<&str> = play.tags.iter().map(String::as_str).collect();
    if listed.tasks {
        out.push_str("    tasks:\n");
    }
    // Of each set of tags that is chosen, how it is shown.
    let shown =
        |tags: &Vec<String>| selection.selects(tags).then(|| format!("\tTAGS: [{}]\n", tags.join(", ")));
    let sets: Vec<Option<String>> = play.tag_sets.iter().map(shown).collect();
    for (label, set) in play.tasks() {
        if let (true, Some(Some(tags))) = (listed.tasks, sets.get(set)) {
            for part in ["      ", label, tags] {
                out.push_str(part);
            }
        }
    }
    let chosen = play.tag_sets.iter().zip(&sets).filter(|(_, shown)| shown.is_some());
    all_tags.extend(chosen.flat_map(|(tags, _)| tags).map(String::as_str));
    if listed.tags {
        let all_tags: Vec<&str> = all_tags.into_iter().collect();
        let _ = writeln!(out, "      TASK TAGS: [{}]", all_tags.join(", "));
    }
}
