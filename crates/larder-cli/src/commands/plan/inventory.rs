//! `larder plan -i`: which inventory is meant, and its programs, which are run only where the user said so.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use clap::Args;
use larder::engine::Outside;
use larder_ansible::inventory::{
    Chosen, HostsOf, InventoryError, Limit, Parsed, Source, Sources, list, run_program,
};
use larder_ansible::planner::View;
use tempfile::TempDir;

use super::place::Place;
use crate::console::{Console, WARNING, styled};
use crate::failure::Failure;

/// How long one start of an inventory program may take.
const PROGRAM_LIMIT: Duration = Duration::from_secs(600);
/// The root of the files with what programs printed.
const OUTPUTS: &str = "outputs";

#[derive(Debug, Args)]
pub(super) struct InventoryArguments {
    /// Inventory: a file, a directory, or hosts with commas; otherwise $ANSIBLE_INVENTORY
    #[arg(short, long, value_name = "INVENTORY")]
    inventory: Vec<String>,
    /// Only hosts that these patterns choose, or those in @FILE
    #[arg(short, long, value_name = "PATTERNS")]
    limit: Option<String>,
    /// Run inventories that are programs, each time anew
    #[arg(long)]
    run_inventory: bool,
}

impl InventoryArguments {
    /// The files and directories that are named, as far as they have to be below the root.
    pub(super) fn paths(&self) -> Vec<PathBuf> {
        let sources = self.named().into_iter().filter(|source| !is_list(source)).map(PathBuf::from);
        let limits = self.limit.iter().flat_map(|limit| Limit::parse(limit));
        let files = limits.filter_map(|limit| match limit {
            Limit::File(path) => Some(PathBuf::from(path)),
            Limit::Pattern(_) => None,
        });
        sources.chain(files).collect()
    }

    /// Whether anything is asked of the inventory, be it only that it can be read.
    pub(super) fn is_given(&self) -> bool {
        !self.inventory.is_empty() || self.limit.is_some()
    }

    /// Where what programs print is put, if they may be run.
    pub(super) fn outputs(&self) -> Result<Option<TempDir>, Failure> {
        let outputs = self.run_inventory.then(TempDir::new).transpose();
        Ok(outputs.context("cannot make a temporary directory")?)
    }

    fn named(&self) -> Vec<String> {
        if !self.inventory.is_empty() {
            return self.inventory.clone();
        }
        let value = env::var("ANSIBLE_INVENTORY").unwrap_or_default();
        value.split(',').map(str::trim).filter(|path| !path.is_empty()).map(str::to_owned).collect()
    }
}

/// Tells of each pattern that matches nothing, once.
pub(super) fn warn_unmatched(patterns: impl Iterator<Item: AsRef<str>>, console: Console) {
    let mut told = BTreeSet::new();
    for pattern in patterns {
        if told.insert(pattern.as_ref().to_owned()) {
            let (warning, pattern) = (styled(WARNING, "warning:"), pattern.as_ref());
            console.note(format_args!("{warning} no host matches `{pattern}`; it is ignored"));
        }
    }
}

/// Hosts separated by commas are no file, unless there is one of that name.
fn is_list(source: &str) -> bool {
    source.contains(',') && !Path::new(source).exists()
}

/// The outside in which what programs printed is found.
pub(super) fn with_outputs(outside: Outside, outputs: &TempDir) -> Result<Outside, Failure> {
    Ok(outside.with_root(OUTPUTS, outputs.path()).context("the name of a root is well formed")?)
}

/// The inventory that the command line names.
pub(super) struct Asked<'a> {
    sources: Sources,
    limit: Option<Vec<Limit>>,
    /// Where what programs print is put, if they may be run.
    outputs: Option<&'a Path>,
}

impl<'a> Asked<'a> {
    pub(super) fn new(
        arguments: &InventoryArguments,
        place: &Place,
        outputs: Option<&'a Path>,
    ) -> Result<Self, Failure> {
        let source = |source: String| match is_list(&source) {
            true => Ok(Source::Hosts(source)),
            false => place.relative(Path::new(&source)).map(Source::Path),
        };
        let sources: Vec<Source> =
            arguments.named().into_iter().map(source).collect::<Result<_, Failure>>()?;
        let limit = |limit: Limit| match limit {
            Limit::File(path) => place.relative(Path::new(&path)).map(Limit::File),
            pattern @ Limit::Pattern(_) => Ok(pattern),
        };
        let limit = arguments.limit.as_ref().map(|text| Limit::parse(text).into_iter().map(limit).collect());
        Ok(Self { sources: sources.into(), limit: limit.transpose()?, outputs })
    }

