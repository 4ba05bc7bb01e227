//! A play compiled: the parts of it in order, each walked by [`Walk`].

use std::sync::Arc;

use larder::engine::{Context, Query};
use serde::{Deserialize, Serialize};

use super::Options;
use super::document::{document, located, problem};
use super::plays::PlayRef;
use super::source::PlaySource;
use super::walk::{Surroundings, Walk};
use crate::compiled::{CompiledPlay, Phase};
use crate::fault::Way;
use crate::place::{absolute, join, parent};
use crate::plain::{Mapping, Plain};
use crate::playbook::{Item, Play};
use crate::problem::Problem;
use crate::template::{self, Rank, Unknown, Variables};
use crate::weight::weight;

/// A play with everything static in its place.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Compile {
    pub(crate) play: PlayRef,
    pub(crate) options: Options,
}

impl Query for Compile {
    type Output = CompiledPlay;
    type Error = Problem;
    const KIND: &'static str = "ansible.compile";
    const VERSION: u32 = 3;
    const WEIGH: Option<fn(&Self::Output) -> u64> = Some(weight);
    const GROUNDED: bool = true;

    async fn compute(&self, cx: &Context) -> Result<CompiledPlay, Problem> {
        let PlayRef { path, index, .. } = &self.play;
        let source = cx.get(PlaySource { path: path.clone(), index: *index }).await.map_err(problem)?;
        let play = Compiling { cx, query: self, source: &source.value };
        play.compile().await
    }
}

struct Compiling<'a> {
    cx: &'a Context,
    query: &'a Compile,
    source: &'a Play,
}

