//! Where what belongs to a collection is looked for.
//!
//! Not here: whether it is there.

use super::Options;
use crate::place::join;

/// Directories of a collection, best first: beside the playbook, then where the options say.
fn directories(namespace: &str, name: &str, playbook_dir: &str, options: &Options) -> Vec<String> {
    let beside = ["collections/ansible_collections", "ansible_collections"];
    let beside = beside.iter().filter_map(|directory| join(playbook_dir, directory));
    let listed = options.collections_path.iter().filter_map(|path| join(path, "ansible_collections"));
    beside.chain(listed).map(|root| format!("{root}/{namespace}/{name}")).collect()
}

/// `namespace.collection.resource`; the resource may have dots for directories.
fn split(name: &str) -> Option<(&str, &str, String)> {
    let parts: Vec<&str> = name.split('.').collect();
    let is_word = |part: &&str| crate::playbook::is_variable_name(part);
    match &parts[..] {
        [namespace, collection, resource @ ..] if !resource.is_empty() && parts.iter().all(is_word) => {
            Some((namespace, collection, resource.join("/")))
        }
        _ => None,
    }
}

/// Candidates for a role: its directory and its collection. A short name is looked for in `search`.
pub(super) fn roles(
    name: &str,
    search: &[String],
    playbook_dir: &str,
    options: &Options,
) -> Vec<(String, String)> {
    let candidates = |namespace: &str, collection: &str, role: &str| {
        directories(namespace, collection, playbook_dir, options)
            .into_iter()
            .map(|directory| (format!("{directory}/roles/{role}"), format!("{namespace}.{collection}")))
            .collect::<Vec<_>>()
    };
    if let Some((namespace, collection, role)) = split(name) {
        return candidates(namespace, collection, &role);
    }
    let listed = search.iter().filter_map(|entry| entry.split_once('.'));
    let listed = listed.filter(|entry| !matches!(entry, ("ansible", "builtin" | "legacy")));
    listed.flat_map(|(namespace, collection)| candidates(namespace, collection, name)).collect()
}

/// Candidates for a playbook.
pub(super) fn playbooks(name: &str, playbook_dir: &str, options: &Options) -> Vec<String> {
    let Some((namespace, collection, playbook)) = split(name) else { return Vec::new() };
    let directories = directories(namespace, collection, playbook_dir, options);
    let files = |directory: &String| {
        ["yml", "yaml"].map(|ending| format!("{directory}/playbooks/{playbook}.{ending}"))
    };
    directories.iter().flat_map(files).collect()
}
