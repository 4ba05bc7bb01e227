//! What is known of modules: what can go wrong, what they touch, how long they are assumed to take.
//!
//! A module that is not here may do anything.
//! Not here: what follows from that (`graph`).

use super::{Effect, Risk};
use crate::plain::Mapping;
use crate::playbook::short_module;

/// What a module does to the order of tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Nature {
    /// Nothing: it looks at what is there, or sets variables.
    Pure,
    /// It reads and writes the paths that its arguments name.
    Files,
    /// It makes accounts.
    Accounts,
    /// Anything.
    Any,
}

/// What is known of a module.
#[derive(Debug, Clone, Copy)]
pub(super) struct Module {
    pub(super) nature: Nature,
    pub(super) risk: Risk,
    /// An assumption and no measurement: about what it takes on a machine near by.
    pub(super) estimate_ms: u64,
}

/// What is known of a module by its name.
pub(super) fn known(name: &str) -> Module {
    let (nature, risk, estimate_ms) = match short_module(name) {
        "assert"
        | "debug"
        | "fail"
        | "set_fact"
        | "set_stats"
        | "include_vars"
        | "meta"
        | "pause"
        | "validate_argument_spec"
        | "add_host"
        | "group_by"
        | "include_tasks"
        | "include_role" => (nature_of_control(short_module(name)), Risk::Low, 20),
        "ping" => (Nature::Pure, Risk::Low, 400),
        "slurp" | "stat" => (Nature::Files, Risk::Low, 400),
        // What they find may be what anything before them made.
        "find" | "getent" | "package_facts" | "service_facts" | "mount_facts" => {
            (Nature::Any, Risk::Low, 400)
        }
        // What follows may use any fact.
        "setup" | "gather_facts" => (Nature::Any, Risk::Low, 2_000),
        "wait_for" | "wait_for_connection" | "async_status" => (Nature::Any, Risk::Low, 5_000),
        "assemble" | "blockinfile" | "copy" | "fetch" | "file" | "lineinfile" | "replace" | "template" => {
            (Nature::Files, Risk::Medium, 700)
        }
        "tempfile" => (Nature::Pure, Risk::Medium, 500),
        "known_hosts" => (Nature::Files, Risk::Medium, 500),
        "get_url" | "unarchive" | "git" | "subversion" => (Nature::Files, Risk::Medium, 8_000),
        "cron" | "debconf" => (Nature::Any, Risk::Medium, 600),
        "uri" => (Nature::Any, Risk::Medium, 1_000),
        // A package brings directories, accounts and services, and may need files that were written before it.
        "apt" | "dnf" | "dnf5" | "package" | "yum" => (Nature::Any, Risk::High, 15_000),
        "apt_key" | "apt_repository" | "deb822_repository" | "dpkg_selections" | "rpm_key"
        | "yum_repository" => (Nature::Any, Risk::High, 2_000),
        "pip" => (Nature::Any, Risk::High, 10_000),
        "group" | "user" => (Nature::Accounts, Risk::High, 600),
        "service" | "systemd" | "systemd_service" | "sysvinit" => (Nature::Any, Risk::High, 2_000),
        "hostname" => (Nature::Any, Risk::High, 600),
        "command" | "expect" => (Nature::Any, Risk::High, 1_000),
        "script" => (Nature::Any, Risk::Critical, 1_500),
        "raw" | "shell" => (Nature::Any, Risk::Critical, 1_000),
        "iptables" => (Nature::Any, Risk::Critical, 600),
        "reboot" => (Nature::Any, Risk::Critical, 60_000),
        _ => (Nature::Any, Risk::High, 2_000),
    };
    Module { nature, risk, estimate_ms }
}

/// What a module does in check mode, by what ansible-core says of each. One that is not known changes nothing either:
/// Ansible runs none in check mode that does not say that it can.
pub(super) fn in_check_mode(name: &str, args: &Mapping) -> Effect {
    match short_module(name) {
        // They change nothing on a host, and do what they always do.
        "add_host"
        | "assert"
        | "async_status"
        | "debug"
        | "fail"
        | "find"
        | "gather_facts"
        | "getent"
        | "group_by"
        | "include_role"
        | "include_tasks"
        | "include_vars"
        | "meta"
        | "mount_facts"
        | "package_facts"
        | "pause"
        | "ping"
        | "service_facts"
        | "set_fact"
        | "set_stats"
        | "setup"
        | "slurp"
        | "stat"
        | "validate_argument_spec" => Effect::Applies,
        // What is made or gone by a path can be predicted.
        "command" | "script" | "shell" if args.get("creates").or(args.get("removes")).is_some() => {
            Effect::Predicts
        }
        "command"
        | "expect"
        | "fetch"
        | "raw"
        | "script"
        | "shell"
        | "tempfile"
        | "uri"
        | "wait_for"
        | "wait_for_connection" => Effect::Skips,
        _ => Effect::Predicts,
    }
}

/// Whether a module shows what it changes where that is asked for, by what ansible-core says of each. One that is not
/// known may.
pub(super) fn shows_changes(name: &str) -> bool {
    !matches!(
        short_module(name),
        "add_host"
            | "apt_key"
            | "assert"
            | "async_status"
            | "command"
            | "debug"
            | "expect"
            | "fail"
            | "find"
            | "gather_facts"
            | "get_url"
            | "getent"
            | "group"
            | "group_by"
            | "include_role"
            | "include_tasks"
            | "include_vars"
            | "iptables"
            | "meta"
            | "mount_facts"
            | "package_facts"
            | "pause"
            | "ping"
            | "pip"
            | "raw"
            | "reboot"
            | "rpm_key"
            | "script"
            | "service_facts"
            | "set_fact"
            | "set_stats"
            | "setup"
            | "shell"
            | "slurp"
            | "stat"
            | "subversion"
            | "systemd"
            | "systemd_service"
            | "sysvinit"
            | "tempfile"
            | "uri"
            | "user"
            | "validate_argument_spec"
            | "wait_for"
            | "wait_for_connection"
    )
}

/// What runs on the controller alone: most of it decides what happens afterwards.
fn nature_of_control(name: &str) -> Nature {
    if matches!(name, "debug" | "set_fact") { Nature::Pure } else { Nature::Any }
}
