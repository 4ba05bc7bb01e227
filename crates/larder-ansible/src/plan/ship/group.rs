//! Putting tasks together into programs.
//!
//! Pure: what files and facts there are is a parameter.
//! Not here: why a task can't be part of any program (`obstacle`).

use std::collections::{BTreeMap, BTreeSet};

use super::obstacle::{USERS, expressions, names, obstacle};
use super::{Binary, Embedded, Force, Obstacle, ShipOptions, Shipping, Target, WhyNot};
use crate::plain::Plain;
use crate::plan::{Effect, PlannedTask, PlayPlan, schedule};
use crate::playbook::short_module;

/// What a program takes beside its modules and files.
const BASE_BYTES: u64 = 2 << 20;
const MODULE_BYTES: u64 = 96 << 10;
const BASE_COMPILE_MS: u64 = 8_000;
const MODULE_COMPILE_MS: u64 = 1_500;

/// What was found of files and hosts.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// Files that tasks send, by the task's number.
    pub(crate) files: BTreeMap<usize, Vec<Embedded>>,
    /// Names that templates among those files use.
    pub(crate) names: BTreeMap<usize, BTreeSet<String>>,
    /// Why a task's file can't be sent.
    pub(crate) missing: BTreeMap<usize, String>,
    /// What hosts are, as far as that is known.
    pub(crate) targets: BTreeMap<String, Target>,
}

/// What can be shipped of a play.
pub(crate) fn binaries(play: &PlayPlan, findings: &Findings, options: &ShipOptions) -> Shipping {
    let mut shipping = Shipping::default();
    let runs = runs(play, findings, options, &mut shipping.by_ssh);
    let hosts = play.batches.iter().flat_map(|batch| &batch.hosts);
    shipping.hosts_without_target =
        hosts.filter(|host| !findings.targets.contains_key(*host)).cloned().collect();
    let mut programs: BTreeMap<(usize, &Target), usize> = BTreeMap::new();
    for (nth, batch) in play.batches.iter().enumerate() {
        let mut by_target: BTreeMap<&Target, Vec<String>> = BTreeMap::new();
        for host in &batch.hosts {
            if let Some(target) = findings.targets.get(host) {
                by_target.entry(target).or_default().push(host.clone());
            }
        }
        for (run_number, run) in runs.iter().enumerate() {
            for (target, hosts) in &by_target {
                let next = programs.len();
                let program = *programs.entry((run_number, *target)).or_insert(next);
                let binary = binary(play, run, findings, hosts.clone(), target);
                let compile_ms = if program == next { binary.compile_ms } else { 0 };
                shipping.binaries.push(Binary { batch: nth, program, compile_ms, ..binary });
            }
        }
    }
    shipping.by_ssh.sort_unstable_by_key(|obstacle| obstacle.task);
    shipping
}

/// Runs of tasks that can be shipped and are worth it; of the other tasks, why they are in none.
fn runs<'p>(
    play: &'p PlayPlan,
    findings: &Findings,
    options: &ShipOptions,
    by_ssh: &mut Vec<Obstacle>,
) -> Vec<Vec<&'p PlannedTask>> {
    let mut runs = Vec::new();
    for section in schedule::sections(play) {
        let mut open: Vec<&PlannedTask> = Vec::new();
        for task in section.iter().filter(|task| task.effect != Effect::Never) {
            match why_not(task, play, findings, options) {
                Some((why, reason)) => {
                    close(&mut open, options, &mut runs, by_ssh);
                    by_ssh.push(Obstacle { task: task.id, why, reason });
                }
                None => {
                    if open.last().is_some_and(|last| users(last) != users(task)) {
                        close(&mut open, options, &mut runs, by_ssh);
                    }
                    open.push(task);
                }
            }
        }
        close(&mut open, options, &mut runs, by_ssh);
    }
    runs
}

fn why_not(
    task: &PlannedTask,
    play: &PlayPlan,
    findings: &Findings,
    options: &ShipOptions,
) -> Option<(WhyNot, String)> {
    if options.force == Some(Force::Ssh) {
        return Some((WhyNot::Forced, "nothing is to be shipped".to_owned()));
    }
    let missing = || findings.missing.get(&task.id).map(|reason| (WhyNot::File, reason.clone()));
    obstacle(task, play).or_else(missing)
}

/// As whom a task is done.
fn users(task: &PlannedTask) -> Vec<Option<&Plain>> {
    USERS.iter().map(|key| task.settings.get(key)).collect()
}

