//! Tasks, handlers and blocks.
//!
//! Not here: what a task does (`action`), in which order they come (`query`).

use serde::{Deserialize, Serialize};

use super::action::{Action, ActionKind};
use super::fields::{Fields, is_variable_name};
use super::keywords::{BLOCK, CONDITIONAL, INCLUDE, LOOKUPS, LOOP_CONTROL, TASK};
use super::{Expression, Keywords};
use crate::fault::{Fault, Way};
use crate::plain::{Mapping, Plain};

/// Something in a list of tasks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Item {
    /// A task or handler.
    Task(Box<Task>),
    /// Tasks that share keywords, or that rescue each other.
    Block(Box<Block>),
}

/// A task or handler.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// Its name, templates and all.
    pub name: Option<Expression>,
    /// What it does.
    pub action: Action,
    /// What everything in a playbook may say.
    pub keywords: Keywords,
    /// What it is done for each of.
    pub looped: Option<Loop>,
    /// Handlers that a change notifies.
    pub notify: Vec<Expression>,
    /// What it is also notified as, if it is a handler.
    pub listen: Vec<Expression>,
    /// The variable that its result becomes.
    pub register: Option<String>,
    /// Its other keywords, such as `until` and `changed_when`.
    pub own: Mapping,
}

/// What a task is done for each of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Loop {
    /// The lookup of `with_…`; `None` for `loop`.
    pub with: Option<String>,
    /// The items, or the expression that gives them.
    pub over: Plain,
}

/// Tasks that share keywords, or that rescue each other.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Block {
    /// Its name.
    pub name: Option<Expression>,
    /// What everything in a playbook may say.
    pub keywords: Keywords,
    /// Handlers that a change in it notifies.
    pub notify: Vec<Expression>,
    /// Its tasks.
    pub block: Vec<Item>,
    /// What is done when one of them fails.
    pub rescue: Vec<Item>,
    /// What is done in any case.
    pub always: Vec<Item>,
}

/// Reads a list of tasks or handlers.
pub(crate) fn items(value: &Plain, way: &Way<'_>, is_handler: bool) -> Result<Vec<Item>, Fault> {
    let items = match value {
        Plain::Null => &[][..],
        Plain::List(items) => items,
        other => return Err(way.fault(format!("tasks must be a list, not {}", other.described()))),
    };
    items.iter().enumerate().map(|(n, item)| Item::read(item, &way.index(n), is_handler)).collect()
}

impl Item {
    fn read(value: &Plain, way: &Way<'_>, is_handler: bool) -> Result<Self, Fault> {
        let is_block = value
            .as_map()
            .is_some_and(|map| ["block", "rescue", "always"].iter().any(|key| map.get(key).is_some()));
        if is_block {
            Block::read(value, way, is_handler).map(|block| Self::Block(Box::new(block)))
        } else {
            Task::read(value, way, is_handler).map(|task| Self::Task(Box::new(task)))
        }
    }
}

impl Block {
    fn read(value: &Plain, way: &Way<'_>, is_handler: bool) -> Result<Self, Fault> {
        let fields = Fields::new(value, way, "block")?;
        fields.check_keys(&[CONDITIONAL, BLOCK])?;
        let list = |key: &str| match fields.get(key) {
            Some(value) => items(value, &way.key(key), is_handler),
            None => Ok(Vec::new()),
        };
        let block = Self {
            name: fields.text("name")?,
            keywords: fields.keywords()?,
            notify: fields.texts("notify")?,
            block: list("block")?,
            rescue: list("rescue")?,
            always: list("always")?,
        };
        for (key, items) in [("rescue", &block.rescue), ("always", &block.always)] {
            if !items.is_empty() && block.block.is_empty() {
                return Err(way.fault_of_key(key, format!("`{key}` needs a `block` with tasks")));
            }
        }
        Ok(block)
    }
}

