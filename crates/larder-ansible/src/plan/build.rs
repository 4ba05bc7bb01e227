//! Making a plan of compiled plays: tasks chosen and ordered, hosts dealt into batches, sums.
//!
//! Pure: everything that decides the outcome is a parameter.
//! Not here: which dependencies there are (`graph`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use larder::key::{Algorithm, Hasher};

use super::binary::{EncodedPlay, Packed};
use super::graph::{self, Circle};
use super::modes::Modes;
use super::module;
use super::schedule::{self, Strategy};
use super::ship::Shipping;
use super::{
    Batch, Effect, ExecutionPlan, FORMAT, Metadata, PlannedLoop, PlannedTask, PlayPlan, Risk, Totals,
};
use crate::compiled::{CompiledPlay, CompiledTask};
use crate::inventory::Chosen;
use crate::plain::{Mapping, Plain};
use crate::tags::TagSelection;

/// How long a module is assumed to take that only looks.
const LOOK_MS: u64 = 400;

/// Whether a task is one that `--start-at-task` names: by its name, with or without its role. `*` and `?` stand for
/// what they stand for in names of files.
pub(crate) fn starts_at(play: &CompiledPlay, task: &CompiledTask, name: &str) -> bool {
    let label = task.label(&play.roles);
    is_like(name, &label) || task.name.as_deref().is_some_and(|own| is_like(name, own))
}

