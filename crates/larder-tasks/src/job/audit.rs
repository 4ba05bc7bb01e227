//! Re-executing a sample of hits: does a task that is kept come out the same every time?
//!
//! It happens after everything else, in order, in the clone itself, and what was kept is put back afterwards. So
//! the run and what it leaves are the same with it as without it. A stop ends the command that runs again, as any other;
//! nothing is said of it then.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use larder::key::Digest;

use super::behind::Behind;
use super::look::Ahead;
use super::perform::{Run, Unrun};
use super::prepare::Upstream;
use super::{AuditSample, Tasks};
use crate::event::{Audit, Event, How, NotRun, TaskEnd, Unkept};
use crate::execute::Exit;
use crate::graph::Graph;

impl Tasks {
    pub(super) async fn audit(
        &self,
        graph: &Graph,
        ends: &[Arc<TaskEnd>],
        sample: AuditSample,
        run: &Arc<Run>,
    ) -> Vec<Audit> {
        let mut audits = Vec::new();
        let mut behind = Behind::of(graph);
        for (at, (node, end)) in graph.nodes().iter().zip(ends).enumerate() {
            let upstream = behind.begins(at, node);
            let is_hit = matches!(end.how, How::Hit(_));
            if let Some(key) = end.key.filter(|key| is_hit && sample.has(*key))
                && !run.is_stopped()
            {
                let all = self.inner.with_omitted(&upstream, node.omitted(), &run.stopping).await;
                let differences = self.again(at, node.task(), &all, key, run).await;
                run.tell(Event::Audited { task: at }).await;
                audits.extend(differences.map(|differences| Audit { task: at, differences }));
            }
            behind.ended(&self.inner, at, node.task(), end.outputs);
        }
        audits
    }

    /// Runs a task again and says what differs from what is kept; `None` if it is not kept under that key any
    /// more, as after an edit, or if the run was stopped before it came to its end.
    async fn again(
        &self,
        at: usize,
        task: &Arc<crate::task::Task>,
        upstream: &Arc<Upstream>,
        key: Digest,
        run: &Arc<Run>,
    ) -> Option<Vec<String>> {
        let look = self.inner.look_now(at, task, &Ahead::none(Arc::clone(&run.stopping))).await;
        let prepared = Arc::new(self.inner.prepare(task, upstream, look).await);
        let keyed = prepared.keyed.as_ref().ok().filter(|keyed| keyed.key.digest() == key)?;
        let kept = self.inner.kind.get(&keyed.engine_key).await?;
        let permit = run.permit(task).await;
        let performed = self.inner.perform(at, &prepared, run, permit).await;
        // That it failed now is what is to be told; the others are run again all the same.
        run.halted.store(false, Ordering::Relaxed);
        let differences = match &performed {
            // An edit since the run: what is compared would not be the same computation.
            Err(Unrun::Outdated | Unrun::NotRun(NotRun::Stopped)) => return None,
            Err(Unrun::NotRun(not_run)) => Some(vec![not_run.to_string()]),
            Ok(performed) if performed.exit == Exit::Stopped => None,
            Ok(performed) => {
                let mut differences = Vec::new();
                if performed.exit.code() != kept.exit_code {
                    differences.push(format!(
                        "exit code {} and not {}",
                        performed.exit.code(),
                        kept.exit_code
                    ));
                }
                match &performed.result {
                    Ok((again, _)) => differences.extend(different_outputs(&kept.outputs, &again.outputs)),
                    // Nothing is kept, so that which of them differ is not known.
                    Err(Unkept::SwitchedOff | Unkept::ReadOnly) => {
                        let same = performed.outputs.is_none_or(|outputs| outputs == kept.outputs_digest);
                        differences.extend((!same).then(|| "outputs".to_owned()));
                    }
                    Err(unkept) => differences.push(unkept.to_string()),
                }
                Some(differences)
            }
        };
        self.inner.restore_after_audit(&prepared, &kept).await;
        differences
    }
}

/// Paths that are not the same in two lists sorted by path.
fn different_outputs(one: &[crate::kept::KeptOutput], other: &[crate::kept::KeptOutput]) -> Vec<String> {
    let shown = |path: &[u8]| String::from_utf8_lossy(path).into_owned();
    let by_path = |list: &[crate::kept::KeptOutput]| {
        list.iter()
            .map(|output| (output.path.clone(), output.form.clone()))
            .collect::<std::collections::BTreeMap<_, _>>()
    };
    let (one, other) = (by_path(one), by_path(other));
    let differing = one.iter().filter(|(path, form)| other.get(*path) != Some(form)).map(|(path, _)| path);
    let only_other = other.keys().filter(|path| !one.contains_key(*path));
    differing.chain(only_other).map(|path| shown(path)).collect()
}

impl AuditSample {
    /// Whether a key is in the sample.
    fn has(self, key: Digest) -> bool {
        let mixed = Digest::after(key, [(&self.seed.to_le_bytes()[..], None)]);
        mixed.table_hash() % 100 < u64::from(self.percent)
    }
}
