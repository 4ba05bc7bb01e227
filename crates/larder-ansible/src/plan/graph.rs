//! What depends on what within a play.
//!
//! The order of the playbook is kept wherever something may follow from it. Two tasks are left independent only if
//! all that both of them touch is known: paths that their arguments name, variables, packages, accounts. A module
//! that is not known, a command, a service, anything that a failure ends or that is delegated, comes after all
//! before it and before all after it, and so does a package: it brings files, accounts and services.
//!
//! Invariant: dependencies point backwards: from a task to earlier ones, from a handler to tasks and earlier
//! handlers. Their number grows with that of the tasks, not with its square.
//! Not here: what modules are known (`module`).

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::module::{self, Nature};
use super::{Because, Dependency};
use crate::compiled::{CompiledPlay, CompiledTask, RoleRun, Section};
use crate::plain::{Mapping, Plain};
use crate::template;

/// Handlers notify each other in a circle; their names, the first again at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Circle(pub(crate) Vec<String>);

/// What each task, and after them each handler, depends on.
pub(crate) fn dependencies(
    tasks: &[&CompiledTask],
    handlers: &[&CompiledTask],
    roles: &[RoleRun],
) -> Result<Vec<Vec<Dependency>>, Circle> {
    let mut order = Order::default();
    for (id, task) in tasks.iter().enumerate() {
        order.add(id, task);
    }
    let mut all = order.done;
    all.extend(of_handlers(tasks, handlers, roles)?);
    Ok(all)
}

/// Stages: a task is in the first one after all that it depends on. Handlers come after all tasks.
pub(crate) fn stages(dependencies: &[Vec<Dependency>], tasks: usize) -> Vec<usize> {
    let mut stages: Vec<usize> = Vec::with_capacity(dependencies.len());
    let mut first_of_handlers = 0;
    for (id, on) in dependencies.iter().enumerate() {
        let after = on.iter().map(|dependency| stages[dependency.on] + 1).max().unwrap_or(0);
        let stage = if id < tasks { after } else { after.max(first_of_handlers) };
        if id < tasks {
            first_of_handlers = first_of_handlers.max(stage + 1);
        }
        stages.push(stage);
    }
    stages
}

/// What was done so far, as far as what comes may depend on it.
#[derive(Default)]
struct Order {
    done: Vec<Vec<Dependency>>,
    /// The last task that may have done anything, and those since.
    barrier: Option<usize>,
    since: Vec<usize>,
    /// Who set a variable last, and who used it since.
    set: HashMap<String, usize>,
    used: HashMap<String, Vec<usize>>,
    /// Who wrote a path last, and who read it since.
    written: BTreeMap<String, usize>,
    read: BTreeMap<String, Vec<usize>>,
    accounts: Option<usize>,
    /// The last task in each block that handles failures.
    blocks: HashMap<u32, usize>,
}

impl Order {
    fn add(&mut self, id: usize, task: &CompiledTask) {
        let mut on = BTreeSet::new();
        let mut depend = |other: Option<usize>, because| {
            on.extend(other.map(|on| Dependency { on, because }));
        };
        let nature = nature(task);
        if nature == Nature::Any {
            for &other in &self.since {
                depend(Some(other), Because::Order);
            }
        }
        if self.since.is_empty() || nature != Nature::Any {
            depend(self.barrier, Because::Order);
        }
        match nature {
            Nature::Accounts => depend(self.accounts.replace(id), Because::Resource),
            // Owners and groups of files are accounts.
            Nature::Files => depend(self.accounts, Because::Resource),
            Nature::Pure | Nature::Any => {}
        }
        for (number, _) in &task.blocks {
            depend(self.blocks.insert(*number, id), Because::Block);
        }
        self.variables(id, task, &mut on);
        self.paths(id, task, nature, &mut on);
        if nature == Nature::Any {
            // Whatever comes depends on this, and through it on all that was before.
            let blocks = std::mem::take(&mut self.blocks);
            let done = std::mem::take(&mut self.done);
            *self = Self { barrier: Some(id), blocks, done, ..Self::default() };
        } else {
            self.since.push(id);
        }
        self.done.push(first_reason(on));
    }

    fn variables(&mut self, id: usize, task: &CompiledTask, on: &mut BTreeSet<Dependency>) {
        let because = Because::Variable;
        for name in names_used(task) {
            if let Some(&setter) = self.set.get(&name) {
                on.insert(Dependency { on: setter, because });
            }
            self.used.entry(name).or_default().push(id);
        }
        for name in names_set(task) {
            // It may set a variable twice, as its fact and as its result.
            let setter = self.set.insert(name.clone(), id).filter(|&setter| setter != id);
            on.extend(setter.map(|setter| Dependency { on: setter, because }));
            let users = self.used.remove(&name).unwrap_or_default();
            on.extend(users.into_iter().filter(|&user| user != id).map(|on| Dependency { on, because }));
        }
    }

