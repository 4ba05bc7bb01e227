//! What a key covers beside the inputs: what tasks before left behind, and programs. Looked at again when the command has
//! ended, as the inputs are.
//!
//! Not here: a tool that is known by what it prints. That is asked for before a command only.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use larder::key::Digest;
use larder::source::{FileSet, Snapshot};

use super::Inner;
use super::perform::touched;
use super::prepare::{Keyed, Prepared, variable};
use crate::event::Unkept;
use crate::key::PartKind;
use crate::manifest::Tool;
use crate::program::which;
use crate::task::Task;

/// What a task before left behind.
#[derive(Debug, Clone)]
pub(super) struct LeftBehind {
    pub(super) task: Arc<Task>,
    /// Stands for its outputs; `None` where that is not known.
    pub(super) outputs: Option<Digest>,
    /// How they looked then, if that is known.
    pub(super) seen: Option<Arc<Snapshot>>,
}

/// How all of that stood before a command started.
#[derive(Default)]
pub(super) struct Beside {
    upstream: Vec<(Arc<str>, FileSet, Arc<Snapshot>)>,
    programs: Vec<Program>,
}

/// A tool, and the program that it resolves to, if there is one.
struct Program {
    name: String,
    found: Option<Found>,
}

struct Found {
    path: PathBuf,
    /// The path without links.
    leads_to: Option<PathBuf>,
    set: FileSet,
    seen: Arc<Snapshot>,
}

impl Inner {
    /// What a task left behind that has just ended, or was given back.
    pub(super) fn left_behind(&self, task: &Arc<Task>, outputs: Option<Digest>) -> LeftBehind {
        let seen = self.remembered(task).outputs.snapshot;
        let seen = seen.filter(|seen| Some(seen.fingerprint()) == outputs);
        LeftBehind { task: Arc::clone(task), outputs, seen }
    }

    /// How all of it looks before the command starts; or what is not as the key has it. Blocks.
    pub(super) fn look_beside(&self, prepared: &Prepared) -> Result<Beside, Unkept> {
        let Ok(keyed) = &prepared.keyed else { return Ok(Beside::default()) };
        let mut beside = Beside::default();
        for (name, left) in prepared.upstream.iter() {
            let Some(digest) = part(keyed, PartKind::Upstream, name) else { continue };
            let changed = || Unkept::UpstreamOther(name.to_string());
            let set = self.outputs_of(&left.task).map_err(|_| changed())?;
            let seen = match &left.seen {
                Some(seen) => Arc::clone(seen),
                None => self.scan(&set.files, None, &prepared.stopping).map_err(|_| changed())?.snapshot,
            };
            if seen.fingerprint() != digest {
                return Err(changed());
            }
            beside.upstream.push((Arc::clone(name), set.files, seen));
        }
        for tool in &prepared.task.tools {
            let Tool::Program(name) = &tool.value else { continue };
            let Some(digest) = part(keyed, PartKind::Tool, name) else { continue };
            let changed = || Unkept::ToolChanged(name.clone());
            let found = match self.resolve(prepared, name) {
                Some(path) => Some(self.find(path, digest, &prepared.stopping).ok_or_else(changed)?),
                None => None,
            };
            beside.programs.push(Program { name: name.clone(), found });
        }
        Ok(beside)
    }

    /// Looks again: the result of a run during which any of it changed belongs to no key. Blocks.
    pub(super) fn still_beside(&self, prepared: &Prepared, beside: &Beside) -> Result<(), Unkept> {
        let stands = |set: &FileSet, before: &Arc<Snapshot>| {
            self.scan(set, Some(before), &prepared.stopping)
                .is_ok_and(|now| touched(before, &now.snapshot).is_empty())
        };
        for (name, set, before) in &beside.upstream {
            if !stands(set, before) {
                return Err(prepared.unless_stopped(Unkept::UpstreamChanged(name.to_string())));
            }
        }
        for Program { name, found } in &beside.programs {
            let same = match (found, self.resolve(prepared, name)) {
                (Some(Found { path, leads_to, set, seen }), Some(now)) => {
                    *path == now && *leads_to == now.canonicalize().ok() && stands(set, seen)
                }
                (None, None) => true,
                (Some(_), None) | (None, Some(_)) => false,
            };
            if !same {
                return Err(prepared.unless_stopped(Unkept::ToolChanged(name.clone())));
            }
        }
        Ok(())
    }

    /// Looks at a program that has this content; `None` if it has another.
    fn find(&self, path: PathBuf, digest: Digest, stop: &AtomicBool) -> Option<Found> {
        let (set, seen, content) = self.look_at_program(&path, stop)?;
        (content == digest).then(|| Found { leads_to: path.canonicalize().ok(), path, set, seen })
    }

    fn resolve(&self, prepared: &Prepared, program: &str) -> Option<PathBuf> {
        let cwd = prepared.task.cwd.under(self.workspace.root());
        which(program.as_ref(), variable(&prepared.variables, "PATH"), &cwd)
    }
}

/// What a part of the key stands for, if it has one of that name.
fn part(keyed: &Keyed, kind: PartKind, name: &str) -> Option<Digest> {
    keyed.key.parts().iter().find(|part| part.kind == kind && part.name == name).map(|part| part.digest)
}
