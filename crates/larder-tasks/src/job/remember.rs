//! Remembering how the files of tasks looked: several tasks in one step, beside the run, or one at once where its work is
//! done in place.
//!
//! One thread writes what waits while there is any. The place of a task that ran or was put back stays marked, and
//! its lease held, until what is remembered of it is written: whoever comes there sees a place that is in order.
//! Invariant: when [`Inner::all_remembered`] returns nothing waits that was given before.

use std::mem;
use std::sync::Arc;

use larder::tier::Brief;
use parking_lot::Mutex;
use tokio::task::JoinHandle;

use super::marker::Marker;
use super::prepare::Prepared;
use super::{Alone, Inner};
use crate::checkout::{Memory, Which};
use crate::task::Task;

/// How many tasks may wait. Each holds a lock on a file.
const MAX_WAITING: usize = 128;

/// What waits to be written.
#[derive(Default)]
pub(super) struct Unwritten(Mutex<State>);

#[derive(Default)]
struct State {
    waiting: Vec<News>,
    writes: bool,
    writer: Option<JoinHandle<()>>,
}

/// What is to be remembered of a task, and what is set free then.
struct News {
    name: String,
    memory: Memory,
    which: Which,
    marker: Option<Marker>,
    place: Place,
}

/// The place of a task's outputs, while something is remembered of the task.
pub(super) enum Place {
    /// Others may be there: what is known of its outputs is not to be remembered.
    Shared,
    /// It is this one's alone.
    Held(Alone),
    /// The same, and it is marked as being written to until then.
    Marked(Alone),
}

impl Inner {
    /// Remembers a task for this handle's next run, and for other processes. Blocks.
    pub(super) fn remember(&self, task: &Task, memory: Memory) {
        let name = super::stable_name(&self.workspace, task);
        let which = memory.news_since(self.remembered.lock().get(&name));
        self.checkout.remember([(name.as_str(), &memory, which)]);
        self.remembered.lock().insert(name, memory);
    }

    /// Remembers a task for this handle's next run at once, and for other processes soon. `place` is held until then.
    /// Blocks only if too much waits already, or where the task's work is done in place.
    pub(super) fn remember_soon(self: &Arc<Self>, prepared: &Prepared, memory: Memory, place: Place) {
        let name = super::stable_name(&self.workspace, &prepared.task);
        let before = self.remembered.lock().insert(name.clone(), memory.clone());
        let which = match (&place, memory.news_since(before.as_ref())) {
            (Place::Shared, Which::Outputs) => return,
            (Place::Shared, _) => Which::Inputs,
            (_, which) => which,
        };
        let marker = matches!(place, Place::Marked(_)).then(|| self.marker(&prepared.task)).flatten();
        let news = News { name, memory, which, marker, place };
        let mut state = self.unwritten.0.lock();
        if state.waiting.len() >= MAX_WAITING || prepared.brief == Brief::InPlace {
            drop(state);
            return self.write(vec![news]);
        }
        state.waiting.push(news);
        if !mem::replace(&mut state.writes, true) {
            let inner = Arc::clone(self);
            state.writer = Some(tokio::task::spawn_blocking(move || inner.write_all()));
        }
    }

    fn write_all(&self) {
        loop {
            let mut state = self.unwritten.0.lock();
            let news = mem::take(&mut state.waiting);
            if news.is_empty() {
                state.writes = false;
                return;
            }
            drop(state);
            self.write(news);
        }
    }

    fn write(&self, all: Vec<News>) {
        self.checkout.remember(all.iter().map(|news| (news.name.as_str(), &news.memory, news.which)));
        for News { marker, place, .. } in all {
            if let Some(marker) = marker {
                marker.clear();
            }
            if let Place::Held(alone) | Place::Marked(alone) = place {
                drop(alone);
            }
        }
    }

    /// Waits until everything is written that was to be remembered.
    pub(super) async fn all_remembered(&self) {
        let writer = self.unwritten.0.lock().writer.take();
        if let Some(writer) = writer {
            // It ends early only with the runtime.
            let _ = writer.await;
        }
    }
}