    fn paths(&mut self, id: usize, task: &CompiledTask, nature: Nature, on: &mut BTreeSet<Dependency>) {
        if nature != Nature::Files {
            return;
        }
        let because = Because::Path;
        for (path, writes) in paths_of(task) {
            let related = |known: &String| is_related(known, &path);
            // Only what lies on the way to the path or below it can be related.
            let below = self.written.range(path.clone()..).take_while(|(known, _)| known.starts_with(&path));
            let above = ancestors(&path).filter_map(|above| self.written.get_key_value(above));
            on.extend(
                below
                    .chain(above)
                    .filter(|(known, _)| related(known))
                    .map(|(_, &on)| Dependency { on, because }),
            );
            if writes {
                let below = self.read.range(path.clone()..).take_while(|(known, _)| known.starts_with(&path));
                let above = ancestors(&path).filter_map(|above| self.read.get_key_value(above));
                let readers = below.chain(above).filter(|(known, _)| related(known)).flat_map(|(_, ids)| ids);
                on.extend(readers.filter(|&&reader| reader != id).map(|&on| Dependency { on, because }));
                self.written.insert(path, id);
            } else {
                self.read.entry(path).or_default().push(id);
            }
        }
        on.retain(|dependency| dependency.on != id);
    }
}

/// One dependency on each task, with the most telling of its reasons, which is the first.
fn first_reason(on: BTreeSet<Dependency>) -> Vec<Dependency> {
    let mut kept: Vec<Dependency> = Vec::with_capacity(on.len());
    for dependency in on {
        if kept.last().is_none_or(|last| last.on != dependency.on) {
            kept.push(dependency);
        }
    }
    kept
}

/// What a task may touch. With a delegate, arguments that are not written down, or a failure that is decided by an
/// expression, its module does not tell all.
fn nature(task: &CompiledTask) -> Nature {
    let is_set = |key: &str| task.settings.get(key).is_some_and(|value| !value.is_null());
    let is_elsewhere = is_set("delegate_to") || is_set("module_defaults");
    let decides = ["failed_when", "until", "async"].iter().any(|key| task.own.get(key).is_some());
    let is_hidden = task.args.get("_variable_params").is_some();
    let paths = || paths_of(task);
    match module::known(&task.module).nature {
        _ if is_elsewhere || decides || is_hidden => Nature::Any,
        Nature::Files
            if paths().is_empty() || paths().iter().any(|(path, _)| template::is_template(path)) =>
        {
            Nature::Any
        }
        nature => nature,
    }
}

/// Paths that a task's arguments name, and whether it writes them. Where an argument may name a path on the
/// controller, it counts as one of the host all the same: one dependency too many does no harm.
fn paths_of(task: &CompiledTask) -> Vec<(String, bool)> {
    const WRITTEN: &[&str] = &["dest", "path", "name", "destfile", "creates"];
    const READ: &[&str] = &["src", "chdir", "validate"];
    let mut paths = Vec::new();
    for (keys, writes) in [(WRITTEN, true), (READ, false)] {
        for key in keys {
            if let Some(path) = task.args.get(key).and_then(Plain::as_str) {
                let normal = path.trim_end_matches('/');
                paths.push((if normal.is_empty() { "/" } else { normal }.to_owned(), writes));
            }
        }
    }
    paths
}

fn is_related(a: &str, b: &str) -> bool {
    let (short, long) = if a.len() <= b.len() { (a, b) } else { (b, a) };
    long.strip_prefix(short).is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || short == "/")
}

/// The directories that a path is in.
fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    let root = path.starts_with('/').then_some("/");
    path.match_indices('/').filter(|(at, _)| *at > 0).map(|(at, _)| &path[..at]).chain(root)
}

/// Variables that a task sets for those after it.
fn names_set(task: &CompiledTask) -> Vec<String> {
    let mut names: Vec<String> = task.register.iter().cloned().collect();
    if crate::playbook::short_module(&task.module) == "set_fact" {
        names.extend(task.args.iter().map(|(name, _)| name.to_owned()).filter(|name| name != "cacheable"));
    }
    names
}

/// Words in all that a task says that may be variables.
fn names_used(task: &CompiledTask) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut words = |text: &str| {
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        names.extend(text.split(|c| !word(c)).filter(|word| !word.is_empty()).map(str::to_owned));
    };
    // Conditions are expressions as a whole, and so are `debug: var=…` and the like: all text is looked through.
    for condition in &task.when {
        words(condition);
    }
    for text in task.name.iter().chain(&task.notify) {
        words(text);
    }
    for mapping in [&task.args, &task.own, &task.vars, &task.settings] {
        in_mapping(mapping, &mut words);
    }
    if let Some(looped) = &task.looped {
        in_value(&looped.over, &mut words);
    }
    names
}