impl Task {
    fn read(value: &Plain, way: &Way<'_>, is_handler: bool) -> Result<Self, Fault> {
        let fields = Fields::new(value, way, if is_handler { "handler" } else { "task" })?;
        let (action, local) = Action::read(&fields, is_handler)?;
        let mut keywords = fields.keywords()?;
        if let Some(host) = local {
            keywords.settings.set("delegate_to", Plain::text(host));
        }
        let register = fields.text("register")?;
        if let Some(name) = register.as_deref().filter(|name| !is_variable_name(name)) {
            return Err(way.key("register").fault(format!("{name:?} is not a name of a variable")));
        }
        let task = Self {
            name: fields.text("name")?,
            looped: read_loop(&fields)?,
            notify: fields.texts("notify")?,
            listen: fields.texts("listen")?,
            register,
            own: own(&fields),
            action,
            keywords,
        };
        task.check_include(&fields)?;
        Ok(task)
    }

    /// What Ansible does not take beside an include or an import.
    fn check_include(&self, fields: &Fields<'_>) -> Result<(), Fault> {
        let module = &self.action.module;
        match &self.action.kind {
            ActionKind::Module => Ok(()),
            ActionKind::IncludeTasks(_) | ActionKind::IncludeRole(_) => {
                let is_known =
                    |key: &str| INCLUDE.contains(&key) || key.starts_with("with_") || key == module;
                match fields.map.iter().map(|(key, _)| key).find(|key| !is_known(key)) {
                    Some(key) => Err(fields
                        .way
                        .fault_of_key(key, format!("`{key}` has no meaning for `{module}`"))
                        .remedy("put it under `apply` to have the included tasks inherit it")),
                    None => Ok(()),
                }
            }
            ActionKind::ImportTasks(_) | ActionKind::ImportRole(_) if self.looped.is_some() => {
                let message = format!("`{module}` happens before anything runs and can't be looped");
                let dynamic = module.replace("import_", "include_");
                Err(fields.way.fault(message).remedy(format!("use `{dynamic}` instead")))
            }
            ActionKind::ImportTasks(_) | ActionKind::ImportRole(_) => Ok(()),
        }
    }
}

/// Keywords of a task that nothing inherits and that planning does not look into.
fn own(fields: &Fields<'_>) -> Mapping {
    const TYPED: &[&str] = &["action", "args", "local_action", "loop", "notify", "register"];
    let is_own = |key: &str| TASK.contains(&key) && !TYPED.contains(&key);
    let entries = fields.map.iter().filter(|(key, _)| is_own(key));
    entries.map(|(key, value)| (key.into(), value.clone())).collect()
}

fn read_loop(fields: &Fields<'_>) -> Result<Option<Loop>, Fault> {
    if let Some(control) = fields.get("loop_control") {
        let way = fields.way.key("loop_control");
        let control = Fields::new(control, &way, "loop_control")?;
        if let Some((key, _)) = control.map.iter().find(|(key, _)| !LOOP_CONTROL.contains(key)) {
            let message = format!("`{key}` is not a keyword of loop_control");
            return Err(way.fault_of_key(key, message).suggest(key, LOOP_CONTROL.iter().copied()));
        }
    }
    let mut found =
        fields.get("loop").filter(|over| !over.is_null()).map(|over| Loop { with: None, over: over.clone() });
    for (key, over) in fields.map.iter() {
        let Some(lookup) = key.strip_prefix("with_") else { continue };
        if !LOOKUPS.contains(&lookup) && !lookup.contains('.') {
            return Err(fields
                .way
                .fault_of_key(key, format!("no lookup is named `{lookup}`"))
                .suggest(lookup, LOOKUPS.iter().copied()));
        }
        if found.is_some() {
            return Err(fields.way.fault_of_key(key, "a task has one loop"));
        }
        if over.is_null() {
            return Err(fields.way.fault_of_key(key, format!("`{key}` has nothing to loop over")));
        }
        found = Some(Loop { with: Some(lookup.to_owned()), over: over.clone() });
    }
    Ok(found)
}
