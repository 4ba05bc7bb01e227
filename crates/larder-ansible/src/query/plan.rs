//! Plans as queries: the order of a play, a play on its hosts, the whole.
//!
//! An inventory that changes leaves orders as they are; an edit of one play leaves the others' plans as they are.

use std::collections::BTreeMap;
use std::sync::Arc;

use larder::engine::{Context, Query};
use serde::{Deserialize, Serialize};

use super::document::problem;
use super::plays::{PlayList, PlayRef};
use super::ship::Ship;
use super::{Compile, Modes, Options};
use crate::inventory::{HostsOf, InventoryError, Limit, Source, Sources};
use crate::plain::Plain;
use crate::plan::PlayPlan;
use crate::plan::binary::{BinaryError, EncodedPlay, Packed, PackedPlay};
use crate::plan::build;
use crate::plan::graph::Circle;
use crate::plan::schedule::Strategy;
use crate::plan::ship::{Force, ShipOptions};
use crate::problem::Problem;
use crate::tags::TagSelection;
use crate::weight::weight;

/// On how many hosts a task runs at once where nothing is said.
pub(crate) const DEFAULT_FORKS: usize = 5;

/// A play's tasks, chosen and ordered, without hosts.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) play: PlayRef,
    pub(crate) options: Options,
    pub(crate) selection: TagSelection,
    pub(crate) start_at: Option<String>,
}

impl Query for Order {
    type Output = PlayPlan;
    type Error = Problem;
    const KIND: &'static str = "ansible.order";
    const VERSION: u32 = 5;
    const WEIGH: Option<fn(&Self::Output) -> u64> = Some(weight);

    async fn compute(&self, cx: &Context) -> Result<PlayPlan, Problem> {
        let compile = Compile { play: self.play.clone(), options: self.options.clone() };
        let compiled = cx.get(compile).await.map_err(problem)?;
        let modes = self.options.modes;
        match build::ordered(&compiled.value, &self.selection, self.start_at.as_deref(), modes) {
            Ok(play) => Ok(play),
            Err(Circle(names)) => {
                let message = format!("handlers notify each other in a circle: {}", names.join(" -> "));
                Err(Problem::of_file(&self.play.path, message)
                    .remedy("have the last of them notify none of the others"))
            }
        }
    }
}

/// A play on its hosts.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct PlanPlay {
    pub(crate) order: Order,
    pub(crate) sources: Sources,
    pub(crate) limit: Option<Vec<Limit>>,
    /// How hosts go through the tasks, where the play does not decide that.
    pub(crate) strategy: Option<Strategy>,
    /// How many hosts are rolled at a time where the play does not say.
    pub(crate) roll: Option<usize>,
}

impl Query for PlanPlay {
    type Output = PackedPlay;
    type Error = Problem;
    const KIND: &'static str = "ansible.play";
    const VERSION: u32 = 6;
    const WEIGH: Option<fn(&Self::Output) -> u64> = Some(PackedPlay::weight);

    async fn compute(&self, cx: &Context) -> Result<PackedPlay, Problem> {
        let Order { play, options, .. } = &self.order;
        let compile = Compile { play: play.clone(), options: options.clone() };
        let compiled = cx.get(compile).await.map_err(problem)?;
        let order = cx.get(self.order.clone()).await.map_err(problem)?;
        let hosts = HostsOf {
            sources: self.sources.clone(),
            patterns: compiled.value.hosts.clone(),
            limit: self.limit.clone(),
        };
        let chosen = cx.get(hosts).await.map_err(|error| inventory_problem(InventoryError::from(error)))?;
        let play = build::on_hosts(&order.value, &compiled.value, &chosen.value, self.roll);
        Ok(PackedPlay::made(build::scheduled(play, self.strategy, None)))
    }
}

/// What went wrong with an inventory.
pub(super) fn inventory_problem(error: InventoryError) -> Problem {
    match error {
        InventoryError::Wrong(problem) => problem,
        other => Problem::nowhere(super::document::described(&other)),
    }
}