fn in_mapping(mapping: &Mapping, words: &mut dyn FnMut(&str)) {
    for (_, value) in mapping.iter() {
        in_value(value, words);
    }
}

fn in_value(value: &Plain, words: &mut dyn FnMut(&str)) {
    match value {
        Plain::String(text) => words(text),
        Plain::List(items) => items.iter().for_each(|item| in_value(item, words)),
        Plain::Map(entries) => in_mapping(entries, words),
        _ => {}
    }
}

/// A handler depends on what notifies it, and on the handler before it, as they run in their order.
fn of_handlers(
    tasks: &[&CompiledTask],
    handlers: &[&CompiledTask],
    roles: &[RoleRun],
) -> Result<Vec<Vec<Dependency>>, Circle> {
    let names: Vec<BTreeSet<String>> = handlers.iter().map(|handler| notified_as(handler, roles)).collect();
    let mut by_name: HashMap<&str, Vec<usize>> = HashMap::new();
    for (n, names) in names.iter().enumerate() {
        for name in names {
            by_name.entry(name).or_default().push(n);
        }
    }
    let of = |task: &CompiledTask| -> BTreeSet<usize> {
        // What a template notifies is not known: it may be any.
        if task.notify.iter().any(|name| template::is_template(name)) {
            return (0..handlers.len()).collect();
        }
        task.notify.iter().filter_map(|name| by_name.get(name.as_str())).flatten().copied().collect()
    };
    let mut on: Vec<BTreeSet<Dependency>> = vec![BTreeSet::new(); handlers.len()];
    for (id, task) in tasks.iter().enumerate() {
        for handler in of(task) {
            on[handler].insert(Dependency { on: id, because: Because::Notify });
        }
    }
    let literal = |task: &CompiledTask| !task.notify.iter().any(|name| template::is_template(name));
    let notified: Vec<BTreeSet<usize>> =
        handlers.iter().map(|handler| if literal(handler) { of(handler) } else { BTreeSet::new() }).collect();
    if let Some(circle) = circle(&notified) {
        return Err(Circle(circle.into_iter().map(|n| handlers[n].label(roles)).collect()));
    }
    for (n, others) in notified.iter().enumerate() {
        for &other in others.iter().filter(|&&other| other > n) {
            on[other].insert(Dependency { on: tasks.len() + n, because: Because::Notify });
        }
    }
    for (n, on) in on.iter_mut().enumerate().skip(1) {
        on.insert(Dependency { on: tasks.len() + n - 1, because: Because::Order });
    }
    Ok(on.into_iter().map(first_reason).collect())
}

/// What a handler can be notified as.
fn notified_as(handler: &CompiledTask, roles: &[RoleRun]) -> BTreeSet<String> {
    let mut names: BTreeSet<String> = handler.name.iter().chain(&handler.listen).cloned().collect();
    if let Some(role) = handler.role.and_then(|role| roles.get(role)) {
        let in_role: Vec<String> = names.iter().map(|name| format!("{} : {name}", role.name)).collect();
        names.extend(in_role);
    }
    names
}

/// A way along the edges that comes back to where it began; nodes are numbered.
fn circle(edges: &[BTreeSet<usize>]) -> Option<Vec<usize>> {
    let mut finished = vec![false; edges.len()];
    for start in 0..edges.len() {
        let mut path = vec![start];
        let mut open = vec![edges[start].iter()];
        while let Some(next) = open.last_mut() {
            match next.next() {
                Some(&node) if finished[node] => {}
                Some(&node) => {
                    if let Some(at) = path.iter().position(|&on| on == node) {
                        return Some(path[at..].iter().copied().chain([node]).collect());
                    }
                    path.push(node);
                    open.push(edges[node].iter());
                }
                None => {
                    open.pop();
                    finished[path.pop().expect("as long as what is open")] = true;
                }
            }
        }
    }
    None
}

/// The numbers of blocks that handle failures.
pub(super) fn rescued(play: &CompiledPlay) -> BTreeSet<u32> {
    let all = play.tasks.iter().chain(&play.handlers).flat_map(|task| &task.blocks);
    all.filter(|(_, section)| *section != Section::Block).map(|(number, _)| *number).collect()
}

/// The innermost part of a block that a task is in.
pub(crate) fn section(task: &CompiledTask) -> Section {
    let parts = task.blocks.iter().rev().map(|(_, section)| *section);
    parts.into_iter().find(|section| *section != Section::Block).unwrap_or(Section::Block)
}
