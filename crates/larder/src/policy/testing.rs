//! Runs a policy beside a naive model of it on the same random steps.

use proptest::prelude::*;

use super::{Arrival, Mark, Policy, Slot};

/// A policy written the obvious way.
pub(super) trait Model {
    fn insert(&mut self, slot: Slot, arrival: Arrival);
    fn hit(&mut self, slot: Slot);
    fn reweigh(&mut self, slot: Slot, arrival: Arrival);
    fn remove(&mut self, slot: Slot);
    fn evict(&mut self) -> Option<Slot>;
}

/// Something that happens to a cache; a number picks one of the entries that are there.
#[derive(Debug, Clone)]
pub(super) enum Step {
    Insert { key: u64, weight: u64, cost: u64 },
    Hit(usize),
    Reweigh(usize, u64),
    Remove(usize),
    Evict,
}

/// Up to 400 steps over `keys` keys.
pub(super) fn steps(keys: u64) -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0..keys, 1..20u64, 1..1000u64).prop_map(|(key, weight, cost)| Step::Insert { key, weight, cost }),
        8 => any::<usize>().prop_map(Step::Hit),
        1 => (any::<usize>(), 1..20u64).prop_map(|(n, weight)| Step::Reweigh(n, weight)),
        1 => any::<usize>().prop_map(Step::Remove),
        4 => Just(Step::Evict),
    ];
    prop::collection::vec(step, 0..400)
}

/// Takes both through `steps` and requires the same victims, and that all leave in the end.
pub(super) fn check(
    mut policy: impl Policy,
    mut model: impl Model,
    steps: &[Step],
) -> Result<(), TestCaseError> {
    let marks: Vec<Mark> = (0..64).map(|_| Mark::default()).collect();
    let mut here: Vec<(Slot, u64, u64)> = Vec::new();
    let mut free: Vec<Slot> = (0..64).rev().collect();
    for step in steps {
        match *step {
            Step::Insert { key, weight, cost } => {
                if here.iter().any(|&(_, other, _)| other == key) {
                    continue;
                }
                let slot = free.pop().expect("fewer keys than slots");
                let arrival = Arrival { hash: key, weight, cost };
                policy.insert(slot, &marks[slot as usize], arrival);
                model.insert(slot, arrival);
                here.push((slot, key, cost));
            }
            Step::Hit(n) if !here.is_empty() => {
                let (slot, hash, _) = here[n % here.len()];
                policy.hit(&marks[slot as usize], hash);
                model.hit(slot);
            }
            Step::Reweigh(n, weight) if !here.is_empty() => {
                let (slot, hash, cost) = here[n % here.len()];
                policy.reweigh(slot, Arrival { hash, weight, cost });
                model.reweigh(slot, Arrival { hash, weight, cost });
            }
            Step::Remove(n) if !here.is_empty() => {
                let at = n % here.len();
                let (slot, ..) = here.remove(at);
                policy.remove(slot);
                model.remove(slot);
                free.push(slot);
            }
            Step::Evict => {
                let victim = policy.evict(&marks);
                prop_assert_eq!(victim, model.evict());
                if let Some(slot) = victim {
                    here.retain(|&(other, ..)| other != slot);
                    free.push(slot);
                }
            }
            _ => {}
        }
    }
    for _ in 0..here.len() {
        let victim = policy.evict(&marks);
        prop_assert!(victim.is_some());
        prop_assert_eq!(victim, model.evict());
    }
    prop_assert_eq!(policy.evict(&marks), None);
    Ok(())
}
