//! Comparing two plans, play by play and task by task.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::align::{align, differing, moved};
use super::{Changes, FieldChange, Modified, PlayChanges, Presence, TaskName};
use crate::plain::{Mapping, Plain};
use crate::plan::{ExecutionPlan, PlannedTask, PlayPlan, Risk};

/// Differences that change what is done, and where.
const WHOLE: [&str; 10] =
    ["module", "args", "when", "loop", "delegate_to", "run_once", "section", "phase", "effect", "settings"];

/// What differs from `old` to `new`. Time and memory go with the number of tasks.
pub fn changes(old: &ExecutionPlan, new: &ExecutionPlan) -> Changes {
    let pairs = align(
        &old.plays,
        &new.plays,
        &[&|play| format!("{play:?}"), &|play| format!("{} {:?}", play.name, play.patterns), &|play| {
            play.name.clone()
        }],
    );
    let mut work = Work::default();
    let mut plays = Vec::new();
    let paired: HashMap<usize, usize> = pairs.iter().map(|&(from, to)| (to, from)).collect();
    for (to, play) in new.plays.iter().enumerate() {
        plays.extend(match paired.get(&to) {
            Some(&from) => compare(&old.plays[from], play, &mut work),
            None => Some(alone(play, Presence::Added, &mut work)),
        });
    }
    let stays: BTreeSet<usize> = pairs.iter().map(|&(from, _)| from).collect();
    let gone = old.plays.iter().enumerate().filter(|(from, _)| !stays.contains(from));
    plays.extend(gone.map(|(_, play)| alone(play, Presence::Removed, &mut work)));
    Changes { plays, impact: work.impact() }
}

/// Work that was compared, in halves so that it adds up exactly.
#[derive(Default)]
struct Work {
    all: u64,
    concerned: u64,
}

impl Work {
    fn of(task: &PlannedTask, play: &PlayPlan) -> u64 {
        let hosts = if task.run_once { play.batches.len() } else { play.hosts.len() } as u64;
        let weight = match task.risk {
            Risk::Low => 1,
            Risk::Medium => 2,
            Risk::High => 4,
            Risk::Critical => 8,
        };
        2 * weight * hosts.max(1)
    }

    /// Adds work of which this many halves are concerned.
    fn add(&mut self, work: u64, halves: u64) {
        self.all += work;
        self.concerned += work / 2 * halves;
    }

    fn impact(&self) -> f64 {
        if self.all == 0 { 0.0 } else { self.concerned as f64 / self.all as f64 }
    }
}

fn all_tasks(play: &PlayPlan) -> Vec<&PlannedTask> {
    play.tasks.iter().chain(&play.handlers).collect()
}

fn named(task: &PlannedTask) -> TaskName {
    TaskName { name: task.name.clone(), module: task.module.clone() }
}

/// A play that only one plan has.
fn alone(play: &PlayPlan, presence: Presence, work: &mut Work) -> PlayChanges {
    let tasks = all_tasks(play);
    tasks.iter().for_each(|task| work.add(Work::of(task, play), 2));
    let names = tasks.into_iter().map(named).collect();
    let (added, removed) =
        if presence == Presence::Added { (names, Vec::new()) } else { (Vec::new(), names) };
    let (name, [added_hosts, removed_hosts]) = (play.name.clone(), Default::default());
    let (fields, modified) = Default::default();
    PlayChanges { name, presence, added_hosts, removed_hosts, fields, added, removed, modified }
}

