//! `larder man`: manual pages.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, CommandFactory as _};

use crate::console::Console;
use crate::failure::{Code, Failure};

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  larder man ~/.local/share/man/man1 && man larder-run")]
pub(crate) struct Arguments {
    /// The directory, which is made if it is not there
    #[arg(value_name = "DIR")]
    into: PathBuf,
}

pub(crate) fn run(arguments: &Arguments, console: Console) -> Result<Code, Failure> {
    console.has_no_json("nothing is printed, and manual pages have a form of their own", "leave it out")?;
    let into = &arguments.into;
    let write = || {
        std::fs::create_dir_all(into)?;
        clap_mangen::generate_to(crate::arguments::Arguments::command(), into)
    };
    write().with_context(|| format!("cannot write to {}", into.display()))?;
    Ok(Code::Done)
}
