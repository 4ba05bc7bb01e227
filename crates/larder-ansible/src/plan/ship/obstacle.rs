//! What keeps a task from being part of a program, as far as the task itself tells.
//!
//! Not here: files that it sends (`query`), how many tasks follow each other (`group`).

use std::collections::BTreeSet;

use super::WhyNot;
use crate::compiled::Section;
use crate::plain::{Mapping, Plain};
use crate::plan::{Effect, PlannedTask, PlayPlan};
use crate::playbook::short_module;
use crate::template;

/// Modules whose work a program can do on the host, from their arguments alone.
const SHIPPABLE: &[&str] = &[
    "apt",
    "assert",
    "blockinfile",
    "command",
    "copy",
    "cron",
    "debug",
    "dnf",
    "dnf5",
    "fail",
    "file",
    "find",
    "get_url",
    "getent",
    "git",
    "group",
    "hostname",
    "known_hosts",
    "lineinfile",
    "package",
    "pip",
    "replace",
    "service",
    "set_fact",
    "shell",
    "slurp",
    "stat",
    "systemd",
    "systemd_service",
    "sysvinit",
    "tempfile",
    "template",
    "unarchive",
    "user",
    "yum",
];
/// Loops over what the task itself says.
const LOOPS: &[&str] =
    &["dict", "flattened", "indexed_items", "items", "list", "nested", "sequence", "subelements", "together"];
/// Keywords by which Ansible decides something between tasks or for several hosts.
const KEYWORDS: &[&str] = &["async", "connection", "debugger", "delegate_facts", "module_defaults"];
/// Keywords that say as whom a task is done.
pub(super) const USERS: &[&str] =
    &["become", "become_exe", "become_flags", "become_method", "become_user", "port", "remote_user"];
/// Names in expressions that only the controller can answer.
const CONTROLLER: &[&str] = &[
    "ansible_play_batch",
    "ansible_play_hosts",
    "ansible_play_hosts_all",
    "groups",
    "hostvars",
    "lookup",
    "play_hosts",
    "q",
    "query",
    "vars",
];

/// Why a task can't be part of a program; `None` if it can.
pub(super) fn obstacle(task: &PlannedTask, play: &PlayPlan) -> Option<(WhyNot, String)> {
    if matches!(task.effect, Effect::Predicts | Effect::Skips) {
        return Some((WhyNot::Check, "only Ansible predicts what a task would do".to_owned()));
    }
    if !SHIPPABLE.contains(&short_module(&task.module)) {
        return Some((WhyNot::Module, format!("`{}` is no module that a program can do", task.module)));
    }
    if task.section != Section::Block || !task.blocks.is_empty() {
        return Some((WhyNot::Block, "it is in a block that handles failures".to_owned()));
    }
    concerns_hosts(task, play)
        .map(|reason| (WhyNot::Hosts, reason))
        .or_else(|| keyword(task).map(|reason| (WhyNot::Keyword, reason)))
        .or_else(|| {
            let secret = "an encrypted value is not put into a program".to_owned();
            has_secret(task).then_some((WhyNot::Secret, secret))
        })
        .or_else(|| needs_controller(task).map(|reason| (WhyNot::Expression, reason)))
}

/// Whether a task concerns more than the host that it runs on, so that hosts have to wait for each other.
pub(crate) fn crosses(task: &PlannedTask, play: &PlayPlan) -> bool {
    let is_shared = matches!(
        short_module(&task.module),
        "add_host" | "group_by" | "include_role" | "include_tasks" | "meta" | "pause" | "set_stats"
    );
    is_shared || concerns_hosts(task, play).is_some() || needs_controller(task).is_some()
}

fn concerns_hosts(task: &PlannedTask, play: &PlayPlan) -> Option<String> {
    if task.run_once {
        return Some("it runs once for all hosts".to_owned());
    }
    if task.delegate_to.is_some() {
        return Some("it is delegated".to_owned());
    }
    if play.max_fail_percentage.is_some() {
        return Some("`max_fail_percentage` counts failures after each task".to_owned());
    }
    let keyword = ["any_errors_fatal", "throttle", "run_once"].into_iter().find(|key| is_on(task, key))?;
    Some(format!("`{keyword}` concerns other hosts"))
}

