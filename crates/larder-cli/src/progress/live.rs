//! Live lines on a terminal: one for each command that runs.

use std::collections::BTreeMap;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

/// How many commands have a line of their own; those beyond are counted in one more line.
const MAX_LINES: usize = 12;

/// The lines at the bottom of the terminal. Gone when it is dropped.
pub(super) struct Live {
    lines: MultiProgress,
    running: BTreeMap<usize, Option<ProgressBar>>,
    more: Option<ProgressBar>,
}

impl Live {
    pub(super) fn new() -> Self {
        Self { lines: MultiProgress::new(), running: BTreeMap::new(), more: None }
    }

    pub(super) fn started(&mut self, task: usize, name: &str) {
        let shown = self.running.values().flatten().count();
        let line = (shown < MAX_LINES).then(|| {
            let style = ProgressStyle::with_template("{spinner:.cyan} {msg} {elapsed:.dim}");
            let line = ProgressBar::new_spinner().with_message(name.to_owned());
            let line = self.lines.insert(shown, line.with_style(style.expect("the template is well formed")));
            line.enable_steady_tick(Duration::from_millis(100));
            line
        });
        self.running.insert(task, line);
        self.count_the_rest();
    }

    pub(super) fn finished(&mut self, task: usize) {
        if let Some(Some(line)) = self.running.remove(&task) {
            line.finish_and_clear();
            self.lines.remove(&line);
        }
        self.count_the_rest();
    }

    fn count_the_rest(&mut self) {
        let rest = self.running.values().filter(|line| line.is_none()).count();
        if rest == 0 {
            if let Some(more) = self.more.take() {
                more.finish_and_clear();
            }
            return;
        }
        let more = self.more.get_or_insert_with(|| {
            let style = ProgressStyle::with_template("  {msg:.dim}").expect("the template is well formed");
            self.lines.add(ProgressBar::new_spinner().with_style(style))
        });
        more.set_message(format!("and {rest} more"));
    }

    /// Runs `write` with the lines out of the way.
    pub(super) fn above<T>(&self, write: impl FnOnce() -> T) -> T {
        self.lines.suspend(write)
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        // The cursor would stay hidden otherwise.
        let _ = self.lines.clear();
    }
}
