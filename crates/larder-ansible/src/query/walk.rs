//! Walking through lists of tasks: blocks opened, imports replaced by what they import, and what is inherited
//! handed down.
//!
//! Not here: entering roles (`enter`), parts of the play (`compile`).

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use larder::engine::{Context, Entry};

use super::Options;
use super::document::{located, problem};
use super::source::TaskFile;
use crate::compiled::{CompiledTask, Phase, RoleRun, Section};
use crate::fault::Way;
use crate::place::{join, parent};
use crate::plain::{Mapping, Plain};
use crate::playbook::{Action, ActionKind, Block, Item, Keywords, Task};
use crate::problem::Problem;
use crate::template::{self, Rank, Variables};

/// How many tasks a play may come to.
const TASK_LIMIT: usize = 1_000_000;

/// A file, and the way to something in it.
pub(super) type At<'a> = (&'a str, Way<'a>);

type Walking<'f> = Pin<Box<dyn Future<Output = Result<(), Problem>> + Send + 'f>>;

/// What walking through one play needs and finds.
pub(super) struct Walk<'a> {
    pub(super) cx: &'a Context,
    pub(super) options: &'a Options,
    pub(super) playbook_dir: &'a str,
    pub(super) collections: &'a [String],
    pub(super) runs: Vec<RoleRun>,
    /// What tells a run of a role from another, by its number.
    pub(super) identities: Vec<Vec<u8>>,
    pub(super) handlers: Vec<CompiledTask>,
    /// Variables that roles show to all of the play.
    pub(super) public: Vec<(Rank, Arc<Mapping>)>,
    /// Those of roles that are not all entered yet.
    pub(super) unpublished: Vec<(Rank, Arc<Mapping>)>,
    /// Files and roles on the way to the one that is walked through, outermost first.
    pub(super) active: Vec<String>,
    blocks: u32,
    tasks: usize,
}

/// What a list of tasks inherits from where it stands.
#[derive(Debug, Clone)]
pub(super) struct Surroundings {
    pub(super) tags: Vec<String>,
    pub(super) when: Vec<String>,
    pub(super) settings: Mapping,
    notify: Vec<String>,
    pub(super) variables: Variables,
    pub(super) vars: Mapping,
    pub(super) phase: Phase,
    pub(super) is_handlers: bool,
    /// The run of the role that it is in.
    pub(super) role: Option<usize>,
    pub(super) role_path: Option<String>,
    /// The role and the roles that it is a dependency of, for how roles are looked for.
    pub(super) role_collections: Vec<String>,
    /// Directories of the imports around it, innermost last, as they were written.
    pub(super) includes: Vec<String>,
    blocks: Vec<(u32, Section)>,
}

impl Surroundings {
    pub(super) fn of_play(tags: Vec<String>, settings: Mapping, variables: Variables) -> Self {
        Self {
            tags,
            when: Vec::new(),
            settings,
            notify: Vec::new(),
            variables,
            vars: Mapping::default(),
            phase: Phase::Tasks,
            is_handlers: false,
            role: None,
            role_path: None,
            role_collections: Vec::new(),
            includes: Vec::new(),
            blocks: Vec::new(),
        }
    }

    pub(super) fn in_phase(&self, phase: Phase) -> Self {
        Self { phase, ..self.clone() }
    }

    pub(super) fn for_handlers(&self) -> Self {
        Self { is_handlers: true, ..self.clone() }
    }

    pub(super) fn with_when(&self, when: &[String]) -> Self {
        let mut surroundings = self.clone();
        surroundings.when.extend(when.iter().cloned());
        surroundings
    }

    fn in_block(&self, number: u32, section: Section) -> Self {
        let mut surroundings = self.clone();
        surroundings.blocks.push((number, section));
        surroundings
    }

    /// What something with these keywords hands on.
    pub(super) fn within(&self, keywords: &Keywords, notify: &[String]) -> Self {
        let mut inner = self.clone();
        inner.tags.extend(keywords.tags.iter().cloned());
        for condition in &keywords.when {
            // An import with a condition hands it to its file and to each task in it: once is enough.
            if inner.when.last() != Some(condition) {
                inner.when.push(condition.clone());
            }
        }
        for (key, value) in keywords.settings.iter() {
            let value = match key {
                "environment" | "module_defaults" => appended(inner.settings.get(key), value),
                _ => value.clone(),
            };
            inner.settings.set(key, value);
        }
        if !notify.is_empty() {
            inner.notify = notify.to_vec();
        }
        inner.variables = inner.variables.with(Rank::Task, &keywords.vars);
        inner.vars.update(&keywords.vars);
        inner
    }
}

