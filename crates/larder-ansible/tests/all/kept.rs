//! Plans under names: what is made and what is not, who shares a making, what is forgotten, what a restart leaves.

use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use larder::clock::Clock;
use larder::config::{Machine, Mode, Settings};
use larder::engine::{Kept, Larder, NotKept, Opened, Origin};
use larder::key::{Digest, Scope};
use larder::stats::Place;
use larder_ansible::inventory::Source;
use larder_ansible::kept::{Given, KeptPlans, PlanKey, Plans};
use larder_ansible::plan::ExecutionPlan;
use larder_ansible::planner::Planner;
use larder_ansible::query::PlanRequest;
use tempfile::TempDir;

use crate::lab::wait;

/// An engine on a disk, opened anew as another process would.
struct Lab {
    disk: TempDir,
    opened: Opened,
    plans: KeptPlans,
    made: Arc<AtomicUsize>,
}

fn open(dir: &Path, change: impl FnOnce(&mut Settings)) -> Opened {
    let mut settings = Settings::new(dir.to_owned());
    change(&mut settings);
    Larder::open(&settings, &Machine::probe(Path::new("/")), Clock::system(), "test")
}

fn scope() -> Scope {
    Scope::new("test").unwrap()
}

fn key(name: &str, inputs: &str) -> PlanKey {
    PlanKey::new(name, Digest::of(inputs.as_bytes())).unwrap()
}

/// A plan whose play is called so.
fn plan(name: &str) -> ExecutionPlan {
    let root = TempDir::new().unwrap();
    let text = format!("- name: {name}\n  hosts: all\n  tasks:\n    - {{name: look, ping: }}\n");
    std::fs::write(root.path().join("p.yml"), text).unwrap();
    let request = PlanRequest::new("p.yml", vec![Source::Hosts("a,b,".to_owned())]);
    (*wait(async { crate::lab::planner().view(root.path()).plan(&request).await }).unwrap().plan).clone()
}

impl Lab {
    fn new() -> Self {
        let disk = TempDir::new().unwrap();
        let opened = open(disk.path(), |_| {});
        let plans = KeptPlans::new(&opened.larder, &scope());
        Self { disk, opened, plans, made: Arc::default() }
    }

    fn restart(&mut self) {
        wait(self.opened.close());
        self.opened = open(self.disk.path(), |_| {});
        self.plans = KeptPlans::new(&self.opened.larder, &scope());
    }

    fn ask(&self, key: &PlanKey, plan: &ExecutionPlan) -> Given {
        let (made, plan) = (Arc::clone(&self.made), plan.clone());
        let make = || async move {
            made.fetch_add(1, Ordering::Relaxed);
            Ok::<_, Infallible>(plan)
        };
        wait(self.plans.get_or_compute(key, make)).unwrap()
    }

    fn made(&self) -> usize {
        self.made.load(Ordering::Relaxed)
    }
}

#[test]
fn a_plan_is_made_once_and_comes_back_whole_also_after_a_restart() {
    let mut lab = Lab::new();
    let (one, other) = (plan("one"), plan("other"));
    let first = lab.ask(&key("a/site.yml", "1"), &one);
    assert_eq!((first.was_kept(), &first.plan, lab.made()), (false, &one, 1));
    let again = lab.ask(&key("a/site.yml", "1"), &other);
    assert_eq!((again.origin, &again.plan, lab.made()), (Origin::Kept(Place::Memory), &one, 1));
    assert_eq!(again.cost, first.cost);
    // Other inputs are another plan.
    assert_eq!(lab.ask(&key("a/site.yml", "2"), &other).plan, other);
    lab.restart();
    let kept = lab.ask(&key("a/site.yml", "1"), &other);
    assert_eq!((kept.origin, &kept.plan, lab.made()), (Origin::Kept(Place::Disk), &one, 2));
    assert_eq!(wait(lab.plans.get_plan(&key("a/site.yml", "2"))), Some(other));
    assert_eq!(wait(lab.plans.get_plan(&key("a/site.yml", "3"))), None);
}

#[test]
fn what_is_stored_is_found_under_its_key_and_nowhere_else() {
    let lab = Lab::new();
    let one = plan("one");
    let stored = wait(lab.plans.store_plan(&key("a", "1"), &one, Duration::from_secs(3)));
    assert_eq!(stored, Kept::Yes);
    let given = lab.ask(&key("a", "1"), &plan("other"));
    assert_eq!((given.plan, given.cost, lab.made()), (one.clone(), Duration::from_secs(3), 0));
    assert_eq!(wait(lab.plans.get_plan(&key("b", "1"))), None);
    let elsewhere = KeptPlans::new(&lab.opened.larder, &Scope::new("other").unwrap());
    assert_eq!(wait(elsewhere.get_plan(&key("a", "1"))), None);

    let only_read = open(lab.disk.path(), |settings| settings.mode = Mode::Read);
    let plans = KeptPlans::new(&only_read.larder, &scope());
    let stored = wait(plans.store_plan(&key("c", "1"), &one, Duration::ZERO));
    assert_eq!(stored, Kept::No(NotKept::ReadOnly));
}