    /// Where the inventory is.
    pub(super) fn sources(&self) -> &Sources {
        &self.sources
    }

    /// Where none is named, takes the inventories that playbooks have in them.
    pub(super) async fn adopt(&mut self, view: &View, playbooks: &[String]) -> Result<(), Failure> {
        if self.sources.sources.is_empty() {
            for playbook in playbooks {
                let found = view.inventory_in(playbook).await.map_err(|problem| super::wrong(&problem))?;
                self.sources.sources.extend(found);
            }
        }
        Ok(())
    }

    /// What `--limit` leaves.
    pub(super) fn limit(&self) -> Option<&[Limit]> {
        self.limit.as_deref()
    }

    /// Reads the inventory, runs programs in it if that is allowed, and says what is odd about it.
    pub(super) async fn settle(&mut self, view: &View, root: &Path, console: Console) -> Result<(), Failure> {
        loop {
            let parsed = view.session().get(Parsed { sources: self.sources.clone() }).await;
            match parsed.map_err(InventoryError::from) {
                Err(InventoryError::Program(name)) if let Some(outputs) = self.outputs => {
                    let said = run_program(&name, &root.join(&name), PROGRAM_LIMIT).await;
                    let said = said.map_err(|problem| super::wrong_inventory(problem.into()))?;
                    // Named by what is in it, so that an answer is found again when the program says the same.
                    let file = larder::key::Digest::of(&said).to_string();
                    fs::write(outputs.join(&file), said)?;
                    self.sources.outputs.insert(name, format!("/@{OUTPUTS}/{file}"));
                }
                Err(error) => return Err(super::wrong_inventory(error)),
                Ok(inventory) => {
                    for warning in inventory.warnings() {
                        console.note(format_args!("{} {warning}", styled(WARNING, "warning:")));
                    }
                    return Ok(());
                }
            }
        }
    }

    /// Prints as `ansible-inventory --list` does.
    pub(super) async fn list(&self, view: &View, playbook: Option<&str>) -> Result<String, Failure> {
        let directory =
            playbook.map(|playbook| playbook.rsplit_once('/').map_or("", |(directory, _)| directory));
        let listed = list(view.session(), &self.sources, directory, self.limit.as_deref()).await;
        listed.map_err(super::wrong_inventory)
    }

    /// The hosts of each play, by its patterns. Patterns that match nothing are told of once.
    pub(super) async fn hosts<'p>(
        &self,
        view: &View,
        plays: impl Iterator<Item = &'p [String]>,
        console: Console,
    ) -> Result<Vec<Chosen>, Failure> {
        let mut chosen: Vec<Chosen> = Vec::new();
        for patterns in plays {
            let (patterns, limit) = (patterns.to_vec(), self.limit.clone());
            let query = HostsOf { sources: self.sources.clone(), patterns, limit };
            let hosts = view.session().get(query).await;
            let hosts = hosts.map_err(|error| super::wrong_inventory(error.into()))?;
            chosen.push((*hosts).clone());
        }
        warn_unmatched(chosen.iter().flat_map(|chosen| &chosen.unmatched), console);
        Ok(chosen)
    }

    /// Refuses a limit that leaves nothing of an inventory that has hosts, as ansible-playbook does.
    pub(super) async fn check_limit(&self, view: &View) -> Result<(), Failure> {
        let parsed = view.session().get(Parsed { sources: self.sources.clone() }).await;
        let has_hosts = !parsed.map_err(|error| super::wrong_inventory(error.into()))?.hosts().is_empty();
        let query = HostsOf {
            sources: self.sources.clone(),
            patterns: vec!["all".to_owned()],
            limit: self.limit.clone(),
        };
        let left = view.session().get(query).await.map_err(|error| super::wrong_inventory(error.into()))?;
        if has_hosts && left.hosts.is_empty() {
            let error = anyhow!("the limit leaves none of the hosts");
            return Err(
                Failure::usage(error).hint("`--list-hosts` without a limit tells which hosts there are")
            );
        }
        Ok(())
    }
}
