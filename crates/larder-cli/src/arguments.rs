//! What can be written on the command line.
//!
//! Not here: what a verb does (`commands`), which also has its arguments.

use std::ffi::OsString;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::num::NonZeroUsize;
use std::ops::Deref;
use std::path::PathBuf;

use clap::builder::styling::{AnsiColor, Styles};
use clap::error::{ContextKind, ContextValue};
use clap::{ArgMatches, Args, ColorChoice, Command, CommandFactory as _, FromArgMatches, Parser, Subcommand};

use crate::commands::{cache, completions, config, exec, gocache, init, man, plan, run, serve, tasks, why};
use crate::console::{NAME, styled, write_whole};

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

const EXIT_CODES: &str = "\
Exit codes:
  0    done
  1    a task failed, or what was asked about or named is damaged or not there
  2    the command line, the configuration or a task's definition is wrong
  3    larder itself failed, or could not write to stdout
  130  interrupted; 143 asked to end (TERM), 129 hung up (HUP)
  141  whoever read what the only task of a run prints has gone away
  `larder exec` ends with the exit code of its command: 124 if that took longer than --timeout, 126 if it could not be
  started, 127 if it was not found, and 128 and its number if a signal ended it.

LARDER_LOG=off|error|warn|info|debug|trace says which events are shown on stderr.";

/// Keeps what your tools compute.
///
/// A command runs once, its outputs and logs are kept, and it runs again only when something that it depended on
/// has changed.
#[derive(Debug, Parser)]
#[command(name = "larder", version, styles = STYLES, after_help = EXIT_CODES, max_term_width = 100)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

impl Arguments {
    /// What the command line of this process says. Ends the process where that is to print help or the version, or has a
    /// mistake in it.
    pub(crate) fn of_process() -> Self {
        let words: Vec<OsString> = std::env::args_os().collect();
        Self::of_verb(&words)
            .unwrap_or_else(|| Self::try_parse_from(words).unwrap_or_else(|error| refuse(&error)))
    }

    /// What a command line says that begins with a verb. The other verbs are left out, as each of them would be given all
    /// that every verb takes. `None` is for [`parse_from`](Parser::parse_from) to explain.
    fn of_verb(words: &[OsString]) -> Option<Self> {
        let verbs = Verb::augment_subcommands(Command::new("verbs"));
        let verb = verbs.find_subcommand(words.get(1)?)?.clone();
        let matches =
            Global::augment_args(Command::new("larder")).subcommand(verb).try_get_matches_from(words);
        Self::from_arg_matches(&matches.ok()?).ok()
    }
}

/// Ends the process with help, the version or a mistake. Whoever writes a task where a verb has to be is told of `run`.
fn refuse(error: &clap::Error) -> ! {
    // There is nobody left to tell that it can't be printed.
    let _ = error.print();
    if let (Some(ContextValue::String(word)), None) =
        (error.get(ContextKind::InvalidSubcommand), error.get(ContextKind::SuggestedSubcommand))
    {
        let hint = format!("\n{} `larder run {word}` runs the task `{word}`\n", styled(NAME, "hint:"));
        let _ = write_whole(std::io::stderr().lock(), hint.as_bytes());
    }
    std::process::exit(error.exit_code())
}

/// An address and a port, where the address may be a name such as `localhost`; of several that it has, an IPv4 one, as
/// what is said of loopback elsewhere is 127.0.0.1. Blocks while a name is looked up.
pub(crate) fn address(text: &str) -> Result<SocketAddr, String> {
    let found = text.to_socket_addrs().map_err(|error| error.to_string())?;
    found.min_by_key(SocketAddr::is_ipv6).ok_or_else(|| "the name has no address".to_owned())
}

/// A number that is not 0.
pub(crate) fn from_one(text: &str) -> Result<NonZeroUsize, &'static str> {
    text.parse().map_err(|_| "a number from 1 on is expected")
}

/// The variables that stand for flags of any verb.
pub(crate) fn variables() -> Vec<String> {
    fn add_those_of(command: &Command, variables: &mut Vec<String>) {
        let named = command.get_arguments().filter_map(|argument| argument.get_env());
        variables.extend(named.map(|name| name.to_string_lossy().into_owned()));
        command.get_subcommands().for_each(|command| add_those_of(command, variables));
    }
    let mut command = Arguments::command();
    command.build();
    let mut variables = Vec::new();
    add_those_of(&command, &mut variables);
    variables
}

