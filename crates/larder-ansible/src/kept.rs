//! Plans under names of their owner's choice: the face for programs that keep plans of their own making.
//!
//! [`View::plan`](crate::planner::View::plan) keeps plans of files by what they are made of, and is what most programs
//! want. This is for plans that are made otherwise: of documents that another program parsed, on another machine, or
//! changed after they were made. Their inputs are known to whoever makes them, so the key is a name and the digest of
//! all inputs: a plan under it holds for ever, and other inputs are another key.
//!
//! Invariant: what is kept under a key reads back as a plan of this [`FORMAT`]; of another, it is not found.
//! Not here: how plans are made (`query`), in which bytes they are kept (`plan::binary`).

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use larder::engine::{
    Answer, AskError, Computed, InvalidationReport, Kept, Kind, KindOptions, Larder, Origin, Warmed,
};
use larder::key::{Digest, Key, KeyError, Scope, Selector};
use larder::stats::Figures;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::plan::binary::Packed;
use crate::plan::{ExecutionPlan, FORMAT};

/// What a plan is kept under.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PlanKey(String);

impl PlanKey {
    /// A name of segments with slashes, such as `shop/production/site.yml`, and the digest of everything that the plan
    /// is made of: playbooks, roles, inventory, options. The planner's version is part of the key by itself.
    pub fn new(name: &str, inputs: Digest) -> Result<Self, KeyError> {
        let id = format!("{name}/{inputs}");
        if name.is_empty() || id.len() > Key::MAX_ID_BYTES || name.chars().any(char::is_control) {
            return Err(KeyError::Id(name.to_owned()));
        }
        Ok(Self(id))
    }
}

/// A place where plans are kept.
///
/// ```
/// use larder::clock::Clock;
/// use larder::engine::{Larder, LarderOptions};
/// use larder::key::{Digest, Scope};
/// use larder::stats::{Stats, StatsOptions};
/// use larder_ansible::kept::{KeptPlans, PlanKey, Plans};
/// # use larder_ansible::inventory::Source;
/// # use larder_ansible::planner::Planner;
/// # use larder_ansible::query::PlanRequest;
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// let clock = Clock::system();
/// let larder = Larder::new(LarderOptions::new(clock.clone(), Stats::new(StatsOptions::default(), clock)));
/// let scope = Scope::new("shop")?;
/// # let root = tempfile::TempDir::new()?;
/// # std::fs::write(root.path().join("site.yml"), "- hosts: all\n  tasks: [{ping: }]\n")?;
/// let planner = Planner::new(&larder, &scope)?;
/// let plans = KeptPlans::new(&larder, &scope);
///
/// // Whatever decides the plan belongs into the digest.
/// let key = PlanKey::new("staging/site.yml", Digest::of(b"- hosts: all ..."))?;
/// for round in 0..2 {
///     let view = planner.view(root.path());
///     let request = PlanRequest::new("site.yml", vec![Source::Hosts("web1,".into())]);
///     let making = || async move { view.plan(&request).await.map(|planned| (*planned.plan).clone()) };
///     let given = plans.get_or_compute(&key, making).await?;
///     assert_eq!(given.was_kept(), round == 1);
///     assert_eq!(given.plan.totals.tasks, 1);
/// }
/// assert_eq!(plans.stats().map(|stats| (stats.hits, stats.misses)), Some((1, 1)));
///
/// plans.invalidate_prefix("staging/").await;
/// assert!(plans.get_plan(&key).await.is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Plans: Send + Sync {
    /// The plan that is kept under a key. Makes none.
    fn get_plan(&self, key: &PlanKey) -> impl Future<Output = Option<ExecutionPlan>> + Send;

    /// Keeps a plan whose making took `cost`. Says whether it is kept: writing may be switched off, or full.
    fn store_plan(
        &self,
        key: &PlanKey,
        plan: &ExecutionPlan,
        cost: Duration,
    ) -> impl Future<Output = Kept> + Send;

    /// The plan that is kept under a key, or else the one that `make` makes, which is kept. Several who ask at the same
    /// time share one making. A failure is that of `make` and is not kept.
    fn get_or_compute<E, F, M>(
        &self,
        key: &PlanKey,
        make: M,
    ) -> impl Future<Output = Result<Given, AskError<E>>> + Send
    where
        E: std::error::Error + Send + Sync + 'static,
        F: Future<Output = Result<ExecutionPlan, E>> + Send + 'static,
        M: FnOnce() -> F + Send + 'static;

    /// Forgets the plan under a key, wherever it is kept. What is just being made is not kept either.
    fn invalidate(&self, key: &PlanKey) -> impl Future<Output = InvalidationReport> + Send;

    /// Forgets all plans whose names begin so, and what is just being made of them.
    fn invalidate_prefix(&self, prefix: &str) -> impl Future<Output = InvalidationReport> + Send;

    /// Brings plans into memory before they are asked for, the first of the keys first, until memory is full.
    fn warm(&self, keys: &[PlanKey]) -> impl Future<Output = Warmed> + Send;

    /// What was counted of these plans; `None` if none was asked for or kept.
    fn stats(&self) -> Option<Figures>;
}

