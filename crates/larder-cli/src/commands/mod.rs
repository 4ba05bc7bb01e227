//! The verbs, a file each: its arguments and what it does.

pub(crate) mod cache;
pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod exec;
pub(crate) mod gocache;
pub(crate) mod init;
pub(crate) mod man;
pub(crate) mod plan;
pub(crate) mod run;
pub(crate) mod serve;
pub(crate) mod tasks;
pub(crate) mod why;

use crate::arguments::{Arguments, Verb};
use crate::configuration;
use crate::console::Console;
use crate::failure::{Code, Failure};

/// Does what the command line says.
pub(crate) fn run(arguments: &Arguments, console: &Console) -> Result<Code, Failure> {
    let global = &arguments.global;
    configuration::change_directory(global)?;
    match &arguments.verb {
        Verb::Run(arguments) => run::run(arguments, global, *console),
        Verb::Exec(arguments) => exec::run(arguments, global, *console),
        Verb::Why(arguments) => why::run(arguments, global, *console),
        Verb::Tasks(_) => tasks::run(*console),
        Verb::Plan(arguments) => plan::run(arguments, global, *console),
        Verb::Gocache(arguments) => gocache::run(arguments, global),
        Verb::Serve(arguments) => serve::run(arguments, global, *console),
        Verb::Cache(arguments) => cache::run(arguments, global, *console),
        Verb::Init(arguments) => init::run(arguments, *console),
        Verb::Config(arguments) => config::run(arguments, global, *console),
        Verb::Completions(arguments) => completions::run(arguments, *console),
        Verb::Man(arguments) => man::run(arguments, *console),
    }
}