/// Keywords that add up instead of replacing each other.
fn appended(outer: Option<&Plain>, own: &Plain) -> Plain {
    let list = |value: &Plain| match value {
        Plain::List(items) => items.clone(),
        single => vec![single.clone()],
    };
    match outer {
        Some(outer) => Plain::List([list(outer), list(own)].concat()),
        None => own.clone(),
    }
}

impl<'a> Walk<'a> {
    pub(super) fn new(
        cx: &'a Context,
        options: &'a Options,
        playbook_dir: &'a str,
        collections: &'a [String],
    ) -> Self {
        Self {
            cx,
            options,
            playbook_dir,
            collections,
            runs: Vec::new(),
            identities: Vec::new(),
            handlers: Vec::new(),
            public: Vec::new(),
            unpublished: Vec::new(),
            active: Vec::new(),
            blocks: 0,
            tasks: 0,
        }
    }

    /// From now on all of the play sees the variables of the roles that were entered.
    pub(super) fn publish(&mut self) {
        self.public.append(&mut self.unpublished);
    }

    /// What a part of the play that comes later sees.
    pub(super) fn with_public(&self, mut surroundings: Surroundings) -> Surroundings {
        for (rank, layer) in &self.public {
            surroundings.variables.add(*rank, Arc::clone(layer));
        }
        surroundings
    }

    /// The roles that were run, and their handlers.
    pub(super) fn into_roles(self) -> (Vec<RoleRun>, Vec<CompiledTask>) {
        (self.runs, self.handlers)
    }

