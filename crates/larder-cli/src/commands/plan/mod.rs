//! `larder plan`: what an Ansible playbook would do, without asking any host.

mod diff;
mod inventory;
mod outcome;
mod place;
mod shipping;
mod watch;

use std::cell::Cell;
use std::fs;
use std::io::Write as _;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use clap::{Args, Subcommand, ValueEnum};
use larder::engine::{Opened, Outside};
use larder::key::{Digest, Scope};
use larder::tier::Brief;
use larder_ansible::change::changes;
use larder_ansible::extra::ExtraVars;
use larder_ansible::inventory::{Chosen, InventoryError};
use larder_ansible::listing::{self, Listed};
use larder_ansible::plain::Mapping;
use larder_ansible::plan::{self, ExecutionPlan};
use larder_ansible::planner::{Planner, View};
use larder_ansible::problem::Problem;
use larder_ansible::query::{Modes, Options, PlanRequest};
use larder_ansible::tags::TagSelection;
use tempfile::TempDir;

use self::inventory::{Asked, InventoryArguments};
use self::place::Place;
use self::shipping::ShippingArguments;
use crate::arguments::{Global, from_one};
use crate::configuration;
use crate::console::{Console, WARNING, raw_stdout, styled};
use crate::failure::{Code, Failure};
use crate::store;
use crate::surroundings::Surroundings;

/// Show what an Ansible playbook would do, without asking any host
///
/// Playbooks, roles and variables are read once and kept; after an edit only what it touches is read again.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
#[command(after_help = "\
Examples:
  larder plan site.yml -i inventory.ini
  larder plan site.yml -i hosts --format mermaid > plan.mmd
  larder plan site.yml -i hosts --changes old.json
  larder plan site.yml -i hosts --check --estimate
  larder plan site.yml -i hosts --watch
  larder plan site.yml -i hosts --list-binaries --facts facts/
  larder plan site.json
  larder plan site.yml --list-tasks
  larder plan site.yml --list-tags --tags deploy
  larder plan site.yml -i inventory/ --list-hosts --limit 'web:!web3'
  larder plan -i inventory/ --list-inventory
  larder plan site.yml --list-tasks -e env=staging -e @vars/staging.yml")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    verb: Option<Verb>,
    /// Playbooks
    #[arg(required_unless_present = "list_inventory", value_name = "PLAYBOOK")]
    playbooks: Vec<PathBuf>,
    #[command(flatten)]
    inventory: InventoryArguments,
    /// List the hosts of each play as ansible-playbook does
    #[arg(long)]
    list_hosts: bool,
    /// Print the inventory as `ansible-inventory --list` does, with variables beside the playbook, if one is given
    #[arg(long, conflicts_with_all = ["list_hosts", "list_tasks", "list_tags", "tags", "skip_tags", "extra_vars"])]
    list_inventory: bool,
    /// List tasks as ansible-playbook does
    #[arg(long)]
    list_tasks: bool,
    /// List tags as ansible-playbook does
    #[arg(long)]
    list_tags: bool,
    /// Only tasks with one of these tags
    #[arg(short, long, value_name = "TAGS")]
    tags: Vec<String>,
    /// No tasks with one of these tags
    #[arg(long, value_name = "TAGS")]
    skip_tags: Vec<String>,
    /// Set variables: key=value, JSON or YAML in braces, or @FILE
    #[arg(short, long, value_name = "VARS")]
    extra_vars: Vec<String>,
    /// Begin with the task of this name; * and ? stand for any characters
    #[arg(long, value_name = "NAME")]
    start_at_task: Option<String>,
    /// Plan a run that changes nothing and tells what it would change, as ansible-playbook --check does
    #[arg(long)]
    check: bool,
    /// Plan a run that shows what it changes, as ansible-playbook --diff does
    #[arg(long)]
    diff: bool,
    /// Tell how long each task is assumed to take, instead of printing the plan
    #[arg(long, conflicts_with_all = ["list_hosts", "list_tasks", "list_tags", "list_inventory", "format", "explain", "changes"])]
    estimate: bool,
    #[command(flatten)]
    shipping: ShippingArguments,
    /// On how many hosts a task runs at once, for estimates
    #[arg(short, long, value_name = "N", default_value = "5", value_parser = from_one)]
    forks: NonZeroUsize,
    /// How to print the plan
    #[arg(long, value_name = "FORMAT", default_value = "text", conflicts_with_all = ["list_hosts", "list_tasks", "list_tags", "list_inventory", "json"])]
    format: Format,
    /// Tell what was kept and what was computed, and why, instead of printing the plan
    #[arg(long, conflicts_with_all = ["list_hosts", "list_tasks", "list_tags", "list_inventory", "format"])]
    explain: bool,
    /// Stay, and print it again when an edit changes it; Ctrl-C ends it
    #[arg(short, long)]
    watch: bool,
    /// Tell what differs from an earlier plan, in a file in JSON or binary form, instead of printing the plan
    #[arg(long, value_name = "PLAN", conflicts_with_all = ["list_hosts", "list_tasks", "list_tags", "list_inventory", "format", "explain"])]
    changes: Option<PathBuf>,
}

