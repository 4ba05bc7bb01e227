//! Misses that independent simulators count for a public trace, `cloudPhysicsIO`, weighed in bytes.

use std::fmt;

use larder::policy::PolicyName;

use crate::ours::Bare;
use crate::reference::{Belady, Counting, ExactGdsf};
use crate::replay::{Cache, replay};
use crate::trace::Trace;

/// The file that they were counted for.
pub const FILE: &str = "cloudPhysicsIO.oracleGeneral.bin";

/// For capacities of 128 MiB to 1 GiB in steps of 128 MiB.
type Misses = [u64; 8];

const FIFO: Misses = [93403, 89386, 84387, 84025, 72498, 72228, 72182, 72140];
const LRU: Misses = [93374, 89783, 83572, 81722, 72494, 72104, 71972, 71704];
const S3_FIFO: Misses = [89307, 82387, 77041, 76791, 71300, 70343, 70455, 70355];
const GDSF: Misses = [89068, 84750, 74853, 70488, 67919, 64180, 61029, 58721];
const BELADY: Misses = [79256, 70724, 65481, 61594, 59645, 57599, 50873, 48974];

/// How many misses of S3-FIFO are a detail: whether a queue may exceed its share by one entry.
const DETAIL: u64 = 5;

/// What a policy missed here, and what is known.
#[derive(Debug)]
pub struct Comparison {
    name: &'static str,
    ours: Misses,
    known: Misses,
    allowed: u64,
}

impl Comparison {
    /// Whether they are the same, up to details.
    pub fn is_met(&self) -> bool {
        self.ours.iter().zip(self.known).all(|(ours, known)| ours.abs_diff(known) <= self.allowed)
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, ours, known, allowed } = self;
        match (self.is_met(), allowed) {
            (true, 0) => write!(f, "{name}: as known, {ours:?}"),
            (true, _) => write!(f, "{name}: within {allowed} of what is known, {ours:?}"),
            (false, _) => write!(f, "{name}: {ours:?}, and {known:?} is known: MISSED"),
        }
    }
}

/// Compares the policies and references of which misses are known. `trace` is that of [`FILE`].
pub fn compare(trace: &Trace) -> [Comparison; 5] {
    let policy = |name| misses(trace, |capacity| Bare::named(name, capacity, trace.keys));
    let gdsf = misses(trace, |capacity| ExactGdsf::new(Counting::Uses, capacity, trace.keys));
    [
        Comparison { name: "fifo", ours: policy(PolicyName::Fifo), known: FIFO, allowed: 0 },
        Comparison { name: "lru", ours: policy(PolicyName::Lru), known: LRU, allowed: 0 },
        Comparison { name: "s3-fifo", ours: policy(PolicyName::S3Fifo), known: S3_FIFO, allowed: DETAIL },
        Comparison { name: "exact gdsf", ours: gdsf, known: GDSF, allowed: 0 },
        Comparison {
            name: "belady",
            ours: misses(trace, |capacity| Belady::new(trace, capacity)),
            known: BELADY,
            allowed: 0,
        },
    ]
}

fn misses<C: Cache>(trace: &Trace, make: impl Fn(u64) -> C) -> Misses {
    let costs = vec![1_000_000; trace.keys];
    std::array::from_fn(|step| replay(trace, &costs, &mut make((step as u64 + 1) * (128 << 20))).misses)
}
