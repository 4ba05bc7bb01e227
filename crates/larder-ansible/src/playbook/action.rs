//! What a task does: the module and its arguments, in each of the forms in which people write them.
//!
//! Follows `ansible.parsing.mod_args`.
//! Not here: the rest of the task (`task`).

use serde::{Deserialize, Serialize};

use super::Expression;
use super::fields::Fields;
use super::keywords::{BLOCK, COMMON, CONDITIONAL, FREE_FORM, MODULES, NAMED, TASK, short_module};
use super::split::{self, RAW};
use crate::fault::Fault;
use crate::plain::{Mapping, Plain};
use crate::problem::nearest;

/// A module and what it is called with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Action {
    /// The module as it is written: short or full.
    pub module: String,
    /// Its arguments. Free text is under `_raw_params`.
    pub args: Mapping,
    /// What planning has to do about it.
    pub kind: ActionKind,
}

/// What planning has to do about an action.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ActionKind {
    /// Nothing: it runs on hosts.
    Module,
    /// Nothing before it runs: `include_tasks`.
    IncludeTasks(Expression),
    /// Put the tasks of a file in its place.
    ImportTasks(Expression),
    /// Nothing before it runs: `include_role`.
    IncludeRole(RoleCall),
    /// Put the tasks of a role in its place.
    ImportRole(RoleCall),
}

/// What `include_role` and `import_role` say.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RoleCall {
    /// The role.
    pub name: Expression,
    /// Which file of `tasks`, `vars`, `defaults` and `handlers` to take instead of `main`.
    pub from: Mapping,
    /// Whether its variables are seen by what follows; `None` leaves it to the module.
    pub public: Option<bool>,
    /// Whether it runs again where it has run.
    pub allow_duplicates: bool,
    /// Whether its arguments are checked against its specification.
    pub validate: bool,
}

impl Action {
    /// Reads a task's action; also gives the host that `local_action` implies.
    pub(super) fn read(fields: &Fields<'_>, is_handler: bool) -> Result<(Self, Option<&'static str>), Fault> {
        let mut found: Option<(String, Mapping)> = None;
        let mut delegate_to = None;
        if let Some(thing) = fields.get("action") {
            found = Some(old_style(fields, "action", thing)?);
        }
        if let Some(thing) = fields.get("local_action") {
            if found.is_some() {
                return Err(fields.way.fault("`action` and `local_action` exclude each other"));
            }
            found = Some(old_style(fields, "local_action", thing)?);
            delegate_to = Some("localhost");
        }
        for key in candidates(fields, is_handler)? {
            if let Some((module, _)) = &found {
                let message = format!("a task has one module, and this one has `{module}` and `{key}`");
                return Err(fields.way.fault_of_key(key, message));
            }
            found = Some((key.to_owned(), new_style(fields, key)?));
        }
        let Some((module, args)) = found else {
            return Err(fields.way.fault("the task has no module"));
        };
        let mut merged = fields.mapping_or_template("args")?;
        merged.update(&args);
        let kind = ActionKind::of(&module, &merged, fields)?;
        Ok((Self { module, args: merged, kind }, delegate_to))
    }

    /// The module without the name of ansible-core's collection.
    pub fn short_module(&self) -> &str {
        short_module(&self.module)
    }
}

/// The keys that can only be modules. A slip of a keyword is named as such where it can be told from one.
fn candidates<'a>(fields: &Fields<'a>, is_handler: bool) -> Result<Vec<&'a str>, Fault> {
    let own: &[&[&str]] = &[CONDITIONAL, TASK];
    let is_keyword = |key: &str| {
        Fields::knows(key, own)
            || key.starts_with("with_")
            || key == "static"
            || (is_handler && key == "listen")
    };
    let unknown: Vec<&str> = fields.map.iter().map(|(key, _)| key).filter(|key| !is_keyword(key)).collect();
    let is_module = |key: &str| key.contains('.') || MODULES.contains(&key);
    let has_module = unknown.iter().any(|key| is_module(key))
        || ["action", "local_action"].iter().any(|key| fields.get(key).is_some());
    for key in &unknown {
        if is_module(key) {
            continue;
        }
        let keywords = [COMMON, NAMED, BLOCK].iter().chain(own).flat_map(|words| words.iter().copied());
        // A short name that is not ansible-core's is a module of the project or of a collection, unless there is
        // a module already, or it can be no name of one.
        let is_slip = || nearest(key, keywords.clone()).is_some_and(|near| near.len() > 3);
        if has_module || !super::fields::is_variable_name(key) || (unknown.len() > 1 && is_slip()) {
            return Err(fields.unknown(key, own));
        }
    }
    Ok(unknown)
}

fn new_style(fields: &Fields<'_>, module: &str) -> Result<Mapping, Fault> {
    match fields.get(module) {
        Some(Plain::Map(args)) => Ok(args.clone()),
        Some(Plain::String(text)) => pairs(fields, module, text, module),
        Some(Plain::Vault(_)) => {
            Ok([(RAW.into(), fields.get(module).cloned().unwrap_or_default())].into_iter().collect())
        }
        None | Some(Plain::Null) => Ok(Mapping::default()),
        // Ansible's loader has `- debug: 5` as an error too.
        Some(_) => Err(fields.wrong(module, "a mapping or a string")),
    }
}