/// What is done with plans that are there already.
#[derive(Debug, Subcommand)]
enum Verb {
    Diff(diff::Arguments),
}

/// A form of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Text,
    /// As docs/plan.schema.json says
    Json,
    /// What depends on what, for Graphviz
    Dot,
    /// What depends on what, for Mermaid
    Mermaid,
    /// Compact and stable, for programs
    Binary,
}

pub(crate) fn run(arguments: &Arguments, global: &Global, console: Console) -> Result<Code, Failure> {
    if let Some(Verb::Diff(arguments)) = &arguments.verb {
        return diff::run(arguments, console);
    }
    if arguments.list_hosts || arguments.list_tasks || arguments.list_tags {
        console.has_no_json(
            "the listings of hosts, tasks and tags are those of ansible-playbook, which are text",
            "without them the plan itself is printed as JSON",
        )?;
    }
    let console = Console { lines: arguments.watch, ..console };
    let current = Surroundings::look()?.current;
    let others = [arguments.inventory.paths(), arguments.shipping.paths()].concat();
    let place = Place::of(&arguments.playbooks, &others, &current)?;
    let opened = open(&place, global, console)?;
    let planner = Planner::new(&opened.larder, &scope(place.root())).context("cannot plan")?;
    let outputs = arguments.inventory.outputs()?;
    let mut outside = Outside::new(place.root());
    if let Some(outputs) = &outputs {
        outside = inventory::with_outputs(outside, outputs)?;
    }
    let outputs = outputs.as_ref();
    let asking =
        Asking { arguments, place: &place, outputs, planner: &planner, console, last: Cell::default() };
    if arguments.watch {
        return store::block_on(watch::run(&asking, outside, opened))?;
    }
    let bytes = store::block_on(async {
        let bytes = asking.bytes(outside).await?;
        opened.close().await;
        Ok::<_, Failure>(bytes)
    })??;
    print(&bytes)?;
    Ok(Code::Done)
}

/// As they are: a binary plan has bytes that a terminal's stream would take for colours.
fn print(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = raw_stdout();
    out.write_all(bytes)?;
    Ok(out.flush()?)
}

/// What is asked, and who answers.
struct Asking<'a> {
    arguments: &'a Arguments,
    place: &'a Place,
    /// Where what programs among the inventories print is put.
    outputs: Option<&'a TempDir>,
    planner: &'a Planner,
    console: Console,
    /// The plan that was printed last, for the next one to share what has not changed.
    last: Cell<Option<Arc<ExecutionPlan>>>,
}

impl Asking<'_> {
    /// What is printed, by the files as they are now.
    async fn bytes(&self, outside: Outside) -> Result<Vec<u8>, Failure> {
        let Self { arguments, place, planner, console, .. } = *self;
        let mut asked = Asked::new(&arguments.inventory, place, self.outputs.map(TempDir::path))?;
        let view = planner.view_of(outside);
        asked.adopt(&view, place.playbooks()).await?;
        let is_listing = arguments.list_hosts || arguments.list_tasks || arguments.list_tags;
        if arguments.list_inventory || arguments.list_hosts || arguments.inventory.is_given() {
            asked.settle(&view, place.root(), console).await?;
        }
        if arguments.list_inventory {
            Ok(asked.list(&view, place.playbooks().first().map(String::as_str)).await?.into_bytes())
        } else if is_listing {
            Ok(listings(arguments, place, &asked, &view, console).await?.into_bytes())
        } else {
            planned(arguments, place, &asked, &view, console, &self.last).await
        }
    }
}

/// What changes what playbooks come to.
fn options(arguments: &Arguments, place: &Place) -> Result<Options, Failure> {
    Ok(Options {
        extra_vars: extra_vars(&arguments.extra_vars)?,
        modes: Modes { check: arguments.check, diff: arguments.diff },
        roles_path: place.listed("ANSIBLE_ROLES_PATH"),
        collections_path: place.listed("ANSIBLE_COLLECTIONS_PATH"),
    })
}