/// A plan as it is given.
#[derive(Debug, Clone)]
pub struct Given {
    /// The plan.
    pub plan: ExecutionPlan,
    /// Where it came from.
    pub origin: Origin,
    /// What making it took, now or when it was made.
    pub cost: Duration,
    /// Whether it is kept.
    pub kept: Kept,
}

impl Given {
    /// Whether it was kept, so that nothing was made.
    pub fn was_kept(&self) -> bool {
        matches!(self.origin, Origin::Kept(_))
    }
}

/// Plans that an engine keeps, in memory and in its tiers.
#[derive(Debug, Clone)]
pub struct KeptPlans {
    larder: Larder,
    plans: Kind<Checked>,
}

impl KeptPlans {
    /// Plans that are kept in `larder` under `scope`.
    pub fn new(larder: &Larder, scope: &Scope) -> Self {
        let options = KindOptions { weigh: Some(|plan: &Checked| plan.0.weight()), ..KindOptions::default() };
        let plans = larder.kind(scope, "ansible.kept", FORMAT, options).expect("the name is well formed");
        Self { larder: larder.clone(), plans }
    }

    fn key(&self, key: &PlanKey) -> Key {
        self.plans.key(&key.0).expect("checked when the key was made")
    }

    fn all(&self) -> Selector {
        Selector::all().in_scope(self.plans.scope()).of_kind_version(self.plans.name())
    }
}

impl Plans for KeptPlans {
    async fn get_plan(&self, key: &PlanKey) -> Option<ExecutionPlan> {
        self.plans.get(&self.key(key)).await.map(|packed| packed.plan())
    }

    async fn store_plan(&self, key: &PlanKey, plan: &ExecutionPlan, cost: Duration) -> Kept {
        self.plans.put(&self.key(key), Checked(Packed::new(plan)), cost).await
    }

    async fn get_or_compute<E, F, M>(&self, key: &PlanKey, make: M) -> Result<Given, AskError<E>>
    where
        E: std::error::Error + Send + Sync + 'static,
        F: Future<Output = Result<ExecutionPlan, E>> + Send + 'static,
        M: FnOnce() -> F + Send + 'static,
    {
        let make = || async { make().await.map(|plan| Computed::new(Checked(Packed::new(&plan)))) };
        let Answer { entry, origin, kept, .. } = self.plans.get_or_compute(&self.key(key), make).await?;
        Ok(Given { plan: entry.value.plan(), origin, cost: entry.record.cost, kept })
    }

    async fn invalidate(&self, key: &PlanKey) -> InvalidationReport {
        self.larder.invalidate(&Selector::key(&self.key(key))).await
    }

    async fn invalidate_prefix(&self, prefix: &str) -> InvalidationReport {
        self.larder.invalidate(&self.all().with_prefix(prefix)).await
    }

    async fn warm(&self, keys: &[PlanKey]) -> Warmed {
        let first = i32::try_from(keys.len()).unwrap_or(i32::MAX);
        self.plans.warm(keys.iter().map(|key| self.key(key)).zip((0..first).rev())).await
    }

    fn stats(&self) -> Option<Figures> {
        let (scope, kind) = (self.plans.scope().to_string(), self.plans.name().to_string());
        let series = self.larder.stats().report().series;
        series.into_iter().find(|one| one.scope == scope && one.kind == kind).map(|one| one.figures)
    }
}

/// A plan's bytes, which are known to be those of a plan.
#[derive(Debug)]
struct Checked(Packed);

impl Checked {
    fn plan(&self) -> ExecutionPlan {
        let plan = self.0.plan().expect("read once before it was taken in");
        Arc::unwrap_or_clone(plan)
    }
}

impl Serialize for Checked {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Checked {
    /// What does not read back as a plan is none, and to the engine a miss.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let packed = Packed::deserialize(deserializer)?;
        packed.plan().map_err(D::Error::custom)?;
        Ok(Self(packed))
    }
}