/// Ends a run: keeps it if it is worth it. Tasks at its ends that never leave the controller stay there.
fn close<'p>(
    open: &mut Vec<&'p PlannedTask>,
    options: &ShipOptions,
    runs: &mut Vec<Vec<&'p PlannedTask>>,
    by_ssh: &mut Vec<Obstacle>,
) {
    let mut run = std::mem::take(open);
    let trips = |task: &&PlannedTask| schedule::round_trips(task) > 0;
    let begin = run.iter().position(trips).unwrap_or(run.len());
    let end = run.iter().rposition(trips).map_or(begin, |last| last + 1);
    let mut stay = |tasks: &[&PlannedTask], why: WhyNot, reason: &str| {
        let obstacle = |task: &&PlannedTask| Obstacle { task: task.id, why, reason: reason.to_owned() };
        by_ssh.extend(tasks.iter().map(obstacle));
    };
    for ends in [&run[end..], &run[..begin]] {
        stay(ends, WhyNot::Stays, "it does not leave the controller");
    }
    run.truncate(end);
    run.drain(..begin);
    let saves: usize = run.iter().map(|task| schedule::round_trips(task)).sum();
    let threshold = if options.force == Some(Force::Binary) { 1 } else { options.threshold.max(1) };
    if saves >= threshold {
        runs.push(run);
    } else {
        stay(&run, WhyNot::Few, &format!("too few tasks follow each other: {saves} of {threshold}"));
    }
}

/// A program for some hosts, as if it were the first of its kind.
fn binary(
    play: &PlayPlan,
    run: &[&PlannedTask],
    findings: &Findings,
    hosts: Vec<String>,
    target: &Target,
) -> Binary {
    let ids: Vec<usize> = run.iter().map(|task| task.id).collect();
    let modules: BTreeSet<&str> = run.iter().map(|task| short_module(&task.module)).collect();
    let mut files: Vec<Embedded> =
        ids.iter().filter_map(|id| findings.files.get(id)).flatten().cloned().collect();
    files.sort_unstable();
    files.dedup();
    let trips: usize = run.iter().map(|task| schedule::round_trips(task)).sum();
    let size_bytes =
        BASE_BYTES + MODULE_BYTES * modules.len() as u64 + files.iter().map(|file| file.bytes).sum::<u64>();
    Binary {
        batch: 0,
        variables: handed(run, findings),
        results: results(play, run),
        round_trips_saved: trips.saturating_sub(1) * hosts.len(),
        hosts,
        target: target.clone(),
        program: 0,
        compile_ms: BASE_COMPILE_MS + MODULE_COMPILE_MS * modules.len() as u64,
        modules: modules.into_iter().map(str::to_owned).collect(),
        tasks: ids,
        files,
        size_bytes,
    }
}

/// Names that a run uses and does not set before.
fn handed(run: &[&PlannedTask], findings: &Findings) -> Vec<String> {
    // What Jinja and a loop set themselves.
    let own = ["item", "ansible_loop", "ansible_index_var", "namespace", "range", "dict", "omit", "loop"];
    let mut set: BTreeSet<String> = own.into_iter().map(str::to_owned).collect();
    let mut handed = BTreeSet::new();
    for task in run {
        let used = names(&expressions(task)).unwrap_or_default();
        let in_files = findings.names.get(&task.id).into_iter().flatten().cloned();
        let control = task.settings.get("loop_control").and_then(Plain::as_map);
        let of_loop = ["loop_var", "index_var"].iter().filter_map(|key| control?.get(key)?.as_str());
        let own: BTreeSet<&str> = task.vars.iter().map(|(name, _)| name).chain(of_loop).collect();
        let is_foreign = |name: &String| !set.contains(name) && !own.contains(name.as_str());
        handed.extend(used.into_iter().chain(in_files).filter(is_foreign));
        set.extend(task.register.iter().cloned());
        if short_module(&task.module) == "set_fact" {
            set.extend(task.args.iter().map(|(name, _)| name.to_owned()));
        }
    }
    handed.into_iter().collect()
}

/// Results of a run that a later task, or a handler, uses.
fn results(play: &PlayPlan, run: &[&PlannedTask]) -> Vec<String> {
    let last = run.last().map_or(0, |task| task.id);
    let later = play.tasks.iter().filter(|task| task.id > last).chain(&play.handlers);
    let mut used = BTreeSet::new();
    let mut is_known = true;
    for task in later {
        match names(&expressions(task)) {
            Ok(names) => used.extend(names),
            Err(_) => is_known = false,
        }
    }
    let set = run.iter().filter_map(|task| task.register.as_ref());
    let results: BTreeSet<&String> = set.filter(|name| !is_known || used.contains(*name)).collect();
    results.into_iter().cloned().collect()
}