/// The plan, in the form that is asked for.
async fn planned(
    arguments: &Arguments,
    place: &Place,
    asked: &Asked<'_>,
    view: &View,
    console: Console,
    last: &Cell<Option<Arc<ExecutionPlan>>>,
) -> Result<Vec<u8>, Failure> {
    asked.check_limit(view).await?;
    let request = &PlanRequest {
        playbooks: place.playbooks().to_vec(),
        inventory: asked.sources().clone(),
        limit: asked.limit().map(<[_]>::to_vec),
        options: options(arguments, place)?,
        selection: TagSelection::new(&arguments.tags, &arguments.skip_tags),
        start_at_task: arguments.start_at_task.clone(),
        forks: arguments.forks.get(),
        strategy: arguments.shipping.strategy(),
        ship: arguments.shipping.options(place)?,
    };
    if arguments.explain {
        let explanation = view.explain(request).await.map_err(|problem| wrong(&problem))?;
        return Ok(if console.json {
            console.as_json(&explanation)?
        } else {
            explanation.to_string().into_bytes()
        });
    }
    let planned = view.plan(request).await.map_err(|problem| wrong(&problem))?;
    last.set(Some(Arc::clone(&planned.plan)));
    outcome::tell(&planned, console)?;
    let plan = &*planned.plan;
    inventory::warn_unmatched(plan.plays.iter().flat_map(|play| &play.unmatched), console);
    if let Some(earlier) = &arguments.changes {
        return diff::shown(&changes(&diff::read(earlier)?, plan), console);
    }
    if arguments.estimate {
        let estimate = plan::estimate::estimate(plan);
        return if console.json {
            Ok(console.as_json(&estimate)?)
        } else {
            Ok(estimate.to_string().into_bytes())
        };
    }
    if arguments.shipping.is_listed() {
        let listing = plan::ship::listing(plan);
        return if console.json {
            Ok(console.as_json(&listing)?)
        } else {
            Ok(listing.to_string().into_bytes())
        };
    }
    Ok(match arguments.format {
        _ if console.json => console.as_json(plan)?,
        Format::Json => console.as_json(plan)?,
        Format::Text => plan::text::text(plan).into_bytes(),
        Format::Dot => plan::dot::dot(plan).into_bytes(),
        Format::Mermaid => plan::mermaid::mermaid(plan).into_bytes(),
        Format::Binary => plan::binary::encode(plan),
    })
}

/// The listing of each playbook.
async fn listings(
    arguments: &Arguments,
    place: &Place,
    asked: &Asked<'_>,
    view: &View,
    console: Console,
) -> Result<String, Failure> {
    let options = options(arguments, place)?;
    if arguments.list_hosts || arguments.inventory.is_given() {
        asked.check_limit(view).await?;
    }
    let listed = Listed { tasks: arguments.list_tasks, tags: arguments.list_tags };
    let selection = listing::selection(listed, &arguments.tags, &arguments.skip_tags);
    let mut out = String::new();
    for (written, playbook) in arguments.playbooks.iter().zip(place.playbooks()) {
        let plays = view.listed(playbook, &options).await.map_err(|problem| wrong(&problem))?;
        let hosts: Option<Vec<Chosen>> = match arguments.list_hosts {
            true => Some(asked.hosts(view, plays.iter().map(|play| play.hosts.as_slice()), console).await?),
            false => None,
        };
        out += &listing::text(&written.to_string_lossy(), &plays, hosts.as_deref(), listed, &selection);
    }
    Ok(out)
}

/// The engine as the configuration describes it, for as long as the process lives: giving back what it holds takes
/// longer than ending. Without its disk tier plans are made all the same.
fn open(place: &Place, global: &Global, console: Console) -> Result<&'static Opened, Failure> {
    let root = configuration::project_root(place.root());
    let config = configuration::load(global, root.as_deref())?;
    let settings = config.settings();
    let opened = store::engine(settings, &store::machine(), Brief::InPlace, None);
    if let Some(problem) = &opened.problem {
        let dir = settings.dir.display();
        console.note(format_args!(
            "{} the cache in {dir} is not used, and nothing is kept: {problem}",
            styled(WARNING, "warning:")
        ));
    }
    Ok(Box::leak(Box::new(opened)))
}

/// Plans of a project are kept for its directory.
fn scope(root: &Path) -> Scope {
    let digest = Digest::of(root.as_os_str().as_encoded_bytes()).to_string();
    Scope::new(&format!("plan-{}", &digest[..32])).expect("hexadecimal digits are a name")
}

fn extra_vars(written: &[String]) -> Result<Mapping, Failure> {
    let mut variables = Mapping::default();
    for text in written {
        let more = match ExtraVars::read(text).map_err(|problem| wrong(&problem))? {
            ExtraVars::Given(variables) => variables,
            ExtraVars::File(path) => {
                let text =
                    fs::read(&path).with_context(|| format!("cannot read {path}")).map_err(Failure::usage)?;
                ExtraVars::of_document(&path, &text).map_err(|problem| wrong(&problem))?
            }
        };
        variables.update(&more);
    }
    Ok(variables)
}

fn wrong(problem: &Problem) -> Failure {
    Failure::usage(anyhow!("the playbook can't be planned")).details(problem.render())
}

fn wrong_inventory(error: InventoryError) -> Failure {
    match error {
        InventoryError::Wrong(problem) => {
            Failure::usage(anyhow!("the inventory can't be read")).details(problem.render())
        }
        InventoryError::Program(_) => Failure::usage(error).hint("--run-inventory runs it"),
        error => anyhow::Error::from(error).into(),
    }
}
