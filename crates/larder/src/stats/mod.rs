//! What the engine did: events → counters → report; hot keys; history.
//!
//! An engine holds one [`Stats`] and resolves, once per typed handle, the [`Series`] of a scope and kind. Each
//! operation is one call on that series; a call on the memory hit path is a few plain additions to memory that
//! no other thread writes. Everything else happens when somebody asks: [`Stats::tick`], called about once a
//! second by whoever owns a timer, collects what was counted since, files it into the history and hands it to
//! the `metrics` facade; [`Stats::report`] collects and says what there is in words.
//!
//! ```text
//! Series ── collect ──> Snapshot ──┬─ merge ──> encode / decode   (several runs and processes add up)
//!  (atomics)    │      (plain data)└─ Report                      (people, JSON)
//!              └───> metrics facade                              (exporters)
//! ```
//!
//! Invariants: turning statistics off changes no answer; a number that was not measured is absent from the
//! report, never zero; merging snapshots is commutative and associative on all counters.
//!
//! Not here: `tracing` events (the engine emits them where things happen), threads, files, rules on figures.
//!
//! # A hit is counted in place
//! A shared atomic counter costs a locked instruction, about 5 ns, and much more when two threads want it. Here
//! each thread owns a stripe of each series while it lives, so that counting is an ordinary load and store. A request
//! that begins looks its stripe up once, and finds beside the counts that it will add to which hit is the next sample:
//! a hit that is none takes neither a random number nor a countdown. The rejected alternatives: a read log that is
//! drained (moka: 286 ns a hit), per-CPU counters (restartable sequences need a system call and assembly), one atomic
//! per shard (still locked).

mod count;
mod event;
mod histogram;
mod history;
mod hot;
mod publish;
mod registry;
mod report;
mod sample;
mod series;
mod snapshot;
mod stored;
mod stripe;

pub use event::{Computed, EvictionCause, Level, ParseLevelError, Place, RefusalCause, SelectorForm};
pub use history::{Point, Resolution};
pub use publish::describe;
pub use registry::{Stats, StatsOptions};
pub use report::{
    Figures, HotKeyFigure, HotKeyFigures, InvalidationFigures, Latency, Report, SeriesFigures, Sizes,
    TierFigures, TierUsage,
};
pub use series::{Request, Series};
pub use snapshot::Snapshot;
pub use stored::{StoredError, decode, encode, merge_into};
