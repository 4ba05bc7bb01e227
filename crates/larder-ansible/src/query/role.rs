//! Roles: where they are, and what is in them.

use larder::engine::{Context, Query};
use larder::query::ListedKind;
use serde::{Deserialize, Serialize};

use super::document::{document, located, problem};
use super::source::TaskFile;
use super::{Options, collection};
use crate::place::{base, join};
use crate::plain::{Mapping, Plain};
use crate::playbook::{Item, RoleMeta};
use crate::problem::Problem;
use crate::weight::weight;

/// Where a role is; `None` if it is nowhere. Looks as Ansible does: collections, `roles/` beside the playbook, the
/// configured path, beside the role that asks, beside the playbook.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct FindRole {
    pub(crate) name: String,
    pub(crate) playbook_dir: String,
    /// Where the role is that depends on it.
    pub(crate) beside: Option<String>,
    /// Collections in which a short name is looked for.
    pub(crate) collections: Vec<String>,
    pub(crate) options: Options,
}

/// A role's place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct FoundRole {
    pub(crate) path: String,
    pub(crate) name: String,
    pub(crate) collection: Option<String>,
}

impl FindRole {
    /// Directories in which it is looked for outside of collections.
    pub(crate) fn searched(&self) -> Vec<String> {
        let mut searched: Vec<String> = join(&self.playbook_dir, "roles").into_iter().collect();
        searched.extend(self.options.roles_path.iter().cloned());
        searched.extend(self.beside.iter().cloned());
        searched.push(self.playbook_dir.clone());
        searched
    }
}

impl Query for FindRole {
    type Output = Option<FoundRole>;
    type Error = Problem;
    const KIND: &'static str = "ansible.find-role";
    const VERSION: u32 = 2;

    async fn compute(&self, cx: &Context) -> Result<Option<FoundRole>, Problem> {
        for (path, collection) in
            collection::roles(&self.name, &self.collections, &self.playbook_dir, &self.options)
        {
            if names(cx, &path).await?.is_some() {
                let name = base(&path).to_owned();
                return Ok(Some(FoundRole { path, name, collection: Some(collection) }));
            }
        }
        for directory in self.searched() {
            let Some(path) = join(&directory, &self.name) else { continue };
            if !path.is_empty() && names(cx, &path).await?.is_some() {
                return Ok(Some(FoundRole { path, name: self.name.clone(), collection: None }));
            }
        }
        Ok(None)
    }
}

/// What is in a role.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct RoleSource {
    pub(crate) path: String,
    /// Which file of `tasks`, `vars`, `defaults` and `handlers` to take instead of `main`.
    pub(crate) from: Mapping,
}

/// A role as it is written.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Role {
    pub(crate) meta: RoleMeta,
    /// The file that the dependencies stand in.
    pub(crate) meta_file: String,
    pub(crate) defaults: Mapping,
    pub(crate) vars: Mapping,
    pub(crate) tasks: Vec<Item>,
    pub(crate) tasks_file: String,
    pub(crate) handlers: Vec<Item>,
    pub(crate) handlers_file: String,
}

impl Query for RoleSource {
    type Output = Role;
    type Error = Problem;
    const KIND: &'static str = "ansible.role";
    const VERSION: u32 = 1;
    const WEIGH: Option<fn(&Self::Output) -> u64> = Some(weight);

    async fn compute(&self, cx: &Context) -> Result<Role, Problem> {
        let mut role = Role {
            defaults: self.variables(cx, "defaults").await?,
            vars: self.variables(cx, "vars").await?,
            ..Role::default()
        };
        (role.meta, role.meta_file) = self.meta(cx).await?;
        (role.tasks, role.tasks_file) = self.tasks(cx, "tasks").await?;
        (role.handlers, role.handlers_file) = self.tasks(cx, "handlers").await?;
        Ok(role)
    }
}

impl RoleSource {
    async fn tasks(&self, cx: &Context, part: &str) -> Result<(Vec<Item>, String), Problem> {
        let files = self.files(cx, part, false).await?;
        let Some(path) = files.into_iter().next() else { return Ok(Default::default()) };
        let query = TaskFile { path: path.clone(), is_handlers: part == "handlers" };
        let items = cx.get(query).await.map_err(problem)?;
        Ok((items.value.clone().unwrap_or_default(), path))
    }

