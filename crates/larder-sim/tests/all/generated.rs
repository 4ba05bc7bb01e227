//! Promises about replays, on a small trace that is the same each time.

use std::collections::HashMap;
use std::num::NonZero;

use larder::policy::PolicyName;
use larder_sim::ours::{Bare, Tier};
use larder_sim::reference::{Belady, Counting, ExactGdsf};
use larder_sim::replay::{Cache, Outcome, Tally, replay};
use larder_sim::trace::{Builder, Request, Trace, lognormal};

fn tally(trace: &Trace, mut cache: impl Cache) -> Tally {
    replay(trace, &lognormal(trace.keys, 2.0), &mut cache)
}

/// Stores everything, and makes who came first or was used longest ago leave: the obvious way.
struct Naive {
    /// Oldest first.
    order: Vec<Request>,
    capacity: u64,
    on_hit: fn(&mut Vec<Request>, usize),
}

impl Cache for Naive {
    fn request(&mut self, request: Request, _: u64) -> Outcome {
        if let Some(at) = self.order.iter().position(|one| one.key == request.key) {
            (self.on_hit)(&mut self.order, at);
            return Outcome::Hit;
        }
        self.order.push(request);
        while self.order.iter().map(|one| u64::from(one.size)).sum::<u64>() > self.capacity {
            self.order.remove(0);
        }
        Outcome::Miss
    }
}

#[test]
fn fifo_and_lru_replay_as_plain_lists_do() {
    let trace = Trace::generated(5_000, 1);
    for capacity in [100, 700, 3_000] {
        let naive = |on_hit| tally(&trace, Naive { order: Vec::new(), capacity, on_hit });
        let fifo = naive(|_, _| {});
        let lru = naive(|order, at| {
            let one = order.remove(at);
            order.push(one);
        });
        assert_eq!(tally(&trace, Bare::named(PolicyName::Fifo, capacity, trace.keys)), fifo);
        assert_eq!(tally(&trace, Bare::named(PolicyName::Lru, capacity, trace.keys)), lru);
    }
}

#[test]
fn nobody_misses_less_often_than_who_knows_the_future() {
    let mut builder = Builder::default();
    Trace::generated(20_000, 2).requests.iter().for_each(|one| builder.request(one.key.into(), 1));
    let trace = builder.finish("uniform");
    for capacity in [10, 50, 200] {
        let best = tally(&trace, Belady::new(&trace, capacity)).misses;
        for name in PolicyName::ALL {
            let misses = tally(&trace, Bare::named(name, capacity, trace.keys)).misses;
            assert!(misses >= best, "{name} at {capacity}: {misses} against {best}");
        }
    }
}

#[test]
fn belady_misses_as_often_as_a_search_through_all_next_uses_says() {
    let trace = Trace::generated(1_000, 3);
    let (capacity, next_uses) = (400, trace.next_uses());
    let (mut here, mut misses) = (HashMap::new(), 0);
    for (at, request) in trace.requests.iter().enumerate() {
        misses += u64::from(!here.contains_key(&request.key));
        let size = here.remove(&request.key).map_or(u64::from(request.size), |(_, size)| size);
        while here.values().map(|&(_, size)| size).sum::<u64>() + size > capacity {
            let (&last, _) = here.iter().max_by_key(|&(&key, &(next, _))| (next, key)).unwrap();
            here.remove(&last);
        }
        here.insert(request.key, (next_uses[at], size));
    }
    assert_eq!(tally(&trace, Belady::new(&trace, capacity)).misses, misses);
}

#[test]
fn the_cost_policy_saves_what_exact_gdsf_saves_and_more_than_who_does_not_know_costs() {
    let trace = Trace::generated(50_000, 4);
    let capacity = trace.capacity(0.01);
    let exact = tally(&trace, ExactGdsf::new(Counting::Cost, capacity, trace.keys)).saved_percent();
    let saved = |name| tally(&trace, Bare::named(name, capacity, trace.keys)).saved_percent();
    let cost = saved(PolicyName::Cost);
    assert!((cost - exact).abs() < 1.0, "{cost} against {exact}");
    for name in [PolicyName::Lru, PolicyName::Fifo, PolicyName::S3Fifo, PolicyName::Size] {
        assert!(saved(name) < cost - 1.0, "{name} saves {} against {cost}", saved(name));
    }
}

#[test]
fn the_tier_cut_into_shards_does_about_what_its_policy_does_alone() {
    let trace = Trace::generated(50_000, 5);
    let capacity = trace.capacity(0.1);
    for name in PolicyName::ALL {
        let bare = tally(&trace, Bare::named(name, capacity, trace.keys)).hit_percent();
        let tier = tally(&trace, Tier::new(name, capacity, NonZero::new(4).unwrap())).hit_percent();
        assert!((bare - tier).abs() < 2.0, "{name}: {tier} in shards against {bare}");
    }
}
