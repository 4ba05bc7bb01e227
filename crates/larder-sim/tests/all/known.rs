//! Misses that independent simulators count for a public trace, `cloudPhysicsIO`, weighed in bytes.
//!
//! `LARDER_TRACES` names a folder that has it; without, there is nothing to compare with.

use std::path::Path;

use larder::policy::PolicyName;
use larder_sim::formats;
use larder_sim::ours::Bare;
use larder_sim::reference::{Belady, Counting, ExactGdsf};
use larder_sim::replay::{Cache, replay};
use larder_sim::trace::Trace;

/// For capacities of 128 MiB to 1 GiB in steps of 128 MiB.
const FIFO: [u64; 8] = [93403, 89386, 84387, 84025, 72498, 72228, 72182, 72140];
const LRU: [u64; 8] = [93374, 89783, 83572, 81722, 72494, 72104, 71972, 71704];
const S3_FIFO: [u64; 8] = [89307, 82387, 77041, 76791, 71300, 70343, 70455, 70355];
const GDSF: [u64; 8] = [89068, 84750, 74853, 70488, 67919, 64180, 61029, 58721];
const BELADY: [u64; 8] = [79256, 70724, 65481, 61594, 59645, 57599, 50873, 48974];

fn trace() -> Option<Trace> {
    let folder = std::env::var_os("LARDER_TRACES")?;
    let path = Path::new(&folder).join("cloudPhysicsIO.oracleGeneral.bin");
    Some(formats::read(&path).expect("the folder has it").expect("its name tells its format"))
}

fn misses<C: Cache>(trace: &Trace, make: impl Fn(u64) -> C) -> Vec<u64> {
    let costs = vec![1_000_000; trace.keys];
    (1..=8).map(|step| replay(trace, &costs, &mut make(step * (128 << 20))).misses).collect()
}

#[test]
fn the_exact_policies_miss_as_often_as_is_known() {
    let Some(trace) = trace() else { return };
    let of = |name| misses(&trace, |capacity| Bare::named(name, capacity, trace.keys));
    assert_eq!(of(PolicyName::Fifo), FIFO);
    assert_eq!(of(PolicyName::Lru), LRU);
}

#[test]
fn the_references_miss_as_often_as_is_known() {
    let Some(trace) = trace() else { return };
    assert_eq!(misses(&trace, |capacity| Belady::new(&trace, capacity)), BELADY);
    assert_eq!(misses(&trace, |capacity| ExactGdsf::new(Counting::Uses, capacity, trace.keys)), GDSF);
}

#[test]
fn s3_fifo_misses_about_as_often_as_is_known() {
    let Some(trace) = trace() else { return };
    let of = misses(&trace, |capacity| Bare::named(PolicyName::S3Fifo, capacity, trace.keys));
    for (ours, known) in of.into_iter().zip(S3_FIFO) {
        // Within a few: whether a queue may exceed its share by one entry is a detail.
        assert!(ours.abs_diff(known) <= 5, "{ours} is not about {known}");
    }
}