impl Compiling<'_> {
    async fn compile(&self) -> Result<CompiledPlay, Problem> {
        let Play { keywords, .. } = self.source;
        let inherited = &self.query.play.inherited;
        let mut variables = self.variables();
        self.add_vars_files(&mut variables).await?;
        let mut play = self.header(&self.with_prompts(&variables)).await?;

        let path = &self.query.play.path;
        let mut walk = Walk::new(self.cx, &self.query.options, parent(path), &keywords.collections);
        let base = Surroundings::of_play(play.tags.clone(), keywords.settings.clone(), variables);
        let root = Way::ROOT;
        let way = root.index(self.query.play.index);

        // Variables of roles are seen by the tasks around them, so roles come first here.
        let mut roles = Vec::new();
        let surroundings = base.with_when(&inherited.when).in_phase(Phase::Roles);
        for (n, reference) in self.source.roles.iter().enumerate() {
            let roles_way = way.key("roles");
            let place = (path.as_str(), roles_way.index(n));
            walk.role(reference, &surroundings, place, &mut roles).await?;
        }
        walk.publish();
        let base = walk.with_public(base);
        let mut parts = Vec::new();
        for (key, phase, items) in [
            ("pre_tasks", Phase::PreTasks, &self.source.pre_tasks),
            ("tasks", Phase::Tasks, &self.source.tasks),
            ("post_tasks", Phase::PostTasks, &self.source.post_tasks),
        ] {
            let surroundings = base.with_when(&inherited.when).in_phase(phase);
            parts.push(self.part(&mut walk, key, items, &surroundings, &way).await?);
        }
        let handlers = base.in_phase(Phase::Tasks).for_handlers();
        let handlers = self.part(&mut walk, "handlers", &self.source.handlers, &handlers, &way).await?;

        let [pre_tasks, tasks, post_tasks] = <[_; 3]>::try_from(parts).expect("there are three parts");
        play.tasks = [pre_tasks, roles, tasks, post_tasks].concat();
        let (runs, mut all_handlers) = walk.into_roles();
        all_handlers.extend(handlers);
        (play.roles, play.handlers) = (runs, all_handlers);
        Ok(play)
    }

    async fn part(
        &self,
        walk: &mut Walk<'_>,
        key: &str,
        items: &[Item],
        surroundings: &Surroundings,
        way: &Way<'_>,
    ) -> Result<Vec<crate::compiled::CompiledTask>, Problem> {
        let mut tasks = Vec::new();
        walk.items(items, surroundings, (&self.query.play.path, way.key(key)), &mut tasks).await?;
        Ok(tasks)
    }

    /// What is known before any file with variables is read.
    fn variables(&self) -> Variables {
        let Play { keywords, .. } = self.source;
        let playbook_dir = absolute(parent(&self.query.play.path));
        let mut magic: Mapping = [("playbook_dir".into(), Plain::text(playbook_dir))].into_iter().collect();
        magic.update(&self.query.options.modes.variables());
        let mut own = self.query.play.inherited.defaults.clone();
        own.update(&keywords.vars);
        own.update(&self.query.play.inherited.vars);
        let mut variables = Variables::default();
        variables.add(Rank::Play, Arc::new(own));
        variables.add(Rank::Extra, Arc::new(self.query.options.extra_vars.clone()));
        variables.add(Rank::Magic, Arc::new(magic));
        variables
    }

    /// Nobody is asked while a plan is made: as in Ansible's listings, what the play says of itself sees the
    /// defaults, and imports don't.
    fn with_prompts(&self, variables: &Variables) -> Variables {
        let given = &self.query.options.extra_vars;
        let asked = self.source.vars_prompt.iter().filter(|(name, _)| given.get(name).is_none());
        let defaults =
            asked.map(|(name, default)| (name.as_str().into(), default.clone().unwrap_or_default()));
        variables.with(Rank::Play, &defaults.collect())
    }

    /// Of each entry the first file that is there. One whose name depends on a host, and one that is not there, is
    /// passed over as Ansible does before it knows a host.
    async fn add_vars_files(&self, variables: &mut Variables) -> Result<(), Problem> {
        let directory = parent(&self.query.play.path);
        for alternatives in &self.source.vars_files {
            'alternatives: for file in alternatives {
                let Ok(file) = template::text(file, variables) else { break };
                let candidates = [join(directory, &format!("vars/{file}")), join(directory, &file)];
                for path in candidates.into_iter().flatten() {
                    match document(self.cx, &path).await? {
                        None => continue,
                        Some(Plain::Map(entries)) => variables.add(Rank::Play, Arc::new(entries)),
                        Some(Plain::Null | Plain::Vault(_)) => {}
                        Some(other) => {
                            let message = format!("variables must be a mapping, not {}", other.described());
                            return Err(located(self.cx, &path, Way::ROOT.fault(message)).await);
                        }
                    }
                    break 'alternatives;
                }
            }
        }
        Ok(())
    }

    /// What the play says of itself.
    async fn header(&self, variables: &Variables) -> Result<CompiledPlay, Problem> {
        let Play { keywords, .. } = self.source;
        let text = |text: &Option<String>| match text {
            Some(text) => template::text(text, variables).map(Some),
            None => Ok(None),
        };
        let mut tags = Vec::new();
        for tag in keywords.tags.iter().chain(&self.query.play.inherited.tags) {
            tags.push(tag.clone());
        }
        tags.sort_unstable();
        tags.dedup();
        let constant = |value: &Plain| match value {
            Plain::String(text) => template::evaluate(text, variables),
            other => Ok(other.clone()),
        };
        let serial: Result<Vec<Plain>, Unknown> = self.source.serial.iter().map(constant).collect();
        let gather_facts = self.source.gather_facts.as_ref().map(constant).transpose();
        let max_fail = self.source.max_fail_percentage.as_ref().map(constant).transpose();
        // Both say the same when the play has no name, and `hosts` is what the user wrote.
        let hosts = self.known("hosts", hosts(&self.source.hosts, variables)).await?;
        Ok(CompiledPlay {
            name: self.known("name", template::text(&self.name(), variables)).await?,
            hosts,
            tags,
            serial: flat(self.known("serial", serial).await?),
            strategy: self
                .known("strategy", text(&self.source.strategy))
                .await?
                .unwrap_or_else(|| "linear".into()),
            order: self.known("order", text(&self.source.order)).await?,
            max_fail_percentage: self
                .known("max_fail_percentage", max_fail)
                .await?
                .as_ref()
                .and_then(percent),
            gather_facts: self
                .known("gather_facts", gather_facts)
                .await?
                .and_then(|value| value.truth())
                .unwrap_or(true),
            force_handlers: self.source.force_handlers,
            roles: Vec::new(),
            tasks: Vec::new(),
            handlers: Vec::new(),
        })
    }

    /// Without a name a play is called after its hosts, as they are written.
    fn name(&self) -> String {
        match (&self.source.name, &self.source.hosts) {
            (Some(name), _) => name.clone(),
            (None, Plain::List(items)) => items.iter().map(Plain::shown).collect::<Vec<_>>().join(","),
            (None, single) => single.shown(),
        }
    }

    /// A value, or what is wrong with the keyword that it stands under.
    async fn known<T>(&self, key: &str, value: Result<T, Unknown>) -> Result<T, Problem> {
        match value {
            Ok(value) => Ok(value),
            Err(unknown) => {
                let root = Way::ROOT;
                let play = root.index(self.query.play.index);
                let fault = play.key(key).fault(format!("`{key}` can't be told: {unknown}"));
                Err(located(self.cx, &self.query.play.path, fault).await)
            }
        }
    }
}

/// Patterns of hosts: each text a pattern, with templates evaluated, and lists within lists made flat.
fn hosts(hosts: &Plain, variables: &Variables) -> Result<Vec<String>, Unknown> {
    let items = match hosts {
        Plain::List(items) => items.as_slice(),
        single => std::slice::from_ref(single),
    };
    let mut patterns = Vec::new();
    for item in items {
        match template::evaluate(&item.shown(), variables)? {
            Plain::List(inner) => patterns.extend(inner.iter().map(Plain::shown)),
            pattern => patterns.push(pattern.shown()),
        }
    }
    Ok(patterns)
}

/// A template may give a list where one value stands.
fn flat(values: Vec<Plain>) -> Vec<Plain> {
    values
        .into_iter()
        .flat_map(|value| match value {
            Plain::List(inner) => inner,
            single => vec![single],
        })
        .collect()
}

fn percent(value: &Plain) -> Option<f64> {
    value.shown().replace('%', "").trim().parse().ok()
}
