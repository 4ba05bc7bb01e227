//! An engine that asks about inventories below a directory.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::Duration;

use larder::clock::Clock;
use larder::config::{Machine, Settings};
use larder::engine::{Larder, Opened, Outside, Queries, Session};
use larder::key::Scope;
use larder_ansible::inventory::{
    Chosen, HostsOf, InventoryError, Limit, Parsed, Source, Sources, list, register, run_program,
};
use larder_ansible::problem::Problem;
use tempfile::TempDir;

/// A directory with an inventory, and a cache for what is asked about it.
pub(super) struct Lab {
    pub(super) root: PathBuf,
    _root: Option<TempDir>,
    _cache: TempDir,
    _opened: Opened,
    queries: Queries,
}

pub(super) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(future)
}

/// The sources that `-i` names.
pub(super) fn sources(names: &[&str]) -> Sources {
    let source = |name: &&str| match name.contains(',') {
        true => Source::Hosts((*name).to_owned()),
        false => Source::Path((*name).to_owned()),
    };
    names.iter().map(source).collect::<Vec<_>>().into()
}

/// Inventories that are committed.
pub(super) fn inventories() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/inventories")
}

impl Lab {
    /// An empty directory.
    pub(super) fn new() -> Self {
        let root = TempDir::new().unwrap();
        Self { _root: Some(root), ..Self::at(Path::new("")) }.with_root()
    }

    fn with_root(self) -> Self {
        Self { root: self._root.as_ref().unwrap().path().to_owned(), ..self }
    }

    /// A directory that is there.
    pub(super) fn at(root: &Path) -> Self {
        let cache = TempDir::new().unwrap();
        let settings = Settings::new(cache.path().join("cache"));
        let opened = Larder::open(&settings, &Machine::probe(Path::new("/")), Clock::system(), "test");
        let queries = Queries::new(&opened.larder, &Scope::new("test").unwrap());
        let queries = register(queries).unwrap();
        Self { root: root.to_owned(), _root: None, _cache: cache, _opened: opened, queries }
    }

    /// Writes a file.
    pub(super) fn write(&self, path: &str, content: impl AsRef<[u8]>) -> &Self {
        let path = self.root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
        self
    }

    /// A view of the directory as it is now.
    pub(super) fn session(&self) -> Session {
        self.queries.session(Outside::new(&self.root))
    }

    pub(super) async fn choose(
        session: &Session,
        names: &[&str],
        patterns: &[&str],
        limit: Option<&str>,
    ) -> Result<Chosen, InventoryError> {
        let patterns = patterns.iter().map(|&pattern| pattern.to_owned()).collect();
        let query = HostsOf { sources: sources(names), patterns, limit: limit.map(Limit::parse) };
        session.get(query).await.map(|chosen| (*chosen).clone()).map_err(InventoryError::from)
    }

    /// What `ansible-inventory --list` is to print.
    pub(super) fn list(
        &self,
        names: &[&str],
        playbook_directory: Option<&str>,
        limit: Option<&str>,
    ) -> Result<String, InventoryError> {
        let limit = limit.map(Limit::parse);
        block_on(list(&self.session(), &sources(names), playbook_directory, limit.as_deref()))
    }

    /// What is printed by whoever runs the programs that are asked for.
    pub(super) fn list_running(&self, names: &[&str]) -> Result<String, InventoryError> {
        let outputs = TempDir::new().unwrap();
        let mut sources = sources(names);
        block_on(async {
            loop {
                let outside = Outside::new(&self.root).with_root("outputs", outputs.path()).unwrap();
                let listed = list(&self.queries.session(outside), &sources, None, None).await;
                let Err(InventoryError::Program(name)) = listed else { return listed };
                let said = run_program(&name, &self.root.join(&name), Duration::from_secs(60)).await?;
                let file = sources.outputs.len().to_string();
                std::fs::write(outputs.path().join(&file), said).unwrap();
                assert!(sources.outputs.insert(name, format!("/@outputs/{file}")).is_none());
            }
        })
    }

    /// The hosts of a pattern, or the problem with it.
    pub(super) fn hosts(
        &self,
        names: &[&str],
        pattern: &str,
        limit: Option<&str>,
    ) -> Result<Vec<String>, Problem> {
        let chosen = block_on(Self::choose(&self.session(), names, &[pattern], limit));
        match chosen {
            Ok(chosen) => Ok(chosen.hosts.iter().map(ToString::to_string).collect()),
            Err(InventoryError::Wrong(problem)) => Err(problem),
            Err(error) => panic!("{error:?}"),
        }
    }

    /// What is wrong with an inventory.
    pub(super) fn problem(&self, names: &[&str]) -> String {
        let listed = self.list(names, None, None);
        match listed {
            Err(InventoryError::Wrong(problem)) => problem.render(),
            Err(error @ InventoryError::Program(_)) => error.to_string(),
            other => panic!("{other:?}"),
        }
    }

    /// What is odd about an inventory.
    pub(super) fn warnings(&self, names: &[&str]) -> Vec<String> {
        let sources = sources(names);
        let inventory = block_on(async { self.session().get(Parsed { sources }).await });
        inventory.unwrap().warnings().iter().map(ToString::to_string).collect()
    }
}