/// What is kept of a play does not read back.
pub(super) fn damaged(error: BinaryError) -> Problem {
    Problem::nowhere(format!("what is kept of a play is {error}"))
        .remedy("`larder cache verify` looks for damage")
}

/// What a plan is asked for. All of it is part of what the plan is kept under. Paths are relative to the root.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlanRequest {
    /// Playbooks.
    pub playbooks: Vec<String>,
    /// The inventory.
    pub inventory: Sources,
    /// `--limit`.
    pub limit: Option<Vec<Limit>>,
    /// What changes what playbooks come to.
    pub options: Options,
    /// `--tags` and `--skip-tags`.
    pub selection: TagSelection,
    /// `--start-at-task`.
    pub start_at_task: Option<String>,
    /// On how many hosts a task runs at once.
    pub forks: usize,
    /// How hosts go through the tasks; `None` is what each play says.
    pub strategy: Option<Strategy>,
    /// Whether it is told what could be shipped as programs, and what decides that. A strategy that ships tells it
    /// in any case.
    pub ship: Option<ShipOptions>,
}

impl Query for PlanRequest {
    type Output = Packed;
    type Error = Problem;
    const KIND: &'static str = "ansible.plan";
    const VERSION: u32 = 6;
    const WEIGH: Option<fn(&Self::Output) -> u64> = Some(Packed::weight);

    async fn compute(&self, cx: &Context) -> Result<Packed, Problem> {
        let mut plays: Vec<PlayRef> = Vec::new();
        for path in &self.playbooks {
            let list = PlayList { path: path.clone(), options: self.options.clone() };
            plays.extend(cx.get(list).await.map_err(problem)?.value.iter().cloned());
        }
        let (first, start_at) = self.start(cx, &plays).await?;
        let plans = plays.drain(first..).enumerate().map(|(n, play)| PlanPlay {
            order: Order {
                play,
                options: self.options.clone(),
                selection: self.selection.clone(),
                start_at: start_at.clone().filter(|_| n == 0),
            },
            sources: self.inventory.clone(),
            limit: self.limit.clone(),
            strategy: self.strategy,
            roll: (self.strategy == Some(Strategy::Rolling)).then_some(self.forks),
        });
        let plans: Vec<PlanPlay> = plans.collect();
        let mut done = Vec::new();
        for plan in cx.get_all(plans.iter().cloned()).await {
            done.push(plan.map_err(problem)?.unpack().map_err(damaged)?);
        }
        let done = self.shipped(cx, plans, done).await?;
        let (playbooks, inventory) = (self.playbooks.clone(), self.named_inventory());
        Ok(build::whole(done, playbooks, inventory, self.said(), self.forks))
    }
}

impl PlanRequest {
    /// All of a playbook on all hosts of an inventory, as `larder plan` makes it without options.
    pub fn new(playbook: impl Into<String>, inventory: impl Into<Sources>) -> Self {
        Self {
            playbooks: vec![playbook.into()],
            inventory: inventory.into(),
            limit: None,
            options: Options::default(),
            selection: TagSelection::new::<&str>(&[], &[]),
            start_at_task: None,
            forks: DEFAULT_FORKS,
            strategy: None,
            ship: None,
        }
    }