/// A play that both plans have; `None` if nothing differs.
fn compare(old: &PlayPlan, new: &PlayPlan, work: &mut Work) -> Option<PlayChanges> {
    let (added_hosts, removed_hosts) = differing(&old.hosts, &new.hosts);
    let hosts_changed = !added_hosts.is_empty() || !removed_hosts.is_empty();
    let (before, after) = (all_tasks(old), all_tasks(new));
    // A handler may be called like a task, and is not that task.
    let mut pairs = alike(&old.tasks, &new.tasks);
    let handlers = alike(&old.handlers, &new.handlers).into_iter();
    pairs.extend(handlers.map(|(from, to)| (from + old.tasks.len(), to + new.tasks.len())));
    let old_of: HashMap<usize, usize> =
        pairs.iter().map(|&(from, to)| (after[to].id, before[from].id)).collect();
    let mut modified = Vec::new();
    for (&(from, to), moved) in pairs.iter().zip(moved(&pairs)) {
        let (was, is) = (before[from], after[to]);
        let fields = fields(was, is, &before, &after, &old_of);
        let is_whole =
            |change: &FieldChange| WHOLE.contains(&change.field.split('.').next().unwrap_or_default());
        let halves = match () {
            () if hosts_changed || fields.iter().any(is_whole) => 2,
            () if moved || !fields.is_empty() => 1,
            () => 0,
        };
        work.add(Work::of(was, old).max(Work::of(is, new)), halves);
        if moved || !fields.is_empty() {
            modified.push(Modified { task: named(is), moved, fields });
        }
    }
    let (kept, come): (BTreeSet<usize>, BTreeSet<usize>) = pairs.iter().copied().unzip();
    let mut lone = |tasks: &[&PlannedTask], play: &PlayPlan, paired: &BTreeSet<usize>| {
        let alone = tasks.iter().enumerate().filter(|(at, _)| !paired.contains(at));
        let alone: Vec<&PlannedTask> = alone.map(|(_, task)| *task).collect();
        alone.iter().for_each(|task| work.add(Work::of(task, play), 2));
        alone.into_iter().map(named).collect::<Vec<_>>()
    };
    let (added, removed) = (lone(&after, new, &come), lone(&before, old, &kept));
    let fields = play_fields(old, new);
    let differs = hosts_changed
        || ![fields.len(), added.len(), removed.len(), modified.len()].iter().all(|count| *count == 0);
    let name = new.name.clone();
    let presence = Presence::Both;
    differs.then_some(PlayChanges {
        name,
        presence,
        added_hosts,
        removed_hosts,
        fields,
        added,
        removed,
        modified,
    })
}

/// Which of the old tasks is which of the new ones.
fn alike(old: &[PlannedTask], new: &[PlannedTask]) -> Vec<(usize, usize)> {
    align(
        old,
        new,
        &[
            &|task| format!("{:?}", content(task)),
            &|task| format!("{:?} {} {} {:?}", task.role, task.name, task.module, task.phase),
            &|task| format!("{:?} {}", task.role, task.name),
            &|task| format!("{:?} {} {:?}", task.role, task.module, task.args),
        ],
    )
}

/// A task without what follows from where it stands.
fn content(task: &PlannedTask) -> PlannedTask {
    PlannedTask { id: 0, depends_on: Vec::new(), stage: 0, ..task.clone() }
}

fn play_fields(old: &PlayPlan, new: &PlayPlan) -> Vec<FieldChange> {
    let mut fields = Fields::default();
    fields.compare("name", &old.name, &new.name);
    fields.list("hosts", &old.patterns, &new.patterns);
    fields.list("tags", &old.tags, &new.tags);
    fields.compare("strategy", &old.strategy, &new.strategy);
    fields.compare("gather_facts", &old.gather_facts.to_string(), &new.gather_facts.to_string());
    let percent = |play: &PlayPlan| play.max_fail_percentage.map(|percent| percent.to_string());
    fields.maybe("max_fail_percentage", percent(old), percent(new));
    let batches = |play: &PlayPlan| -> Vec<String> {
        play.batches.iter().map(|batch| batch.hosts.len().to_string()).collect()
    };
    fields.list("batches", &batches(old), &batches(new));
    let programs = |play: &PlayPlan| {
        let shipping = play.shipping.as_ref()?;
        let tasks = shipping.binaries.iter().map(|binary| {
            let first = binary.tasks.first().map_or("", |&id| &play.tasks[id].name);
            format!("{} from {first:?} on {}", binary.tasks.len(), binary.hosts.join(" "))
        });
        Some(tasks.collect::<Vec<_>>().join(", "))
    };
    fields.maybe("programs", programs(old), programs(new));
    fields.0
}

