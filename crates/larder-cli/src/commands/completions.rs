//! `larder completions`: completion for shells.

use std::io::Write as _;

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use crate::console::{Console, raw_stdout};
use crate::failure::{Code, Failure};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  larder completions bash > ~/.local/share/bash-completion/completions/larder
  larder completions zsh > ~/.zfunc/_larder
  larder completions fish > ~/.config/fish/completions/larder.fish")]
pub(crate) struct Arguments {
    /// bash, zsh, fish, elvish or powershell
    shell: Shell,
}

pub(crate) fn run(arguments: &Arguments, console: Console) -> Result<Code, Failure> {
    console.has_no_json("what is printed is a script of the shell's", "leave it out")?;
    let mut script = Vec::new();
    clap_complete::generate(
        arguments.shell,
        &mut crate::arguments::Arguments::command(),
        "larder",
        &mut script,
    );
    raw_stdout().write_all(&script)?;
    Ok(Code::Done)
}