    /// The plays with what can be shipped of them, if that is asked for.
    async fn shipped(
        &self,
        cx: &Context,
        plans: Vec<PlanPlay>,
        plays: Vec<EncodedPlay>,
    ) -> Result<Vec<EncodedPlay>, Problem> {
        let is_whole = self.strategy == Some(Strategy::BinaryOnly);
        let options = match (self.ship.clone(), self.strategy) {
            (Some(options), _) => Some(options),
            (None, Some(strategy)) if strategy.ships() => Some(ShipOptions::default()),
            (None, _) => None,
        };
        let Some(mut options) = options else { return Ok(plays) };
        if is_whole {
            options.force.get_or_insert(Force::Binary);
        }
        let ships = plans.into_iter().map(|play| Ship { play, options: options.clone() });
        let mut shipped = Vec::with_capacity(plays.len());
        for (EncodedPlay { play, .. }, shipping) in plays.into_iter().zip(cx.get_all(ships).await) {
            let shipping = shipping.map_err(problem)?.value.clone();
            if let Some(reason) = super::ship::left(&play, &shipping).filter(|_| is_whole) {
                let problem =
                    Problem::nowhere(format!("play {:?} can't go as programs alone: {reason}", play.name));
                return Err(
                    problem.remedy("the strategy `hybrid` ships what can be, and does the rest by ssh")
                );
            }
            let play = Arc::unwrap_or_clone(play);
            shipped.push(EncodedPlay::new(build::scheduled(play, self.strategy, Some(shipping))));
        }
        Ok(shipped)
    }

    /// The play to begin with, and the task in it.
    async fn start(&self, cx: &Context, plays: &[PlayRef]) -> Result<(usize, Option<String>), Problem> {
        let Some(name) = &self.start_at_task else { return Ok((0, None)) };
        for (n, play) in plays.iter().enumerate() {
            let compile = Compile { play: play.clone(), options: self.options.clone() };
            let compiled = cx.get(compile).await.map_err(problem)?;
            if compiled.tasks.iter().any(|task| build::starts_at(&compiled.value, task, name)) {
                return Ok((n, Some(name.clone())));
            }
        }
        Err(Problem::nowhere(format!("no task is named {name:?}")).remedy("`--list-tasks` shows the names"))
    }

    fn named_inventory(&self) -> Vec<String> {
        let name = |source: &Source| match source {
            Source::Path(name) | Source::Hosts(name) => name.clone(),
        };
        self.inventory.sources.iter().map(name).collect()
    }

    /// The options as a plan tells them.
    fn said(&self) -> BTreeMap<String, Plain> {
        let list = |texts: Vec<String>| Plain::List(texts.into_iter().map(Plain::text).collect());
        let mut said = BTreeMap::new();
        if !self.options.extra_vars.is_empty() {
            said.insert("extra_vars".to_owned(), Plain::Map(self.options.extra_vars.clone()));
        }
        if let Some(limit) = &self.limit {
            let shown = |limit: &Limit| match limit {
                Limit::Pattern(pattern) => pattern.clone(),
                Limit::File(path) => format!("@{path}"),
            };
            said.insert("limit".to_owned(), list(limit.iter().map(shown).collect()));
        }
        said.insert("tags".to_owned(), list(self.selection.only().map(str::to_owned).collect()));
        said.insert("skip_tags".to_owned(), list(self.selection.skipped().map(str::to_owned).collect()));
        if let Some(task) = &self.start_at_task {
            said.insert("start_at_task".to_owned(), Plain::text(task.as_str()));
        }
        said.insert("forks".to_owned(), Plain::Integer(self.forks as i64));
        if let Some(strategy) = self.strategy {
            said.insert("strategy".to_owned(), Plain::text(strategy.name()));
        }
        if let Some(ShipOptions { threshold, force, facts }) = &self.ship {
            said.insert("binary_threshold".to_owned(), Plain::Integer(*threshold as i64));
            let force = force.map(|force| if force == Force::Ssh { "force_ssh" } else { "force_binary" });
            said.extend(force.map(|force| (force.to_owned(), Plain::Bool(true))));
            said.extend(facts.iter().map(|facts| ("facts".to_owned(), Plain::text(facts.as_str()))));
        }
        let Modes { check, diff } = self.options.modes;
        for (name, _) in [("check", check), ("diff", diff)].into_iter().filter(|(_, is_on)| *is_on) {
            said.insert(name.to_owned(), Plain::Bool(true));
        }
        said
    }
}
