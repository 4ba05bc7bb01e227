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
    alone: Option<Alone>,
}

impl Inner {
    /// Remembers a task for this handle's next run, and for other processes. Blocks.
    pub(super) fn remember(&self, task: &Task, memory: Memory) {
        let name = super::stable_name(&self.workspace, task);
        let which = memory.news_since(self.remembered.lock().get(&name));
        self.checkout.remember([(name.as_str(), &memory, which)]);
        self.remembered.lock().insert(name, memory);
    }

    /// Remembers a task for this handle's next run at once, and for other processes soon. `alone` is held until then,
    /// and the place unmarked. Blocks only if too much waits already, or where the task's work is done in place.
    pub(super) fn remember_soon(self: &Arc<Self>, prepared: &Prepared, memory: Memory, alone: Option<Alone>) {
        let task = &prepared.task;
        let name = super::stable_name(&self.workspace, task);
        let before = self.remembered.lock().insert(name.clone(), memory.clone());
        let which = memory.news_since(before.as_ref());
        let marker = alone.is_some().then(|| self.marker(task)).flatten();
        let news = News { name, memory, which, marker, alone };
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
        for News { marker, alone, .. } in all {
            if let Some(marker) = marker {
                marker.clear();
            }
            drop(alone);
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