/// What every verb takes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Everywhere")]
pub(crate) struct Global {
    /// Where the cache lives; otherwise the setting `dir`
    #[arg(long, global = true, value_name = "PATH")]
    pub(crate) dir: Option<String>,
    /// Assign a setting, such as disk.budget="20 GiB"; see `larder config show`
    #[arg(long, global = true, value_name = "SETTING=VALUE")]
    pub(crate) set: Vec<String>,
    /// The user's configuration file; otherwise larder/config.toml below the configuration directory
    #[arg(long, global = true, value_name = "FILE", env = "LARDER_CONFIG", hide_env_values = true)]
    pub(crate) config: Option<PathBuf>,
    /// Act as if started in this directory
    #[arg(short = 'C', long = "directory", global = true, value_name = "PATH")]
    pub(crate) directory: Option<PathBuf>,
    /// Print one JSON document instead of text for people; with --watch one a line
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// When to use colours
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        default_value = "auto",
        env = "LARDER_COLOR",
        hide_env_values = true
    )]
    pub(crate) color: ColorChoice,
    /// Print only what was asked for and errors
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// Print more
    #[arg(short, long, global = true, conflicts_with = "quiet")]
    pub(crate) verbose: bool,
}

/// The arguments of a verb, which are defined only when that verb is meant: each costs time that the others need not
/// spend.
#[derive(Debug)]
pub(crate) struct Later<A>(A);

impl<A> Deref for Later<A> {
    type Target = A;

    fn deref(&self) -> &A {
        &self.0
    }
}

impl<A: Args> Args for Later<A> {
    fn augment_args(command: Command) -> Command {
        command.defer(A::augment_args)
    }

    fn augment_args_for_update(command: Command) -> Command {
        command.defer(A::augment_args_for_update)
    }
}

impl<A: FromArgMatches> FromArgMatches for Later<A> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        A::from_arg_matches(matches).map(Self)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.0.update_from_arg_matches(matches)
    }
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Run tasks, or give back what they made when nothing that they depend on has changed
    Run(Later<run::Arguments>),
    /// Run a command, or give back what it made when nothing that it depends on has changed
    Exec(Later<exec::Arguments>),
    /// Tell why a task would run or not: its key part by part, against the nearest earlier result
    Why(Later<why::Arguments>),
    /// List the tasks of the workspace
    Tasks(Later<tasks::Arguments>),
    /// Show what an Ansible playbook would do, without asking any host
    Plan(Later<plan::Arguments>),
    /// Write a larder.toml from the package.json, Cargo.toml, Makefile and justfile that are here
    Init(Later<init::Arguments>),
    /// Serve the cache to other tools: Bazel, ccache, Gradle, Turborepo, Nx and others
    Serve(Later<serve::Arguments>),
    /// Keep what the go command builds: set GOCACHEPROG='larder gocache'
    Gocache(Later<gocache::Arguments>),
    /// Look at what is kept, take it out, put it in, remove it
    Cache(Later<cache::Arguments>),
    /// Show or check the settings of the cache
    Config(Later<config::Arguments>),
    /// Print completions for a shell
    Completions(Later<completions::Arguments>),
    /// Write manual pages, one for each verb, into a directory
    Man(Later<man::Arguments>),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verb_alone_says_what_it_says_among_all_verbs() {
        let lines = [
            "larder run build web#test --filter ...web -j 3 --continue --dir here --json",
            "larder run --force build -C elsewhere -v",
            "larder exec --input src -- cc -c main.c",
            "larder exec -- cc --json --quiet",
            "larder cache stats --json",
            "larder cache",
            "larder run",
            "larder run build --unknown",
            "larder run build -q -v",
            "larder run --help",
            "larder run build --color sometimes",
            "larder help run",
            "larder --quiet run build",
            "larder --version",
            "larder ru build",
            "larder",
        ];
        for line in lines {
            let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            let among_all = Arguments::try_parse_from(&words).ok().map(|said| format!("{said:?}"));
            let alone = Arguments::of_verb(&words).map(|said| format!("{said:?}"));
            let begins_otherwise = words.get(1).is_some_and(|word| word == "--quiet");
            assert_eq!(alone, among_all.filter(|_| !begins_otherwise), "{line}");
        }
    }
}
