//! Entering roles: found, its dependencies first, then its own tasks.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use super::document::{located, problem};
use super::role::{FindRole, FoundRole, Role, RoleSource};
use super::walk::{At, Surroundings, Walk};
use crate::compiled::{CompiledTask, RoleRun};
use crate::fault::Way;
use crate::place::{absolute, parent};
use crate::plain::{Mapping, Plain};
use crate::playbook::{Keywords, RoleCall, RoleReference};
use crate::problem::Problem;
use crate::template::{self, Rank};

type Entering<'f> = Pin<Box<dyn Future<Output = Result<(), Problem>> + Send + 'f>>;

/// How a role is entered.
struct Entrance {
    from: Mapping,
    params: Mapping,
    keywords: Keywords,
    is_included: bool,
    is_public: bool,
    validate: bool,
    allow_duplicates: Option<bool>,
}

impl Walk<'_> {
    /// A role of `roles:` or of a role's dependencies.
    pub(super) fn role<'f>(
        &'f mut self,
        reference: &'f RoleReference,
        surroundings: &'f Surroundings,
        at: At<'f>,
        out: &'f mut Vec<CompiledTask>,
    ) -> Entering<'f> {
        Box::pin(async move {
            let found = self.find_role(&reference.role, surroundings, at).await?;
            let entrance = Entrance {
                from: Mapping::default(),
                params: reference.params.clone(),
                keywords: reference.keywords.clone(),
                is_included: false,
                is_public: true,
                validate: true,
                allow_duplicates: None,
            };
            self.enter(found, entrance, surroundings, at, out).await
        })
    }

    /// A role of `import_role`. What stands at the task is in the surroundings already.
    pub(super) async fn import_role(
        &mut self,
        call: &RoleCall,
        surroundings: Surroundings,
        at: At<'_>,
        out: &mut Vec<CompiledTask>,
    ) -> Result<(), Problem> {
        let found = self.find_role(&call.name, &surroundings, at).await?;
        let mut from = Mapping::default();
        for (part, file) in call.from.iter() {
            let file = match template::text(&file.shown(), &surroundings.variables) {
                Ok(file) => file,
                Err(unknown) => {
                    let fault = at.1.fault(format!("`{part}_from` can't be told: {unknown}"));
                    return Err(located(self.cx, at.0, fault).await);
                }
            };
            from.set(part, Plain::text(file));
        }
        let entrance = Entrance {
            from,
            params: Mapping::default(),
            keywords: Keywords::default(),
            is_included: true,
            is_public: call.public.unwrap_or(true),
            validate: call.validate,
            allow_duplicates: Some(call.allow_duplicates),
        };
        let before = self.unpublished.len();
        self.enter(found, entrance, &surroundings, at, out).await?;
        // What follows in the play sees it at once.
        let published = self.unpublished.split_off(before);
        self.public.extend(published);
        Ok(())
    }

    async fn find_role(
        &self,
        written: &str,
        surroundings: &Surroundings,
        (file, way): At<'_>,
    ) -> Result<FoundRole, Problem> {
        let name = match template::text(written, &surroundings.variables) {
            Ok(name) => name,
            Err(unknown) => {
                let fault = way.fault(format!("the role {written:?} can't be told: {unknown}"));
                return Err(located(self.cx, file, fault).await);
            }
        };
        let mut collections = surroundings.role_collections.clone();
        collections.extend(self.collections.iter().cloned());
        let query = FindRole {
            name: name.clone(),
            playbook_dir: self.playbook_dir.to_owned(),
            beside: surroundings.role_path.as_deref().map(|path| parent(path).to_owned()),
            collections,
            options: self.options.clone(),
        };
        let searched = query.searched();
        let found = self.cx.get(query).await.map_err(problem)?;
        match &found.value {
            Some(found) => Ok(found.clone()),
            None => {
                let shown = |path: &String| if path.is_empty() { ".".to_owned() } else { path.clone() };
                let mut searched: Vec<String> = searched.iter().map(shown).collect();
                searched.dedup();
                let fault = way
                    .fault(format!("the role '{name}' was not found"))
                    .remedy(format!("it was looked for in {}", searched.join(", ")));
                Err(located(self.cx, file, fault).await)
            }
        }
    }

    async fn enter(
        &mut self,
        found: FoundRole,
        entrance: Entrance,
        surroundings: &Surroundings,
        (file, way): At<'_>,
        out: &mut Vec<CompiledTask>,
    ) -> Result<(), Problem> {
        let FoundRole { path, name, collection } = found;
        let key = format!("role {path} {}", entrance.from.get("tasks").map(Plain::shown).unwrap_or_default());
        if self.active.contains(&key) {
            let roles = self.active.iter().skip_while(|active| **active != key);
            let roles = roles.chain([&key]).filter_map(|active| active.strip_prefix("role "));
            let circle: Vec<&str> = roles.map(|role| crate::place::base(role.trim_end())).collect();
            let fault = way.fault(format!("roles depend on each other in a circle: {}", circle.join(" -> ")));
            return Err(located(self.cx, file, fault).await);
        }
        let query = RoleSource { path: path.clone(), from: entrance.from.clone() };
        let source = match self.cx.get(query).await.map_err(problem) {
            Ok(source) => source,
            // A file that the call names and the role lacks is the caller's mistake.
            Err(problem) if problem.file().is_none() => {
                return Err(located(self.cx, file, way.fault(problem.message())).await);
            }
            Err(problem) => return Err(problem),
        };
        let source = &source.value;
        self.active.push(key);

        let full_name = collection.iter().map(String::as_str).chain([&*name]).collect::<Vec<_>>().join(".");
        let mut inner = surroundings.within(&entrance.keywords, &[]);
        inner.role_path = Some(path.clone());
        inner.includes = Vec::new();
        inner.role_collections = collection.iter().chain(&source.meta.collections).cloned().collect();
        inner.vars.update(&entrance.params);
        inner.variables.add(Rank::Magic, Arc::new(magic(&full_name, &path)));

        self.dependencies(source, &inner, out).await?;
        self.add_variables(source, &entrance, &mut inner);
        let run = self.run(full_name, path, source, &entrance);
        inner.role = Some(run);

        self.own_tasks(source, &entrance, &inner, out).await?;
        self.active.pop();
        Ok(())
    }

    /// Dependencies come first, and inherit what the role says.
    async fn dependencies(
        &mut self,
        source: &Role,
        inner: &Surroundings,
        out: &mut Vec<CompiledTask>,
    ) -> Result<(), Problem> {
        let root = Way::ROOT;
        let way = root.key("dependencies");
        for (n, dependency) in source.meta.dependencies.iter().enumerate() {
            self.role(dependency, inner, (&source.meta_file, way.index(n)), out).await?;
        }
        Ok(())
    }

    fn add_variables(&mut self, source: &Role, entrance: &Entrance, inner: &mut Surroundings) {
        // Those of dependencies are seen by the role that has them.
        for (rank, layer) in &self.unpublished {
            inner.variables.add(*rank, Arc::clone(layer));
        }
        let layers = [
            (Rank::Defaults, Arc::new(source.defaults.clone())),
            (Rank::Role, Arc::new(source.vars.clone())),
        ];
        for (rank, layer) in &layers {
            inner.variables.add(*rank, Arc::clone(layer));
        }
        inner.variables = inner.variables.with(Rank::Task, &entrance.params);
        if entrance.is_public {
            self.unpublished.extend(layers);
        }
    }

    /// Notes that the role is run, and whether an earlier run does the same.
    fn run(&mut self, name: String, path: String, source: &Role, entrance: &Entrance) -> usize {
        let Entrance { from, params, keywords, is_included, .. } = entrance;
        let parts = (&path, params, &keywords.when, &keywords.tags, from, &keywords.vars, is_included);
        let identity = postcard::to_stdvec(&parts).expect("plain values encode");
        let repeats = self.identities.iter().position(|known| *known == identity);
        self.identities.push(identity);
        let allow_duplicates = entrance.allow_duplicates.unwrap_or(source.meta.allow_duplicates);
        self.runs.push(RoleRun { name, path, repeats, allow_duplicates });
        self.runs.len() - 1
    }

    async fn own_tasks(
        &mut self,
        source: &Role,
        entrance: &Entrance,
        inner: &Surroundings,
        out: &mut Vec<CompiledTask>,
    ) -> Result<(), Problem> {
        let tasks = inner.clone();
        if entrance.validate {
            out.extend(validation(source, entrance, &tasks, &self.runs));
        }
        self.items(&source.tasks, &tasks, (&source.tasks_file, Way::ROOT), out).await?;
        let mut handlers = Vec::new();
        let surroundings = inner.for_handlers();
        self.items(&source.handlers, &surroundings, (&source.handlers_file, Way::ROOT), &mut handlers)
            .await?;
        self.handlers.extend(handlers);
        Ok(())
    }
}

