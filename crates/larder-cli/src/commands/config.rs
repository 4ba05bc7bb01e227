//! `larder config`: the settings of the cache.

use std::io::Write as _;
use std::path::Path;

use anyhow::{Result, anyhow};
use clap::{Args, Subcommand};
use larder::config::{Amount, Machine, Row, SETTINGS, Settings};
use serde::Serialize;

use crate::arguments::Global;
use crate::configuration;
use crate::console::{Console, FAINT, GOOD, NAME, rounded, stdout, styled};
use crate::failure::{Code, Failure};
use crate::store;
use crate::surroundings::Surroundings;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  larder config show --origin
  larder config validate")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Print each setting and its value
    #[command(after_help = "\
Examples:
  larder config show
  larder config show --origin
  larder config show disk.budget
  LARDER_DISK_BUDGET='1 GiB' larder config show --origin disk")]
    Show {
        /// Only settings that are this or begin with it
        setting: Option<String>,
        /// Print also where each value comes from
        #[arg(long)]
        origin: bool,
    },
    /// Check all layers, with URLs and the files that settings name, and connect to nothing
    #[command(after_help = "\
Examples:
  larder config validate
  larder config validate --config ci.toml && echo right")]
    Validate,
}

#[derive(Serialize)]
struct Shown<'a> {
    setting: &'a str,
    value: &'a str,
    origin: String,
}

pub(crate) fn run(arguments: &Arguments, global: &Global, console: Console) -> Result<Code, Failure> {
    let root = configuration::project_root(&Surroundings::look()?.current);
    let config = configuration::load(global, root.as_deref())?;
    let (wanted, origin) = match &arguments.action {
        Action::Show { setting, origin } => (setting.as_deref().unwrap_or_default(), *origin),
        Action::Validate => {
            drop(store::shared(&config)?);
            if console.json {
                console.json(&serde_json::json!({ "valid": true }))?;
                return Ok(Code::Done);
            }
            console.note(format_args!("{} the configuration is right", styled(GOOD, "ok:")));
            return Ok(Code::Done);
        }
    };
    let is_wanted = |name: &str| {
        wanted.is_empty()
            || name.strip_prefix(wanted).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    if !SETTINGS.iter().any(|setting| is_wanted(setting.name))
        && !config.rows().iter().any(|row| is_wanted(&row.name))
    {
        let error = anyhow!("there is no setting {wanted:?}");
        return Err(Failure::usage(error).hint("`larder config show` lists all settings"));
    }
    let mut rows = config.rows();
    rows.retain(|row| is_wanted(&row.name));
    if console.json {
        let shown: Vec<Shown<'_>> = rows
            .iter()
            .map(|row| Shown { setting: &row.name, value: &row.value, origin: row.origin.to_string() })
            .collect();
        console.json(&shown)?;
    } else {
        print(&rows, config.settings(), origin)?;
    }
    Ok(Code::Done)
}

/// One line for each setting, in columns.
fn print(rows: &[Row], settings: &Settings, origin: bool) -> Result<()> {
    let machine = Machine::probe(Path::new("/"));
    let values: Vec<String> = rows.iter().map(|row| value(row, settings, &machine)).collect();
    let name_width = rows.iter().map(|row| row.name.chars().count()).max().unwrap_or_default();
    let value_width = values.iter().map(|value| value.chars().count()).max().unwrap_or_default();
    let mut out = stdout();
    for (row, value) in rows.iter().zip(&values) {
        let name = styled(NAME, format!("{:name_width$}", row.name));
        if origin {
            writeln!(out, "{name}  {value:value_width$}  {}", styled(FAINT, &row.origin))?;
        } else {
            writeln!(out, "{name}  {value}")?;
        }
    }
    Ok(())
}

/// The value, and what it comes to on this machine if it goes by that.
fn value(row: &Row, settings: &Settings, machine: &Machine) -> String {
    match row.name.as_str() {
        "memory.budget" if !matches!(settings.memory.budget, Some(Amount::Bytes(_))) => {
            format!("{} ({} here)", row.value, rounded(settings.memory.budget_on(machine)))
        }
        "jobs" if settings.jobs.is_none() => format!("{} ({} here)", row.value, machine.processors),
        _ => row.value.clone(),
    }
}
