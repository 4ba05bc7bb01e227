//! A planner over a directory, and playbooks to plan.

use std::path::{Path, PathBuf};

use larder::clock::Clock;
use larder::engine::{Larder, LarderOptions};
use larder::key::Scope;
use larder::stats::{Stats, StatsOptions};
use larder_ansible::extra::ExtraVars;
use larder_ansible::listing::{self, Listed};
use larder_ansible::plain::Mapping;
use larder_ansible::planner::Planner;
use larder_ansible::problem::Problem;
use larder_ansible::query::{Modes, Options};

/// The playbooks that the tests have.
pub(crate) fn playbooks() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/playbooks")
}

pub(crate) fn planner() -> Planner {
    let clock = Clock::system();
    let larder = Larder::new(LarderOptions::new(clock.clone(), Stats::new(StatsOptions::default(), clock)));
    Planner::new(&larder, &Scope::new("test").unwrap()).unwrap()
}

thread_local! {
    /// One for all that a test waits for: the engine's own tasks live as long as the runtime that they began in.
    static RUNTIME: tokio::runtime::Runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
}

/// Waits for what needs a runtime.
pub(crate) fn wait<T>(future: impl Future<Output = T>) -> T {
    RUNTIME.with(|runtime| runtime.block_on(future))
}

/// What `larder plan` prints for these arguments, of which each list of values has a flag of its own.
pub(crate) fn listing(planner: &Planner, root: &Path, arguments: &[&str]) -> Result<String, Problem> {
    let (mut books, mut tags, mut skip, mut extra) = (Vec::new(), Vec::new(), Vec::new(), Mapping::default());
    let mut listed = Listed::default();
    let mut modes = Modes::default();
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let mut value = || *arguments.next().unwrap();
        match *argument {
            "--list-tasks" => listed.tasks = true,
            "--list-tags" => listed.tags = true,
            "--check" => modes.check = true,
            "--diff" => modes.diff = true,
            "--tags" => tags.push(value()),
            "--skip-tags" => skip.push(value()),
            "-e" => match ExtraVars::read(value())? {
                ExtraVars::Given(variables) => extra.update(&variables),
                ExtraVars::File(path) => panic!("{path} is not read here"),
            },
            playbook => books.push(playbook),
        }
    }
    let selection = listing::selection(listed, &tags, &skip);
    let mut out = String::new();
    let options = Options { extra_vars: extra, modes, ..Options::default() };
    for playbook in books {
        let plays = wait(async { planner.view(root).listed(playbook, &options).await })?;
        out.push_str(&listing::text(playbook, &plays, None, listed, &selection));
    }
    Ok(out)
}