/// What templates in a role know of it.
fn magic(name: &str, path: &str) -> Mapping {
    [("role_name", name.to_owned()), ("role_path", absolute(path))]
        .into_iter()
        .map(|(key, value)| (key.into(), Plain::text(value)))
        .collect()
}

/// The task that checks a role's arguments, if the role specifies them.
fn validation(
    source: &Role,
    entrance: &Entrance,
    inner: &Surroundings,
    runs: &[RoleRun],
) -> Option<CompiledTask> {
    let entry = entrance.from.get("tasks").map_or_else(|| "main".to_owned(), Plain::shown);
    let spec = source.meta.argument_specs.get(&entry)?.as_map().filter(|spec| !spec.is_empty())?;
    let mut name = format!("Validating arguments against arg spec '{entry}'");
    if let Some(description) = spec.get("short_description") {
        name = format!("{name} - {}", description.shown());
    }
    let options = spec.get("options").cloned().unwrap_or_default();
    let run = inner.role.and_then(|role| runs.get(role))?;
    let context =
        [("type", "role"), ("name", &run.name), ("argument_spec_name", &entry), ("path", &run.path)];
    let context = context.into_iter().map(|(key, value)| (key.into(), Plain::text(value))).collect();
    let args = [
        ("argument_spec", options),
        ("provided_arguments", Plain::Map(entrance.params.clone())),
        ("validate_args_context", Plain::Map(context)),
    ];
    let mut tags = inner.tags.clone();
    tags.push("always".to_owned());
    tags.sort_unstable();
    tags.dedup();
    Some(CompiledTask {
        name: Some(name),
        module: "ansible.builtin.validate_argument_spec".to_owned(),
        args: args.into_iter().map(|(key, value)| (key.into(), value)).collect(),
        role: inner.role,
        phase: inner.phase,
        blocks: Vec::new(),
        tags,
        when: inner.when.clone(),
        looped: None,
        notify: Vec::new(),
        listen: Vec::new(),
        register: None,
        vars: inner.vars.clone(),
        settings: inner.settings.clone(),
        own: Mapping::default(),
        includes_role: false,
    })
}
