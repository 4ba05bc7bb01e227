//! Filters of Ansible that names of files, roles and hosts are made with, beyond those that Jinja has.
//!
//! Not here: filters that need a host or a plugin; they are unknown, and said to be.

use minijinja::{Environment, Value};

use crate::plain::Plain;

pub(super) fn add(environment: &mut Environment<'_>) {
    environment.add_filter("basename", |path: &str| match path.rsplit_once('/') {
        Some((_, name)) => name.to_owned(),
        None => path.to_owned(),
    });
    environment.add_filter("dirname", |path: &str| match path.rsplit_once('/') {
        Some((directory, _)) => directory.to_owned(),
        None => String::new(),
    });
    environment.add_filter("bool", |value: Value| {
        let plain = serde_json::to_value(&value).ok().and_then(|json| Plain::of_json(json).ok());
        plain.as_ref().and_then(Plain::truth).unwrap_or(false)
    });
    environment
        .add_filter("ternary", |value: Value, yes: Value, no: Value| if value.is_true() { yes } else { no });
}