fn fields(
    was: &PlannedTask,
    is: &PlannedTask,
    before: &[&PlannedTask],
    after: &[&PlannedTask],
    old_of: &HashMap<usize, usize>,
) -> Vec<FieldChange> {
    let mut fields = Fields::default();
    fields.compare("name", &was.name, &is.name);
    fields.compare("module", &was.module, &is.module);
    fields.mapping("args", &was.args, &is.args);
    fields.list("when", &was.when, &is.when);
    let looped = |task: &PlannedTask| {
        let looped = task.looped.as_ref()?;
        Some(format!(
            "{}{}",
            looped.with.as_ref().map_or(String::new(), |with| format!("{with}: ")),
            looped.over.shown()
        ))
    };
    fields.maybe("loop", looped(was), looped(is));
    fields.list("tags", &was.tags, &is.tags);
    fields.list("notify", &was.notify, &is.notify);
    fields.list("listen", &was.listen, &is.listen);
    fields.maybe("register", was.register.clone(), is.register.clone());
    fields.maybe("delegate_to", was.delegate_to.clone(), is.delegate_to.clone());
    fields.compare("run_once", &was.run_once.to_string(), &is.run_once.to_string());
    fields.compare("phase", &format!("{:?}", was.phase), &format!("{:?}", is.phase));
    fields.compare("section", &format!("{:?}", was.section), &format!("{:?}", is.section));
    fields.compare("effect", &format!("{:?}", was.effect), &format!("{:?}", is.effect));
    fields.compare("diff", &was.diff.to_string(), &is.diff.to_string());
    fields.mapping("vars", &was.vars, &is.vars);
    fields.mapping("settings", &was.settings, &is.settings);
    // By the old numbers of tasks that both plans have; that others come and go shows by itself.
    let names = |tasks: &[&PlannedTask], ids: BTreeSet<usize>| -> Vec<String> {
        tasks.iter().filter(|task| ids.contains(&task.id)).map(|task| task.name.clone()).collect()
    };
    let stays: BTreeSet<usize> = old_of.values().copied().collect();
    let old_on: BTreeSet<usize> =
        was.depends_on.iter().map(|one| one.on).filter(|on| stays.contains(on)).collect();
    let new_on: BTreeMap<usize, usize> =
        is.depends_on.iter().filter_map(|one| Some((*old_of.get(&one.on)?, one.on))).collect();
    if old_on.iter().ne(new_on.keys()) {
        fields.list("depends_on", &names(before, old_on), &names(after, new_on.into_values().collect()));
    }
    fields.0
}

/// Differences that were found.
#[derive(Default)]
struct Fields(Vec<FieldChange>);

impl Fields {
    fn maybe(&mut self, field: &str, was: Option<String>, is: Option<String>) {
        if was != is {
            self.0.push(FieldChange { field: field.to_owned(), was, is });
        }
    }

    fn compare(&mut self, field: &str, was: &str, is: &str) {
        self.maybe(field, Some(was.to_owned()), Some(is.to_owned()));
    }

    fn list(&mut self, field: &str, was: &[String], is: &[String]) {
        let shown = |list: &[String]| (!list.is_empty()).then(|| list.join(", "));
        self.maybe(field, shown(was), shown(is));
    }

    fn mapping(&mut self, field: &str, was: &Mapping, is: &Mapping) {
        let keys: BTreeSet<&str> = was.iter().chain(is.iter()).map(|(key, _)| key).collect();
        for key in keys {
            let shown = |mapping: &Mapping| mapping.get(key).map(Plain::shown);
            if was.get(key) != is.get(key) {
                self.0.push(FieldChange { field: format!("{field}.{key}"), was: shown(was), is: shown(is) });
            }
        }
    }
}