    /// Walks through a list of tasks.
    pub(super) fn items<'f>(
        &'f mut self,
        items: &'f [Item],
        surroundings: &'f Surroundings,
        at: At<'f>,
        out: &'f mut Vec<CompiledTask>,
    ) -> Walking<'f> {
        Box::pin(async move {
            for (n, item) in items.iter().enumerate() {
                let (file, way) = at;
                let at = (file, way.index(n));
                match item {
                    Item::Block(block) => self.block(block, surroundings, at, out).await?,
                    Item::Task(task) => self.task(task, surroundings, at, out).await?,
                }
            }
            Ok(())
        })
    }

    async fn block(
        &mut self,
        block: &Block,
        surroundings: &Surroundings,
        (file, way): At<'_>,
        out: &mut Vec<CompiledTask>,
    ) -> Result<(), Problem> {
        let inner = surroundings.within(&block.keywords, &block.notify);
        self.blocks += 1;
        let number = self.blocks;
        for (key, section, items) in [
            ("block", Section::Block, &block.block),
            ("rescue", Section::Rescue, &block.rescue),
            ("always", Section::Always, &block.always),
        ] {
            self.items(items, &inner.in_block(number, section), (file, way.key(key)), out).await?;
        }
        Ok(())
    }

    async fn task(
        &mut self,
        task: &Task,
        surroundings: &Surroundings,
        at: At<'_>,
        out: &mut Vec<CompiledTask>,
    ) -> Result<(), Problem> {
        let inner = surroundings.within(&task.keywords, &task.notify);
        match &task.action.kind {
            ActionKind::ImportTasks(file) => self.import_tasks(file, inner, at, out).await,
            ActionKind::ImportRole(_) | ActionKind::IncludeRole(_) if surroundings.is_handlers => {
                let message = format!("`{}` can't be a handler", task.action.module);
                Err(located(self.cx, at.0, at.1.fault(message)).await)
            }
            ActionKind::ImportRole(call) => self.import_role(call, inner, at, out).await,
            _ => {
                let compiled = self.compiled(task, inner, at).await?;
                out.push(compiled);
                Ok(())
            }
        }
    }

    async fn compiled(
        &mut self,
        task: &Task,
        inner: Surroundings,
        at: At<'_>,
    ) -> Result<CompiledTask, Problem> {
        self.tasks += 1;
        if self.tasks > TASK_LIMIT {
            let message = format!("the play comes to more than {TASK_LIMIT} tasks");
            return Err(located(self.cx, at.0, at.1.fault(message)).await);
        }
        let Action { module, args, kind } = &task.action;
        let tags = self.tags(&inner, at).await?;
        Ok(CompiledTask {
            name: task.name.clone(),
            module: module.clone(),
            args: args.clone(),
            role: inner.role,
            phase: inner.phase,
            blocks: inner.blocks,
            tags,
            when: inner.when,
            looped: task.looped.clone(),
            notify: inner.notify,
            listen: task.listen.clone(),
            register: task.register.clone(),
            vars: inner.vars,
            settings: inner.settings,
            own: task.own.clone(),
            includes_role: matches!(kind, ActionKind::IncludeRole(_)),
        })
    }

    /// Tags with their templates evaluated, sorted, each once.
    async fn tags(&self, inner: &Surroundings, (file, way): At<'_>) -> Result<Vec<String>, Problem> {
        let mut tags = Vec::with_capacity(inner.tags.len());
        for tag in &inner.tags {
            if !template::is_template(tag) {
                tags.push(tag.clone());
                continue;
            }
            match template::evaluate(tag, &inner.variables) {
                Ok(Plain::List(several)) => tags.extend(several.iter().map(Plain::shown)),
                Ok(tag) => tags.push(tag.shown()),
                Err(unknown) => {
                    let fault = way.key("tags").fault(format!("the tag {tag:?} can't be told: {unknown}"));
                    return Err(located(self.cx, file, fault).await);
                }
            }
        }
        tags.sort_unstable();
        tags.dedup();
        Ok(tags)
    }

    async fn import_tasks(
        &mut self,
        written: &str,
        mut inner: Surroundings,
        (file, way): At<'_>,
        out: &mut Vec<CompiledTask>,
    ) -> Result<(), Problem> {
        let target = match template::text(written, &inner.variables) {
            Ok(target) => target,
            Err(unknown) => {
                let fault = way
                    .fault(format!("the file {written:?} can't be told: {unknown}"))
                    .remedy("`include_tasks` may depend on hosts and on what ran before");
                return Err(located(self.cx, file, fault).await);
            }
        };
        let Some((path, items)) = self.find_tasks(&target, &inner).await? else {
            let fault = way.fault(format!("the file {target} could not be found"));
            return Err(located(self.cx, file, fault).await);
        };
        if self.active.contains(&path) {
            let circle = self.active.iter().skip_while(|active| **active != path);
            let circle: Vec<&str> = circle.map(String::as_str).chain([&*path]).collect();
            let fault = way.fault(format!("files import each other in a circle: {}", circle.join(" -> ")));
            return Err(located(self.cx, file, fault).await);
        }
        inner.includes.push(parent(&target).to_owned());
        self.active.push(path.clone());
        let items = items.as_deref().unwrap_or_default();
        self.items(items, &inner, (&path, Way::ROOT), out).await?;
        self.active.pop();
        Ok(())
    }

    /// The file that an import names. Looks where Ansible looks: relative to the imports around it, innermost
    /// first, then in the role or beside the playbook.
    async fn find_tasks(
        &self,
        target: &str,
        inner: &Surroundings,
    ) -> Result<Option<(String, Arc<Entry<Option<Vec<Item>>>>)>, Problem> {
        let part = if inner.is_handlers { "handlers" } else { "tasks" };
        let mut candidates = Vec::new();
        let mut cumulative = String::new();
        for directory in inner.includes.iter().rev() {
            cumulative = match directory.strip_prefix('/') {
                Some(_) => directory.clone(),
                None if cumulative.is_empty() => directory.clone(),
                None => format!("{directory}/{cumulative}"),
            };
            match &inner.role_path {
                Some(role) => {
                    candidates.push(join(role, &format!("{part}/{cumulative}/{part}/{target}")));
                    candidates.push(join(role, &format!("{part}/{cumulative}/{target}")));
                    candidates.push(join(role, &format!("{cumulative}/{target}")));
                }
                None => candidates.push(join(self.playbook_dir, &format!("{cumulative}/{target}"))),
            }
        }
        if let Some(role) = &inner.role_path {
            candidates.push(join(role, &format!("{part}/{target}")));
            candidates.push(join(role, &format!("tasks/{target}")));
            candidates.push(join(role, target));
            candidates.push(join(self.playbook_dir, &format!("{part}/{target}")));
        }
        candidates.push(join(self.playbook_dir, target));
        for path in candidates.into_iter().flatten() {
            let query = TaskFile { path: path.clone(), is_handlers: inner.is_handlers };
            let found = self.cx.get(query).await.map_err(problem)?;
            if found.is_some() {
                return Ok(Some((path, found)));
            }
        }
        Ok(None)
    }
}