/// A keyword that has a value and is not switched off.
fn is_on(task: &PlannedTask, key: &str) -> bool {
    task.settings.get(key).is_some_and(|value| !value.is_null() && value.truth() != Some(false))
}

fn keyword(task: &PlannedTask) -> Option<String> {
    if let Some(key) = KEYWORDS.iter().find(|key| is_on(task, key)) {
        return Some(format!("`{key}` is Ansible's to do"));
    }
    if task.args.get("_variable_params").is_some() {
        return Some("its arguments are not known before it runs".to_owned());
    }
    if let Some(lookup) = task.looped.as_ref().and_then(|looped| looped.with.as_deref())
        && !LOOPS.contains(&lookup)
    {
        return Some(format!("`with_{lookup}` looks things up on the controller"));
    }
    let is_open =
        |key: &&&str| task.settings.get(key).and_then(Plain::as_str).is_some_and(template::is_template);
    let key = USERS.iter().find(is_open)?;
    Some(format!("as whom it is done depends on `{key}`"))
}

fn has_secret(task: &PlannedTask) -> bool {
    fn in_value(value: &Plain) -> bool {
        match value {
            Plain::Vault(_) => true,
            Plain::List(items) => items.iter().any(in_value),
            Plain::Map(entries) => entries.iter().any(|(_, value)| in_value(value)),
            _ => false,
        }
    }
    let in_mapping = |mapping: &Mapping| mapping.iter().any(|(_, value)| in_value(value));
    [&task.args, &task.vars, &task.settings].into_iter().any(in_mapping)
        || task.looped.as_ref().is_some_and(|looped| in_value(&looped.over))
}

fn needs_controller(task: &PlannedTask) -> Option<String> {
    match names(&expressions(task)) {
        Err(text) => Some(format!("the expression {text:?} can't be read")),
        Ok(names) => of_controller(&names).map(|name| format!("`{name}` is known to the controller alone")),
    }
}

/// A name among these that only the controller can answer.
pub(crate) fn of_controller(names: &BTreeSet<String>) -> Option<&'static str> {
    CONTROLLER.iter().copied().find(|name| names.contains(*name))
}

/// All that a task says in Jinja, as templates.
pub(super) fn expressions(task: &PlannedTask) -> Vec<String> {
    let mut found = Vec::new();
    let whole = |expression: &str| format!("{{{{ {expression} }}}}");
    found.extend(task.when.iter().map(|condition| whole(condition)));
    for key in ["until", "changed_when", "failed_when"] {
        for condition in task.settings.get(key).into_iter().flat_map(listed) {
            found.extend(condition.as_str().map(whole));
        }
    }
    if matches!(short_module(&task.module), "assert") {
        let conditions = task.args.get("that").into_iter().flat_map(listed);
        found.extend(conditions.filter_map(Plain::as_str).map(whole));
    }
    if short_module(&task.module) == "debug" {
        found.extend(task.args.get("var").and_then(Plain::as_str).map(whole));
    }
    let mut add = |text: &str| {
        if template::is_template(text) {
            found.push(text.to_owned());
        }
    };
    for mapping in [&task.args, &task.vars, &task.settings] {
        mapping.iter().for_each(|(_, value)| texts(value, &mut add));
    }
    if let Some(looped) = &task.looped {
        texts(&looped.over, &mut add);
    }
    found
}

fn listed(value: &Plain) -> &[Plain] {
    value.as_list().unwrap_or(std::slice::from_ref(value))
}

fn texts(value: &Plain, add: &mut dyn FnMut(&str)) {
    match value {
        Plain::String(text) => add(text),
        Plain::List(items) => items.iter().for_each(|item| texts(item, add)),
        Plain::Map(entries) => entries.iter().for_each(|(_, value)| texts(value, add)),
        _ => {}
    }
}

/// Names that templates use and do not set themselves, or the first template that can't be read.
pub(crate) fn names(templates: &[String]) -> Result<BTreeSet<String>, String> {
    let mut names = BTreeSet::new();
    for text in templates {
        names.extend(template::names(text).ok_or_else(|| text.clone())?);
    }
    Ok(names)
}