fn is_like(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t) = (0, 0);
    // Where the last star was, and how much of the text it stands for.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(c) if *c == '?' || *c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match &mut star {
                Some((at, taken)) => {
                    *taken += 1;
                    (p, t) = (*at + 1, *taken);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

/// A play's tasks and handlers, chosen and ordered. It has no hosts yet.
pub(crate) fn ordered(
    play: &CompiledPlay,
    selection: &TagSelection,
    start_at: Option<&str>,
    modes: Modes,
) -> Result<PlayPlan, Circle> {
    let is_repeated = |task: &&CompiledTask| {
        // A role that ran with the same parameters does not run again.
        task.role.is_some_and(|role| {
            play.roles.get(role).is_some_and(|run| run.repeats.is_some() && !run.allow_duplicates)
        })
    };
    let begin = start_at.and_then(|name| play.tasks.iter().position(|task| starts_at(play, task, name)));
    let tasks: Vec<&CompiledTask> = play
        .tasks
        .iter()
        .skip(begin.unwrap_or(0))
        .filter(|task| selection.selects(&task.tags) && !is_repeated(task))
        .collect();
    let handlers: Vec<&CompiledTask> = play.handlers.iter().filter(|task| !is_repeated(task)).collect();
    let dependencies = graph::dependencies(&tasks, &handlers, &play.roles)?;
    let stages = graph::stages(&dependencies, tasks.len());
    let rescued = graph::rescued(play);
    let number_of_tasks = tasks.len();
    let mut by_stage: Vec<Vec<usize>> = vec![Vec::new(); stages.iter().max().map_or(0, |last| last + 1)];
    for (id, stage) in stages.iter().enumerate() {
        by_stage[*stage].push(id);
    }
    let mut all = tasks.into_iter().chain(handlers).zip(dependencies).zip(&stages).enumerate().map(
        |(id, ((task, depends_on), stage))| PlannedTask {
            depends_on,
            stage: *stage,
            blocks: task.blocks.iter().map(|(n, _)| *n).filter(|n| rescued.contains(n)).collect(),
            ..planned(id, task, play, modes)
        },
    );
    let tasks = all.by_ref().take(number_of_tasks).collect();
    Ok(PlayPlan {
        name: play.name.clone(),
        patterns: play.hosts.clone(),
        tags: play.tags.clone(),
        strategy: play.strategy.clone(),
        gather_facts: play.gather_facts,
        max_fail_percentage: play.max_fail_percentage,
        hosts: Vec::new(),
        unmatched: Vec::new(),
        batches: Vec::new(),
        tasks,
        handlers: all.collect(),
        stages: by_stage,
        segments: Vec::new(),
        shipping: None,
    })
}

fn planned(id: usize, task: &CompiledTask, play: &CompiledPlay, modes: Modes) -> PlannedTask {
    let module = module::known(&task.module);
    let effect = modes.effect(task);
    let text = |key: &str| task.settings.get(key).filter(|value| !value.is_null()).map(Plain::shown);
    let others = task.settings.iter().filter(|(key, _)| !matches!(*key, "delegate_to" | "run_once"));
    let mut settings: Mapping = others.map(|(key, value)| (key.into(), value.clone())).collect();
    settings.update(&task.own);
    PlannedTask {
        id,
        name: task.label(&play.roles),
        module: task.module.clone(),
        args: task.args.clone(),
        role: task.role.and_then(|role| play.roles.get(role)).map(|role| role.name.clone()),
        phase: task.phase,
        section: graph::section(task),
        when: task.when.clone(),
        tags: task.tags.clone(),
        looped: task
            .looped
            .as_ref()
            .map(|looped| PlannedLoop { with: looped.with.clone(), over: looped.over.clone() }),
        notify: task.notify.clone(),
        listen: task.listen.clone(),
        register: task.register.clone(),
        delegate_to: text("delegate_to"),
        run_once: task.settings.get("run_once").and_then(Plain::truth).unwrap_or(false),
        vars: task.vars.clone(),
        settings,
        blocks: Vec::new(),
        depends_on: Vec::new(),
        stage: 0,
        effect,
        diff: modes.shows_changes(task, effect),
        risk: if effect == Effect::Applies { module.risk } else { Risk::Low },
        estimate_ms: match effect {
            Effect::Applies => module.estimate_ms,
            Effect::Predicts | Effect::Skips => module.estimate_ms.min(LOOK_MS),
            Effect::Never => 0,
        },
    }
}

/// The same play on hosts, dealt into batches: those of `serial`, or else of as many hosts as are rolled at a time.
pub(crate) fn on_hosts(
    play: &PlayPlan,
    compiled: &CompiledPlay,
    chosen: &Chosen,
    roll: Option<usize>,
) -> PlayPlan {
    let mut hosts: Vec<String> = chosen.hosts.iter().map(ToString::to_string).collect();
    match compiled.order.as_deref() {
        Some("sorted") => hosts.sort_unstable(),
        Some("reverse_sorted") => hosts.sort_unstable_by(|a, b| b.cmp(a)),
        Some("reverse_inventory") => hosts.reverse(),
        // A shuffled order is different each time: the plan keeps that of the inventory.
        _ => {}
    }
    let rolled: Vec<Plain> = roll.iter().map(|&hosts| Plain::Integer(hosts as i64)).collect();
    let serial = if compiled.serial.is_empty() { &rolled } else { &compiled.serial };
    let batches = batches(&hosts, serial);
    let unmatched = chosen.unmatched.iter().map(ToString::to_string).collect();
    PlayPlan { hosts, unmatched, batches, ..play.clone() }
}

/// The same play by a strategy, with what can be shipped.
pub(crate) fn scheduled(play: PlayPlan, strategy: Option<Strategy>, shipping: Option<Shipping>) -> PlayPlan {
    let strategy = strategy.map_or_else(|| play.strategy.clone(), |strategy| strategy.name().to_owned());
    let play = PlayPlan { strategy, shipping, ..play };
    PlayPlan { segments: schedule::segments(&play), ..play }
}

/// Deals hosts into batches as `serial` says: the last size counts for all that follow.
fn batches(hosts: &[String], serial: &[Plain]) -> Vec<Batch> {
    let mut batches = Vec::new();
    let mut rest = hosts;
    while !rest.is_empty() {
        let size =
            serial.get(batches.len()).or(serial.last()).map_or(0, |size| batch_size(size, hosts.len()));
        let size = if size == 0 { rest.len() } else { size.min(rest.len()) };
        let (batch, remaining) = rest.split_at(size);
        batches.push(Batch { hosts: batch.to_vec() });
        rest = remaining;
    }
    batches
}

/// A number of hosts, or a share of them that is at least one; 0 for all.
fn batch_size(size: &Plain, hosts: usize) -> usize {
    let text = size.shown();
    match text.trim().strip_suffix('%') {
        Some(share) => {
            let share: usize = share.trim().parse().unwrap_or(0);
            (share * hosts / 100).max(1)
        }
        None => text.trim().parse().unwrap_or(0),
    }
}

/// The whole of several plays.
pub(crate) fn whole(
    encoded: Vec<EncodedPlay>,
    playbooks: Vec<String>,
    inventory: Vec<String>,
    options: BTreeMap<String, Plain>,
    forks: usize,
) -> Packed {
    let (plays, bytes): (Vec<Arc<PlayPlan>>, Vec<Arc<[u8]>>) =
        encoded.into_iter().map(|EncodedPlay { play, bytes }| (play, bytes)).unzip();
    // A list has its length before it.
    let mut hasher = Hasher::new(Algorithm::Blake3);
    hasher.update(&postcard::to_stdvec(&plays.len()).expect("a number encodes"));
    bytes.iter().for_each(|play| hasher.update(play));
    let digest = hasher.finish().to_string();
    let totals = totals(&plays, forks);
    let version = env!("CARGO_PKG_VERSION").to_owned();
    let metadata = Metadata { version, playbooks, inventory, options, digest };
    Packed::made(ExecutionPlan { format: FORMAT, metadata, plays, totals }, bytes)
}

fn totals(plays: &[Arc<PlayPlan>], forks: usize) -> Totals {
    let forks = forks.max(1);
    let mut totals = Totals { plays: plays.len(), ..Totals::default() };
    let mut hosts: BTreeSet<&str> = BTreeSet::new();
    let (mut stages, mut by_ssh) = (0, 0);
    for play in plays {
        hosts.extend(play.hosts.iter().map(String::as_str));
        totals.tasks += play.tasks.len();
        totals.handlers += play.handlers.len();
        for task in &play.tasks {
            *totals.risks.entry(task.risk).or_default() += 1;
            let runs = play.batches.iter().map(|batch| task.runs_on(batch.hosts.len()));
            totals.task_runs += runs.sum::<usize>();
        }
        stages += play.tasks.iter().map(|task| task.stage).collect::<BTreeSet<usize>>().len();
        let toll = schedule::toll(play, forks);
        totals.estimate_ms += toll.takes_ms;
        totals.round_trips += toll.round_trips;
        by_ssh += toll.by_ssh;
        for binary in play.shipping.iter().filter(|_| schedule::ships(play)).flat_map(|one| &one.binaries) {
            totals.binaries += 1;
            totals.compile_ms += binary.compile_ms;
        }
    }
    totals.hosts = hosts.len();
    let ratio = |a: usize, b: usize| (b > 0).then(|| a as f64 / b as f64);
    totals.parallelism = ratio(totals.tasks, stages);
    totals.network_efficiency = ratio(totals.round_trips, by_ssh).map(|share| 1.0 - share);
    totals
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_dealt_as_serial_says() {
        let hosts: Vec<String> = (1..=10).map(|n| n.to_string()).collect();
        let check = |serial: &[Plain], expected: &[usize]| {
            let sizes: Vec<usize> = batches(&hosts, serial).iter().map(|batch| batch.hosts.len()).collect();
            assert_eq!(sizes, expected, "{serial:?}");
        };
        check(&[], &[10]);
        check(&[Plain::Integer(3)], &[3, 3, 3, 1]);
        check(&[Plain::Integer(1), Plain::text("30%")], &[1, 3, 3, 3]);
        check(&[Plain::text("1%")], &[1; 10]);
        check(&[Plain::Integer(0)], &[10]);
        check(&[Plain::Integer(2), Plain::text("100%")], &[2, 8]);
    }

    #[test]
    fn names_to_start_at_may_have_stars() {
        assert!(is_like("install *", "install nginx"));
        assert!(is_like("*a*b?", "xxayyyabz"));
        assert!(!is_like("install", "install nginx"));
        assert!(is_like("*", ""));
    }
}
