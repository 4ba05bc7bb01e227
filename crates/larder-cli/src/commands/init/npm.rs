//! Scripts of package.json, of the root and of the members that it names.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use serde::Deserialize;

use super::{Character, Doubt, Draft, Plan, character, is_ignored, plain_name, read};
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
    let runner = Runner::of(root);
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
    // What a member makes of its sources is what others read of it.
    let are_built = common.iter().any(|script| script == "build");
    let of_member = |scripts: &mut dyn Iterator<Item = &String>, dir: &Path| {
        let mut drafts = drafts(scripts, &runner, &root.join(dir));
        let reading = |draft: &&mut Draft| matches!(draft.character, Character::Check | Character::Build(_));
        drafts
            .iter_mut()
            .filter(reading)
            .filter(|_| are_built)
            .for_each(|draft| draft.depends_on = &["^build"]);
        drafts
    };
    let templates = packages.first().map(|(dir, _)| of_member(&mut common.iter(), dir));
    let mut plans = vec![Plan {
        dir: String::new(),
        members,
        templates: templates.unwrap_or_default(),
        tasks: drafts(json.scripts.keys(), &runner, root),
    }];
    for (dir, json) in &packages {
        let mut own = json.scripts.keys().filter(|script| !common.contains(script));
        let tasks = of_member(&mut own, dir);
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

/// The program that runs scripts.
struct Runner {
    name: &'static str,
    /// Whether a lock file that git has says which versions are used.
    is_locked: bool,
}

impl Runner {
    /// By the lock file that is there.
    fn of(root: &Path) -> Self {
        let locks = [
            ("pnpm-lock.yaml", "pnpm"),
            ("yarn.lock", "yarn"),
            ("bun.lock", "bun"),
            ("bun.lockb", "bun"),
            ("package-lock.json", "npm"),
        ];
        match locks.into_iter().find(|(lock, _)| root.join(lock).is_file()) {
            Some((lock, name)) => Self { name, is_locked: !is_ignored(root, lock) },
            None => Self { name: "npm", is_locked: false },
        }
    }

    fn tools(&self) -> Vec<String> {
        let programs = if self.name == "bun" { vec!["bun"] } else { vec!["node", self.name] };
        programs.into_iter().map(|program| format!("{program} --version")).collect()
    }
}

fn drafts<'a>(scripts: impl IntoIterator<Item = &'a String>, runner: &Runner, dir: &Path) -> Vec<Draft> {
    // npm runs these by itself, before or after others.
    let hook = |name: &str| {
        ["pre", "post"].iter().any(|head| name.strip_prefix(head).is_some_and(|rest| !rest.is_empty()))
            || matches!(name, "prepare" | "preinstall" | "install" | "postinstall")
    };
    let typed = scripts.into_iter().filter(|name| plain_name(name) && !(hook(name) && *name != "preview"));
    typed
        .map(|name| Draft {
            name: name.clone(),
            command: format!("{} run {name}", runner.name),
            description: None,
            character: character(name, dir),
            depends_on: &[],
            tools: runner.tools(),
            doubt: (!runner.is_locked).then_some(Doubt::Versions),
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
