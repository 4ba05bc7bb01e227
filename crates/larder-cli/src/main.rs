//! The program `larder`.
//!
//! This crate is the only one that prints, the only one that reads the home directory, and the only one that
//! knows of exit codes. Each verb is a file in `commands`.

mod arguments;
mod commands;
mod configuration;
mod console;
mod events;
mod failure;
mod metrics;
mod notices;
mod progress;
mod signals;
mod store;
mod surroundings;
mod tasks;

use std::io::{self, Write as _};
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = arguments::Arguments::of_process();
    let console = console::Console::new(&arguments.global);
    // What is still to be written is known to be lost only then.
    let written = |code| match console::stdout().flush() {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(code),
    };
    let shown = events::show(console);
    match shown.and_then(|()| commands::run(&arguments, &console)).and_then(written) {
        Ok(code) => code.into(),
        Err(failure) => failure.report(),
    }
}