/// `action: copy src=a dest=b`, or `action: {module: copy, src: a}`.
fn old_style(fields: &Fields<'_>, key: &str, thing: &Plain) -> Result<(String, Mapping), Fault> {
    let (text, mut args) = match thing {
        Plain::String(text) => (text.to_string(), Mapping::default()),
        Plain::Map(entries) => match entries.get("module").and_then(Plain::as_str) {
            Some(module) => {
                let rest = entries.iter().filter(|(key, _)| *key != "module");
                (module.to_owned(), rest.map(|(key, value)| (key.into(), value.clone())).collect())
            }
            None => return Err(fields.way.key(key).fault(format!("`{key}` names no module"))),
        },
        _ => return Err(fields.wrong(key, "a string or a mapping")),
    };
    let (module, rest) = split::first_word(&text).map_err(|_| unbalanced(fields, key))?;
    if module.is_empty() {
        return Err(fields.way.key(key).fault(format!("`{key}` names no module")));
    }
    args.update(&pairs(fields, key, &rest, &module)?);
    if let Some(Plain::Map(inner)) = args.get("args").cloned() {
        args = args.iter().filter(|(key, _)| *key != "args").map(|(k, v)| (k.into(), v.clone())).collect();
        args.update(&inner);
    }
    Ok((module, args))
}

fn pairs(fields: &Fields<'_>, key: &str, text: &str, module: &str) -> Result<Mapping, Fault> {
    let is_command = FREE_FORM.contains(&short_module(module))
        || module.ends_with(".win_command")
        || module.ends_with(".win_shell");
    split::pairs(text, is_command).map_err(|_| unbalanced(fields, key))
}

fn unbalanced(fields: &Fields<'_>, key: &str) -> Fault {
    fields.way.key(key).fault("a quote or a template is not closed in these arguments")
}

impl ActionKind {
    fn of(module: &str, args: &Mapping, fields: &Fields<'_>) -> Result<Self, Fault> {
        let is_core = !module.contains('.') || module != short_module(module);
        Ok(match short_module(module) {
            "include" if is_core => {
                return Err(fields
                    .way
                    .fault_of_key(module, "Ansible has no `include` any more")
                    .remedy("use `include_tasks` or `import_tasks`"));
            }
            "include_tasks" if is_core => Self::IncludeTasks(file(module, args, fields, true)?),
            "import_tasks" if is_core => Self::ImportTasks(file(module, args, fields, false)?),
            "include_role" if is_core => Self::IncludeRole(RoleCall::read(module, args, fields, true)?),
            "import_role" if is_core => Self::ImportRole(RoleCall::read(module, args, fields, false)?),
            _ => Self::Module,
        })
    }
}

/// The file of `include_tasks` and `import_tasks`.
fn file(module: &str, args: &Mapping, fields: &Fields<'_>, may_apply: bool) -> Result<Expression, Fault> {
    let known: &[&str] = if may_apply { &["file", RAW, "apply"] } else { &["file", RAW] };
    check_options(module, args, known, fields)?;
    let named = [RAW, "file"].iter().filter_map(|key| args.get(key)).find(|value| !value.is_null());
    match named {
        Some(Plain::String(text)) if !text.trim().is_empty() => Ok(text.to_string()),
        _ => Err(fields.way.fault_of_key(module, format!("`{module}` names no file"))),
    }
}

impl RoleCall {
    fn read(module: &str, args: &Mapping, fields: &Fields<'_>, may_apply: bool) -> Result<Self, Fault> {
        const FROM: &[&str] = &["tasks_from", "vars_from", "defaults_from", "handlers_from"];
        let mut known = vec!["name", "role", "public", "allow_duplicates", "rolespec_validate"];
        known.extend(FROM);
        known.extend(may_apply.then_some("apply"));
        check_options(module, args, &known, fields)?;
        let name = match args.get("name").or_else(|| args.get("role")) {
            None | Some(Plain::Null | Plain::List(_) | Plain::Map(_)) => {
                return Err(fields.way.fault_of_key(module, format!("`{module}` names no role")));
            }
            Some(name) => name.shown(),
        };
        let mut from = Mapping::default();
        for key in FROM {
            match args.get(key) {
                None => {}
                Some(Plain::String(_)) => {
                    let value = args.get(key).cloned().unwrap_or_default();
                    from.set(key.strip_suffix("_from").unwrap_or(key), value);
                }
                Some(other) => {
                    let message = format!("`{key}` must be a string, not {}", other.described());
                    return Err(fields.way.key(module).fault_of_key(key, message));
                }
            }
        }
        let flag = |key: &str| args.get(key).and_then(Plain::truth);
        Ok(Self {
            name,
            from,
            public: flag("public"),
            allow_duplicates: flag("allow_duplicates").unwrap_or(true),
            validate: flag("rolespec_validate").unwrap_or(true),
        })
    }
}

fn check_options(module: &str, args: &Mapping, known: &[&str], fields: &Fields<'_>) -> Result<(), Fault> {
    let Some((key, _)) = args.iter().find(|(key, _)| !known.contains(key)) else { return Ok(()) };
    let shown = known.iter().copied().filter(|key| *key != RAW);
    let message = format!("`{key}` is not an option of `{module}`");
    Err(fields.way.key(module).fault_of_key(key, message).suggest(key, shown))
}

impl Fields<'_> {
    /// A mapping; what is a template as a whole stays under a name that no argument has.
    fn mapping_or_template(&self, key: &str) -> Result<Mapping, Fault> {
        match self.get(key) {
            Some(text @ Plain::String(template)) if template.contains("{{") => {
                Ok([("_variable_params".into(), text.clone())].into_iter().collect())
            }
            _ => self.mapping(key),
        }
    }
}
