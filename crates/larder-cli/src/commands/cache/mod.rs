//! `larder cache`: what is kept, one file for each thing to do with it.

mod clear;
mod gc;
mod get;
mod invalidate;
mod list;
mod put;
mod repair;
mod stats;
mod transfer;
mod verify;

use clap::{Args, Subcommand};

use crate::arguments::Global;
use crate::console::Console;
use crate::failure::{Code, Failure};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  larder cache stats
  larder cache list --sort size
  larder cache gc
  larder cache invalidate tag:release")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    Stats(stats::Arguments),
    List(list::Arguments),
    Get(get::Arguments),
    Put(put::Arguments),
    Invalidate(invalidate::Arguments),
    Clear(clear::Arguments),
    Gc(gc::Arguments),
    Verify(verify::Arguments),
    Repair(repair::Arguments),
    Export(transfer::Export),
    Import(transfer::Import),
}

pub(crate) fn run(arguments: &Arguments, global: &Global, console: Console) -> Result<Code, Failure> {
    match &arguments.action {
        Action::Stats(arguments) => stats::run(arguments, global, console),
        Action::List(arguments) => list::run(arguments, global, console),
        Action::Get(arguments) => get::run(arguments, global, console),
        Action::Put(arguments) => put::run(arguments, global, console),
        Action::Invalidate(arguments) => invalidate::run(arguments, global, console),
        Action::Clear(arguments) => clear::run(arguments, global, console),
        Action::Gc(_) => gc::run(global, console),
        Action::Verify(_) => verify::run(global, console),
        Action::Repair(_) => repair::run(global, console),
        Action::Export(arguments) => transfer::export(arguments, global, console),
        Action::Import(arguments) => transfer::import(arguments, global, console),
    }
}

/// Examples, and what a selector looks like.
fn with_selectors(examples: &str) -> String {
    format!("{examples}\n\n{SELECTORS}")
}

/// What a selector looks like, for the help of those who take one.
const SELECTORS: &str = "\
Selectors:
  all                            everything
  scope:NAME, kind:NAME[@VERSION], tag:TAG
  SCOPE/KIND@VERSION/ID          one entry
  prefix:SCOPE/KIND[@VERSION]/ID entries whose id begins so
  glob:SCOPE/KIND[@VERSION]/ID   entries whose id matches: * within a segment, ** over any
  In the last two, * stands for any scope and any kind.";
