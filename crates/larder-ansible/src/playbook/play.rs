//! Plays, imports of playbooks, and what a playbook is made of.
//!
//! Not here: tasks (`task`), which roles there are (`query`).

use serde::{Deserialize, Serialize};

use super::fields::Fields;
use super::keywords::{CONDITIONAL, IMPORT_PLAYBOOK, PLAY, PROMPT, ROLE};
use super::task::{Item, items};
use super::{Expression, Keywords};
use crate::fault::{Fault, Way};
use crate::plain::{Mapping, Plain};

/// An entry of a playbook.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Entry {
    /// A play.
    Play(Box<Play>),
    /// Another playbook in its place.
    Import(Box<PlaybookImport>),
}

/// `import_playbook`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlaybookImport {
    /// The playbook.
    pub file: Expression,
    /// What its plays inherit.
    pub keywords: Keywords,
}

/// A play as it is written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Play {
    /// Its name.
    pub name: Option<Expression>,
    /// Patterns of hosts: a text or a list of texts, perhaps templates.
    pub hosts: Plain,
    /// What everything in a playbook may say.
    pub keywords: Keywords,
    /// Files with variables; of each inner list the first that is there counts.
    pub vars_files: Vec<Vec<Expression>>,
    /// Variables that are asked for: name and default.
    pub vars_prompt: Vec<(String, Option<Plain>)>,
    /// Its roles.
    pub roles: Vec<RoleReference>,
    /// Tasks before the roles.
    pub pre_tasks: Vec<Item>,
    /// Tasks after the roles.
    pub tasks: Vec<Item>,
    /// Tasks after the handlers of those.
    pub post_tasks: Vec<Item>,
    /// Handlers.
    pub handlers: Vec<Item>,
    /// Sizes of batches: numbers, percentages, templates.
    pub serial: Vec<Plain>,
    /// How hosts go through the tasks; `None` is Ansible's default.
    pub strategy: Option<Expression>,
    /// Which order of hosts; `None` is that of the inventory.
    pub order: Option<Expression>,
    /// `max_fail_percentage`.
    pub max_fail_percentage: Option<Plain>,
    /// `gather_facts`; `None` is yes.
    pub gather_facts: Option<Plain>,
    /// Whether handlers run although a task failed.
    pub force_handlers: bool,
}

/// A role as a play or another role asks for it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RoleReference {
    /// Which.
    pub role: Expression,
    /// What its tasks inherit.
    pub keywords: Keywords,
    /// Variables that stand beside the keywords.
    pub params: Mapping,
}

/// An entry of a playbook.
pub(crate) fn entry(value: &Plain, way: &Way<'_>) -> Result<Entry, Fault> {
    Entry::read(value, way)
}

impl Entry {
    fn read(value: &Plain, way: &Way<'_>) -> Result<Self, Fault> {
        let fields = Fields::new(value, way, "play")?;
        let imports: Vec<&str> =
            ["import_playbook", "ansible.builtin.import_playbook", "ansible.legacy.import_playbook"]
                .into_iter()
                .filter(|key| fields.get(key).is_some())
                .collect();
        match imports[..] {
            [] => Play::read(&fields).map(|play| Self::Play(Box::new(play))),
            [key] => {
                let fields = Fields { what: "playbook import", ..fields };
                fields.check_keys(&[IMPORT_PLAYBOOK, &[key]])?;
                let Some(file) = fields.text(key)? else {
                    return Err(way.fault_of_key(key, format!("`{key}` names no playbook")));
                };
                Ok(Self::Import(Box::new(PlaybookImport { file, keywords: fields.keywords()? })))
            }
            [_, key, ..] => Err(way.fault_of_key(key, "an entry imports one playbook")),
        }
    }
}

impl Play {
    fn read(fields: &Fields<'_>) -> Result<Self, Fault> {
        fields.check_keys(&[PLAY])?;
        let way = fields.way;
        let tasks = |key: &str| match fields.get(key) {
            Some(value) => items(value, &way.key(key), key == "handlers"),
            None => Ok(Vec::new()),
        };
        let mut keywords = fields.keywords()?;
        if let Some(user) = fields.get("user") {
            if fields.get("remote_user").is_some() {
                return Err(way.fault_of_key("user", "`user` and `remote_user` say the same"));
            }
            keywords.settings.set("remote_user", user.clone());
        }
        Ok(Self {
            name: fields.text("name")?,
            hosts: hosts(fields)?,
            keywords,
            vars_files: vars_files(fields)?,
            vars_prompt: vars_prompt(fields)?,
            roles: roles(fields.list("roles")?, &way.key("roles"))?,
            pre_tasks: tasks("pre_tasks")?,
            tasks: tasks("tasks")?,
            post_tasks: tasks("post_tasks")?,
            handlers: tasks("handlers")?,
            serial: match fields.get("serial") {
                None | Some(Plain::Null) => Vec::new(),
                Some(Plain::List(sizes)) => sizes.clone(),
                Some(size) => vec![size.clone()],
            },
            strategy: fields.text("strategy")?,
            order: fields.text("order")?,
            max_fail_percentage: fields.get("max_fail_percentage").filter(|value| !value.is_null()).cloned(),
            gather_facts: fields.get("gather_facts").filter(|value| !value.is_null()).cloned(),
            force_handlers: fields.get("force_handlers").and_then(Plain::truth).unwrap_or(false),
        })
    }
}