#[test]
fn a_failure_is_told_and_not_kept() {
    let lab = Lab::new();
    let failing = || async { Err(std::io::Error::other("no")) };
    assert!(wait(lab.plans.get_or_compute(&key("a", "1"), failing)).is_err());
    assert!(!lab.ask(&key("a", "1"), &plan("one")).was_kept());
}

#[test]
fn an_invalidation_forgets_what_it_names_in_memory_and_on_disk() {
    let mut lab = Lab::new();
    let one = plan("one");
    let keys = [key("a/x", "1"), key("a/x", "2"), key("a/y", "1"), key("b/x", "1")];
    for key in &keys {
        lab.ask(key, &one);
    }
    let there = |lab: &Lab| keys.each_ref().map(|key| wait(lab.plans.get_plan(key)).is_some());
    assert_eq!(wait(lab.plans.invalidate(&keys[0])).keys.len(), 1);
    assert_eq!(there(&lab), [false, true, true, true]);
    lab.restart();
    assert_eq!(there(&lab), [false, true, true, true]);
    assert_eq!(wait(lab.plans.invalidate_prefix("a/")).keys.len(), 2);
    assert_eq!(there(&lab), [false, false, false, true]);
    lab.restart();
    assert_eq!(there(&lab), [false, false, false, true]);
    assert!(wait(lab.plans.invalidate_prefix("")).failed_tiers.is_empty());
    assert_eq!(there(&lab), [false; 4]);
}

#[test]
fn plans_that_are_warmed_are_in_memory_before_they_are_asked_for() {
    let mut lab = Lab::new();
    let (one, keys) = (plan("one"), [key("a", "1"), key("b", "1"), key("c", "1")]);
    lab.ask(&keys[0], &one);
    lab.ask(&keys[1], &one);
    lab.restart();
    let warmed = wait(lab.plans.warm(&keys));
    assert_eq!((warmed.promoted, warmed.absent, warmed.present), (2, 1, 0));
    assert_eq!(lab.ask(&keys[0], &one).origin, Origin::Kept(Place::Memory));
    assert_eq!(wait(lab.plans.warm(&keys)).present, 2);
}

#[test]
fn what_was_asked_for_is_counted() {
    let lab = Lab::new();
    let (one, asked) = (plan("one"), key("a", "1"));
    assert_eq!(lab.plans.stats().map(|stats| stats.requests), None);
    wait(lab.plans.get_plan(&asked));
    lab.ask(&asked, &one);
    lab.ask(&asked, &one);
    wait(lab.plans.invalidate(&asked));
    let stats = lab.plans.stats().unwrap();
    assert_eq!((stats.requests, stats.hits, stats.misses, stats.invalidated), (3, 1, 2, 1));
}

#[test]
fn a_name_that_can_be_none_is_refused() {
    for name in ["", "a\nb", &"x".repeat(2_000)] {
        assert!(PlanKey::new(name, Digest::of(b"")).is_err(), "{name:?}");
    }
}

/// Threads that ask for the same plans at once, of names and of files, over one engine.
#[test]
fn several_at_once_share_each_making_and_a_restart_makes_nothing() {
    let mut lab = Lab::new();
    let root = TempDir::new().unwrap();
    for n in 0..4 {
        let text = format!("- name: play {n}\n  hosts: all\n  roles: [r]\n  tasks: [{{ping: }}]\n");
        std::fs::write(root.path().join(format!("p{n}.yml")), text).unwrap();
    }
    std::fs::create_dir_all(root.path().join("roles/r/tasks")).unwrap();
    std::fs::write(root.path().join("roles/r/tasks/main.yml"), "- shell: make\n").unwrap();
    for round in 0..3 {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
        let planner = Planner::new(&lab.opened.larder, &scope()).unwrap();
        let asking = (0..32).map(|n| {
            let (plans, made) = (lab.plans.clone(), Arc::clone(&lab.made));
            let (view, request) = (planner.view(root.path()), request(n % 4));
            runtime.spawn(async move {
                let make = {
                    let (view, request) = (view.clone(), request.clone());
                    || async move {
                        made.fetch_add(1, Ordering::Relaxed);
                        view.plan(&request).await.map(|planned| (*planned.plan).clone())
                    }
                };
                let key = key(&request.playbooks[0], "1");
                let given = plans.get_or_compute(&key, make).await.unwrap().plan;
                assert_eq!(given, *view.plan(&request).await.unwrap().plan);
                given
            })
        });
        let asking: Vec<_> = asking.collect();
        let given: Vec<ExecutionPlan> =
            asking.into_iter().map(|one| runtime.block_on(one).unwrap()).collect();
        for (n, plan) in given.iter().enumerate() {
            assert_eq!(plan.plays[0].name, format!("play {}", n % 4));
        }
        assert_eq!(lab.made(), 4, "in round {round}");
        runtime.block_on(lab.opened.close());
        lab.restart();
    }
}

fn request(n: usize) -> PlanRequest {
    PlanRequest::new(format!("p{n}.yml"), vec![Source::Hosts("a,b,".to_owned())])
}
