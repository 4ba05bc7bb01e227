//! Events of the engine that a user should see: what went wrong without failing anybody.
//!
//! Not here: spans and events for exporters; whoever embeds the engine has a subscriber of its own.

use std::fmt::{self, Write as _};
use std::str::FromStr as _;

use anyhow::anyhow;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use crate::console::{BAD, Console, FAINT, WARNING, styled, write_whole};
use crate::failure::Failure;

/// The variable that says down to which level events are shown: error, warn, info, debug or trace.
pub(crate) const VARIABLE: &str = "LARDER_LOG";

/// The values of [`VARIABLE`].
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// Shows events from now on: warnings, with `--verbose` all that matters, or what [`VARIABLE`] says.
pub(crate) fn show(console: Console) -> Result<(), Failure> {
    let usual = match (console.quiet, console.verbose) {
        (true, _) => LevelFilter::ERROR,
        (_, true) => LevelFilter::INFO,
        _ => LevelFilter::WARN,
    };
    let wanted = match std::env::var_os(VARIABLE).filter(|level| !level.is_empty()) {
        None => None,
        Some(level) => {
            let level = level.to_string_lossy();
            let known = LEVELS.iter().find(|known| known.eq_ignore_ascii_case(&level));
            let Some(known) = known else {
                let values = LEVELS.join(", ");
                return Err(Failure::usage(anyhow!("{VARIABLE}: {level:?} is none of {values}")));
            };
            LevelFilter::from_str(known).ok()
        }
    };
    // It is set once, before anything happens, so it cannot be set already.
    let _ = tracing::subscriber::set_global_default(Printer { level: wanted.unwrap_or(usual) });
    Ok(())
}

/// Prints events; spans are not shown.
struct Printer {
    level: LevelFilter,
}

impl Subscriber for Printer {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && *metadata.level() <= self.level
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.level)
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        // All spans are disabled, so this one number is never told apart from another.
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut words = Words::default();
        event.record(&mut words);
        let level = match *event.metadata().level() {
            Level::ERROR => styled(BAD, "error:"),
            Level::WARN => styled(WARNING, "warning:"),
            level => styled(FAINT, format!("{}:", level.as_str().to_lowercase())),
        };
        // A selector's text separates its parts by a control character.
        let text = format!("{}{}", words.message, words.fields).replace(char::is_control, " ");
        let _ = write_whole(std::io::stderr().lock(), format!("{level} {text}\n").as_bytes());
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// An event's fields as text: the message first, errors with their causes.
#[derive(Default)]
struct Words {
    message: String,
    fields: String,
}

impl Visit for Words {
    fn record_error(&mut self, field: &Field, error: &(dyn std::error::Error + 'static)) {
        let causes = std::iter::successors(Some(error), |error| error.source());
        let causes: Vec<String> = causes.map(ToString::to_string).collect();
        self.add(field, format_args!("{}", causes.join(": ")));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, format_args!("{value:?}"));
    }
}

impl Words {
    fn add(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        // Writing into a String does not fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value}"),
            "error" => write!(self.fields, ": {value}"),
            name => write!(self.fields, ", {name} {value}"),
        };
    }
}
