//! Check mode and diff mode: what `--check` and `--diff`, and the keywords `check_mode` and `diff`, make of a task.
//!
//! A keyword wins over the option, as the innermost of several does. One that is a template over facts is not known
//! before the play runs: the task is then taken to do what it says.
//! Not here: what modules do in check mode (`module`).

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Effect, module};
use crate::compiled::CompiledTask;
use crate::plain::{Mapping, Plain};
use crate::template::{self, Rank, Variables};

/// The modes in which a playbook is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Modes {
    /// `--check`: nothing is changed, and what would be is predicted.
    pub check: bool,
    /// `--diff`: what is changed is shown.
    pub diff: bool,
}

impl Modes {
    /// The variables by which a playbook knows its modes. They win over all others.
    pub(crate) fn variables(self) -> Mapping {
        let variables = [("ansible_check_mode", self.check), ("ansible_diff_mode", self.diff)];
        variables.into_iter().map(|(name, value)| (name.into(), Plain::Bool(value))).collect()
    }

    pub(super) fn effect(self, task: &CompiledTask) -> Effect {
        let known = self.known();
        if task.when.iter().any(|condition| template::condition(condition, &known) == Some(false)) {
            return Effect::Never;
        }
        match constant(task.settings.get("check_mode"), self.check, &known) {
            Some(true) => module::in_check_mode(&task.module, &task.args),
            Some(false) | None => Effect::Applies,
        }
    }

    pub(super) fn shows_changes(self, task: &CompiledTask, effect: Effect) -> bool {
        if !matches!(effect, Effect::Applies | Effect::Predicts) || !module::shows_changes(&task.module) {
            return false;
        }
        let known = self.known();
        let is_secret = constant(task.settings.get("no_log"), false, &known) == Some(true);
        !is_secret && constant(task.settings.get("diff"), self.diff, &known).unwrap_or(self.diff)
    }

    fn known(self) -> Variables {
        let mut known = Variables::default();
        known.add(Rank::Magic, Arc::new(self.variables()));
        known
    }
}

/// The truth of a keyword; `None` if it is not known before the play runs.
fn constant(keyword: Option<&Plain>, otherwise: bool, known: &Variables) -> Option<bool> {
    match keyword {
        None | Some(Plain::Null) => Some(otherwise),
        Some(Plain::String(text)) => template::evaluate(text, known).ok()?.truth(),
        Some(value) => value.truth(),
    }
}