fn hosts(fields: &Fields<'_>) -> Result<Plain, Fault> {
    let way = fields.way.key("hosts");
    match fields.get("hosts") {
        None => Err(fields.way.fault("the play has no `hosts`")),
        Some(Plain::String(text)) if text.is_empty() => Err(way.fault("`hosts` is empty")),
        Some(Plain::List(items)) if items.is_empty() => Err(way.fault("`hosts` is empty")),
        Some(Plain::Null) => Err(way.fault("`hosts` is empty")),
        Some(Plain::List(items)) => match items.iter().position(|item| item.as_str().is_none()) {
            Some(n) => {
                let found = items[n].described();
                Err(way.index(n).fault(format!("a pattern of hosts must be a string, not {found}")))
            }
            None => Ok(Plain::List(items.clone())),
        },
        Some(value @ (Plain::String(_) | Plain::Vault(_))) => Ok(value.clone()),
        Some(_) => Err(fields.wrong("hosts", "a string or a list of strings")),
    }
}

fn vars_files(fields: &Fields<'_>) -> Result<Vec<Vec<Expression>>, Fault> {
    let wrong = || fields.wrong("vars_files", "a list of files");
    let text = |item: &Plain| item.as_str().map(str::to_owned).ok_or_else(wrong);
    match fields.get("vars_files") {
        None | Some(Plain::Null) => Ok(Vec::new()),
        Some(Plain::String(file)) => Ok(vec![vec![file.to_string()]]),
        Some(Plain::List(items)) => {
            let one = |item: &Plain| match item {
                Plain::List(files) => files.iter().map(text).collect(),
                file => Ok(vec![text(file)?]),
            };
            items.iter().map(one).collect()
        }
        Some(_) => Err(wrong()),
    }
}

fn vars_prompt(fields: &Fields<'_>) -> Result<Vec<(String, Option<Plain>)>, Fault> {
    let way = fields.way.key("vars_prompt");
    let mut prompts = Vec::new();
    for (n, prompt) in fields.list("vars_prompt")?.iter().enumerate() {
        let way = way.index(n);
        let prompt = Fields::new(prompt, &way, "prompt")?;
        if let Some((key, _)) = prompt.map.iter().find(|(key, _)| !PROMPT.contains(key)) {
            let message = format!("`{key}` is not a keyword of a prompt");
            return Err(way.fault_of_key(key, message).suggest(key, PROMPT.iter().copied()));
        }
        let Some(name) = prompt.text("name")? else {
            return Err(way.fault("the prompt has no `name`"));
        };
        prompts.push((name, prompt.get("default").cloned()));
    }
    Ok(prompts)
}

/// References to roles.
pub(crate) fn roles(values: &[Plain], way: &Way<'_>) -> Result<Vec<RoleReference>, Fault> {
    values.iter().enumerate().map(|(n, value)| RoleReference::read(value, &way.index(n))).collect()
}

impl RoleReference {
    fn read(value: &Plain, way: &Way<'_>) -> Result<Self, Fault> {
        if let Plain::String(_) | Plain::Integer(_) = value {
            let role = value.shown();
            if role.contains(',') {
                return Err(way.fault(format!("{role:?} is not a role")).remedy("list each role on its own"));
            }
            return Ok(Self { role, keywords: Keywords::default(), params: Mapping::default() });
        }
        let fields = Fields::new(value, way, "role")?;
        let role = match fields.get("role").or_else(|| fields.get("name")).and_then(Plain::as_str) {
            Some(role) if !role.is_empty() => role.to_owned(),
            // What ansible-galaxy reads: `src` names the role when nothing else does.
            _ => match fields.get("src").and_then(Plain::as_str) {
                Some(src) => name_of_source(src),
                None => return Err(way.fault("the role has no name").remedy("say `role: NAME`")),
            },
        };
        // Whatever is no keyword is a variable for the role.
        let is_param = |key: &str| !Fields::knows(key, &[CONDITIONAL, ROLE]);
        let params = fields.map.iter().filter(|(key, _)| is_param(key));
        Ok(Self {
            role,
            keywords: fields.keywords()?,
            params: params.map(|(key, value)| (key.into(), value.clone())).collect(),
        })
    }
}

/// `https://example.com/role.git,v1` is called `role`.
fn name_of_source(src: &str) -> String {
    let src = src.split(',').next().unwrap_or(src);
    if !src.contains("://") && !src.contains('@') {
        return src.to_owned();
    }
    let last = src.rsplit('/').next().unwrap_or(src);
    last.trim_end_matches(".tar.gz").trim_end_matches(".git").to_owned()
}
