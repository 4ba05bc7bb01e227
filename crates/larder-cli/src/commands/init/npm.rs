//! Scripts of package.json, of the root and of the members that it names.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use serde::Deserialize;

use super::{Draft, Plan, character, plain_name, read};
use crate::failure::Failure;

#[derive(Debug, Default, Deserialize)]
struct PackageJson {
    #[serde(default)]
    scripts: BTreeMap<String, String>,
    workspaces: Option<Workspaces>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Workspaces {
    List(Vec<String>),
    Table { packages: Vec<String> },
}

/// Plans for the root, which always is the first, and for each member that has scripts of its own. A script that
/// all members have is a template.
pub(super) fn plans(root: &Path) -> Result<Vec<Plan>, Failure> {
    let Some(json) = package_json(root)? else { return Ok(vec![Plan::default()]) };
    let runner = runner(root);
    let members = match json.workspaces {
        None => Vec::new(),
        Some(Workspaces::List(globs) | Workspaces::Table { packages: globs }) => globs,
    };
    let mut packages = Vec::new();
    for dir in members.iter().flat_map(|glob| directories(root, glob)) {
        if let Some(json) = package_json(&root.join(&dir))? {
            packages.push((dir, json));
        }
    }
    let everywhere = |script: &&String| packages.iter().all(|(_, json)| json.scripts.contains_key(*script));
    let common: Vec<String> = packages
        .first()
        .map(|(_, json)| json.scripts.keys().filter(everywhere).cloned().collect())
        .unwrap_or_default();
    let mut plans = vec![Plan {
        dir: String::new(),
        members,
        templates: packages
            .first()
            .map(|(dir, _)| drafts(&common, runner, &root.join(dir)))
            .unwrap_or_default(),
        tasks: drafts(json.scripts.keys(), runner, root),
    }];
    for (dir, json) in &packages {
        let own = json.scripts.keys().filter(|script| !common.contains(script));
        let tasks = drafts(own, runner, &root.join(dir));
        if !tasks.is_empty() {
            let dir = dir.to_string_lossy().into_owned();
            plans.push(Plan { dir, members: Vec::new(), templates: Vec::new(), tasks });
        }
    }
    Ok(plans)
}

fn package_json(dir: &Path) -> Result<Option<PackageJson>, Failure> {
    let path = dir.join("package.json");
    let Some(text) = read(&path)? else { return Ok(None) };
    let json = serde_json::from_str(text.trim_start_matches('\u{feff}'));
    json.map(Some).map_err(|error| Failure::usage(anyhow!("{}: {error}", path.display())))
}

/// The program that runs scripts, by the lock file that is there.
fn runner(root: &Path) -> &'static str {
    let locks =
        [("pnpm-lock.yaml", "pnpm"), ("yarn.lock", "yarn"), ("bun.lock", "bun"), ("bun.lockb", "bun")];
    locks.into_iter().find(|(lock, _)| root.join(lock).is_file()).map_or("npm", |(_, runner)| runner)
}

fn drafts<'a>(scripts: impl IntoIterator<Item = &'a String>, runner: &str, dir: &Path) -> Vec<Draft> {
    // npm runs these by itself, before or after others.
    let hook = |name: &str| {
        ["pre", "post"].iter().any(|head| name.strip_prefix(head).is_some_and(|rest| !rest.is_empty()))
            || matches!(name, "prepare" | "preinstall" | "install" | "postinstall")
    };
    let typed = scripts.into_iter().filter(|name| plain_name(name) && !(hook(name) && *name != "preview"));
    typed
        .map(|name| Draft {
            name: name.clone(),
            command: format!("{runner} run {name}"),
            description: None,
            character: character(name, dir),
            from: "package.json",
        })
        .collect()
}

/// Directories that a glob of members names: a path, or a path and `/*`.
fn directories(root: &Path, glob: &str) -> Vec<PathBuf> {
    let glob = glob.trim_start_matches("./").trim_end_matches('/');
    let Some(parent) = glob.strip_suffix("/*").or_else(|| glob.strip_suffix("/**")) else {
        return if glob.contains('*') || glob.starts_with('!') {
            Vec::new()
        } else {
            vec![PathBuf::from(glob)]
        };
    };
    let mut found: Vec<PathBuf> = std::fs::read_dir(root.join(parent))
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(Path::new(parent).join(entry.ok()?.file_name())))
        .filter(|dir| root.join(dir).is_dir())
        .collect();
    found.sort();
    found
}