    async fn variables(&self, cx: &Context, part: &str) -> Result<Mapping, Problem> {
        let mut variables = Mapping::default();
        for path in self.files(cx, part, true).await? {
            match document(cx, &path).await? {
                Some(Plain::Map(entries)) => variables.update(&entries),
                // What is encrypted is not known, and what needs it will say so.
                None | Some(Plain::Null | Plain::Vault(_)) => {}
                Some(other) => {
                    let message = format!("variables must be a mapping, not {}", other.described());
                    return Err(located(cx, &path, crate::fault::Way::ROOT.fault(message)).await);
                }
            }
        }
        Ok(variables)
    }

    async fn meta(&self, cx: &Context) -> Result<(RoleMeta, String), Problem> {
        let mut meta = RoleMeta::default();
        let mut file = String::new();
        if let Some(path) = self.files(cx, "meta", false).await?.into_iter().next() {
            let document = document(cx, &path).await?.unwrap_or_default();
            meta = match RoleMeta::read(&document) {
                Ok(meta) => meta,
                Err(fault) => return Err(located(cx, &path, fault).await),
            };
            file = path;
        }
        let specs = self.named(cx, "meta", "argument_specs", &["", ".yml", ".yaml", ".json"], false).await?;
        if let Some(path) = specs
            .into_iter()
            .find(|path| path.ends_with(".yml") || path.ends_with(".yaml") || path.ends_with(".json"))
        {
            let document = document(cx, &path).await?.unwrap_or_default();
            let specs = document.as_map().and_then(|map| map.get("argument_specs"));
            meta.argument_specs = specs.and_then(Plain::as_map).cloned().unwrap_or_default();
        }
        Ok((meta, file))
    }

    /// The files of a part of the role: one, or those of a directory `main/` where that is allowed.
    async fn files(&self, cx: &Context, part: &str, may_be_directory: bool) -> Result<Vec<String>, Problem> {
        let Some(from) = self.from.get(part).and_then(Plain::as_str) else {
            return self.named(cx, part, "main", &[".yml", ".yaml", ".json", ""], may_be_directory).await;
        };
        let files = self.named(cx, part, from, &["", ".yml", ".yaml", ".json"], may_be_directory).await?;
        if files.is_empty() {
            let message = format!("the role {} has no file {part}/{from}", self.path);
            return Err(Problem::nowhere(message));
        }
        Ok(files)
    }

    async fn named(
        &self,
        cx: &Context,
        part: &str,
        name: &str,
        endings: &[&str],
        may_be_directory: bool,
    ) -> Result<Vec<String>, Problem> {
        let root = format!("{}/{part}", self.path);
        for ending in endings {
            let Some(path) = join(&root, &format!("{name}{ending}")) else { continue };
            if !path.starts_with(&root) {
                return Err(Problem::nowhere(format!("{path} is not inside of the role {}", self.path)));
            }
            match kind(cx, &path).await? {
                None => {}
                Some(ListedKind::Directory) if may_be_directory => return all_below(cx, &path).await,
                Some(ListedKind::Directory) => {}
                Some(_) => return Ok(vec![path]),
            }
        }
        Ok(Vec::new())
    }
}

/// What a path is; `None` if there is nothing.
async fn kind(cx: &Context, path: &str) -> Result<Option<ListedKind>, Problem> {
    let names = names(cx, crate::place::parent(path)).await?.unwrap_or_default();
    Ok(names.into_iter().find(|(name, _)| name == base(path)).map(|(_, kind)| kind))
}

/// The names in a directory; `None` if there is none.
async fn names(cx: &Context, path: &str) -> Result<Option<Vec<(String, ListedKind)>>, Problem> {
    let listed = cx.list(path).await.map_err(|error| Problem::of_file(path, error.to_string()))?;
    let shown = |listed: &larder::query::Listed| (listed.name.to_string_lossy().into_owned(), listed.kind);
    Ok(listed.map(|listed| listed.iter().map(shown).collect()))
}

/// Files with variables below a directory, in the order of their names.
async fn all_below(cx: &Context, path: &str) -> Result<Vec<String>, Problem> {
    let mut found = Vec::new();
    let mut open = vec![path.to_owned()];
    while let Some(path) = open.pop() {
        for (name, kind) in names(cx, &path).await?.unwrap_or_default() {
            let is_variables =
                ["yml", "yaml", "json"].iter().any(|ending| name.ends_with(&format!(".{ending}")));
            let inner = format!("{path}/{name}");
            match kind {
                _ if name.starts_with('.') || name.ends_with('~') => {}
                ListedKind::Directory => open.push(inner),
                _ if is_variables => found.push(inner),
                _ => {}
            }
        }
    }
    found.sort_unstable();
    Ok(found)
}
