//! A task's end in words.

use larder::stats::Place;
use larder_tasks::Exit;
use larder_tasks::event::{How, NotRun, TaskEnd, Unkept};
use larder_tasks::task::WhyNever;

use crate::console::{BAD, FAINT, GOOD, WARNING, brief, counted, styled};

/// How a task ended, for counting and for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Hit,
    Ran,
    Failed,
    Group,
    NotRun,
}

impl Verdict {
    pub(super) fn of(end: &TaskEnd) -> Self {
        match &end.how {
            How::Group => Self::Group,
            // A command that could not be started failed; one that was not to be started did not.
            How::NotRun(NotRun::DependencyFailed(_) | NotRun::Stopped) => Self::NotRun,
            How::NotRun(_) => Self::Failed,
            _ if !end.is_success() => Self::Failed,
            How::Hit(_) => Self::Hit,
            How::Ran { .. } => Self::Ran,
        }
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Ran => "ran",
            Self::Failed => "failed",
            Self::Group => "group",
            Self::NotRun => "not-run",
        }
    }
}

/// The end of a line about a task; `None` if there is nothing to say.
pub(super) fn status(end: &TaskEnd, verbose: bool) -> Option<String> {
    let exit = end.exit.map_or("no exit code".to_owned(), exit_words);
    let after = brief(end.took);
    Some(match (&end.how, Verdict::of(end)) {
        (How::Group, _) => return verbose.then(|| styled(FAINT, "has no command")),
        (How::NotRun(why), Verdict::Failed) => styled(BAD, format!("failed: {why}")),
        (How::NotRun(why), _) => styled(FAINT, format!("did not run: {why}")),
        (How::Hit(hit), verdict) => {
            let mut words = styled(GOOD, "hit");
            if verdict == Verdict::Failed {
                words = styled(BAD, format!("hit with {exit}"));
            }
            if hit.from == Place::Shared {
                words += &format!(", from {}", hit.producer);
            }
            if hit.restored.written > 0 {
                words += &format!(", {} restored", counted(hit.restored.written as u64, "output", "outputs"));
            }
            if hit.restored.removed > 0 {
                words += &format!(
                    ", {} removed",
                    counted(hit.restored.removed as u64, "extra file", "extra files")
                );
            }
            format!("{words}, {} saved", brief(hit.saves))
        }
        (How::Ran { .. }, Verdict::Failed) => styled(BAD, format!("failed: {exit} after {after}")),
        (How::Ran { unkept }, _) => {
            // What is never kept by its own definition is not news, unless the definition says nothing of it.
            let is_news = |why: &&Unkept| match why {
                Unkept::Never(why) => verbose || *why == WhyNever::NothingDeclared,
                _ => true,
            };
            let reason = unkept.as_ref().filter(is_news);
            let reason = reason.map(|why| format!(", {}", styled(WARNING, format!("not kept: {why}"))));
            format!("ran in {after}{}", reason.unwrap_or_default())
        }
    })
}

/// How a command ended.
pub(crate) fn exit_words(exit: Exit) -> String {
    match exit {
        Exit::Code(code) => format!("exit code {code}"),
        Exit::Signal(signal) => format!("signal {signal}"),
        Exit::TimedOut(limit) => format!("over its limit of {}", brief(limit)),
        Exit::Stopped => "stopped".to_owned(),
    }
}
