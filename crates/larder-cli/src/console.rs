//! Printing: what goes where, with colours only where somebody sees them.
//!
//! Results go to stdout, everything about how it went to stderr. A reader that has gone away is no failure: see
//! [`Failure`](crate::failure::Failure).

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::time::Duration;

use anstream::AutoStream;
use anstream::adapter::{strip_bytes, strip_str};
use anstream::stream::RawStream;
use anyhow::{Context as _, Result, anyhow};
use clap::ColorChoice;
use clap::builder::styling::{AnsiColor, Style};
use larder::config::ByteSize;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use serde::Serialize;

use crate::arguments::Global;
use crate::failure::Failure;

/// Bold green.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default().bold();
/// Bold red.
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();
/// Bold yellow.
pub(crate) const WARNING: Style = AnsiColor::Yellow.on_default().bold();
/// Cyan.
pub(crate) const NAME: Style = AnsiColor::Cyan.on_default();
/// Faint.
pub(crate) const FAINT: Style = Style::new().dimmed();

/// How the user wants it printed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Console {
    pub(crate) json: bool,
    /// Whether there may be several documents, and each has a line of its own.
    pub(crate) lines: bool,
    pub(crate) quiet: bool,
    pub(crate) verbose: bool,
}

impl Console {
    /// Settles for the whole process whether there are colours.
    pub(crate) fn new(global: &Global) -> Self {
        let choice = match global.color {
            ColorChoice::Auto => anstream::ColorChoice::Auto,
            ColorChoice::Always => anstream::ColorChoice::Always,
            ColorChoice::Never => anstream::ColorChoice::Never,
        };
        choice.write_global();
        Self { json: global.json, lines: false, quiet: global.quiet, verbose: global.verbose }
    }

    /// Prints a result as JSON.
    pub(crate) fn json(self, value: &impl Serialize) -> Result<()> {
        Ok(stdout().write_all(&self.as_json(value)?)?)
    }

    /// A document as it is printed.
    pub(crate) fn as_json(self, value: &impl Serialize) -> Result<Vec<u8>> {
        let text = if self.lines { serde_json::to_vec(value) } else { serde_json::to_vec_pretty(value) };
        let mut text = text.context("cannot write JSON")?;
        text.push(b'\n');
        Ok(text)
    }

    /// Refuses `--json` where what is printed has a form of its own.
    pub(crate) fn has_no_json(self, why: &'static str, hint: &str) -> Result<(), Failure> {
        match self.json {
            false => Ok(()),
            true => Err(Failure::usage(anyhow!("--json: {why}")).hint(hint)),
        }
    }

    /// Tells how it goes, unless the user wants quiet.
    pub(crate) fn note(self, text: std::fmt::Arguments<'_>) {
        if !self.quiet {
            // Nobody is there to be told that stderr is closed.
            let _ = write_whole(io::stderr().lock(), format!("{text}\n").as_bytes());
        }
    }
}

/// Writes to a stream, with colours if it is to have them, by as few calls as may be. One that takes colours away by itself
/// writes each piece between them on its own, and other processes' lines come in between.
pub(crate) fn write_whole(mut to: impl RawStream, text: &[u8]) -> io::Result<()> {
    match AutoStream::choice(&to) {
        anstream::ColorChoice::Never => to.write_all(&strip_bytes(text).into_vec()),
        _ => to.write_all(text),
    }
}

/// Where results go, without colours if it is to have none. What is wrong with it says that it is stdout.
pub(crate) fn stdout() -> impl Write {
    Stdout(anstream::stdout())
}

/// Where results go that are no text, every byte as it is.
pub(crate) fn raw_stdout() -> impl Write {
    Stdout(io::stdout())
}

struct Stdout<W>(W);

#[derive(Debug, thiserror::Error)]
#[error("cannot write to stdout")]
struct Unwritten(#[source] io::Error);

impl<W: Write> Write for Stdout<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes).map_err(unwritten)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush().map_err(unwritten)
    }
}

fn unwritten(error: io::Error) -> io::Error {
    io::Error::new(error.kind(), Unwritten(error))
}

/// `text` as it goes to a stream: without colours if that is to have none.
pub(crate) fn seen_on(to: &impl RawStream, text: &str) -> String {
    match AutoStream::choice(to) {
        anstream::ColorChoice::Never => strip_str(text).to_string(),
        _ => text.to_owned(),
    }
}

/// Writes what is not ours, every byte as it is. Waits where the other end does not take it yet.
pub(crate) fn write_bytes(mut to: impl Write + AsFd, mut bytes: &[u8]) -> io::Result<()> {
    to.flush()?;
    while !bytes.is_empty() {
        match rustix::io::write(&to, bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(Errno::INTR) => {}
            // Whoever else has the stream open has made it one that does not wait.
            Err(Errno::AGAIN) => {
                let _ = poll(&mut [PollFd::new(&to, PollFlags::OUT)], None);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// `text` in a style.
pub(crate) fn styled(style: Style, text: impl std::fmt::Display) -> String {
    format!("{style}{text}{style:#}")
}

/// A size as people read it: three digits and a binary unit.
pub(crate) fn rounded(size: ByteSize) -> String {
    let (mut value, mut unit) = (size.0 as f64, "B");
    for larger in ["KiB", "MiB", "GiB", "TiB", "PiB"] {
        if value < 999.5 {
            break;
        }
        (value, unit) = (value / 1024.0, larger);
    }
    let digits = if unit == "B" || value >= 99.95 {
        0
    } else if value >= 9.995 {
        1
    } else {
        2
    };
    format!("{value:.digits$} {unit}")
}

/// A number with its noun: `1 entry`, `1,204 entries`.
pub(crate) fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", grouped(number), if number == 1 { one } else { many })
}

/// A number with a comma between thousands.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// How long something took: three digits and a unit, minutes and hours as people say them.
pub(crate) fn brief(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    // Each bound is where rounding would need a fourth digit.
    let forms: [(f64, &str, f64, usize); 6] = [
        (0.000_999_5, "µs", 1e6, 0),
        (0.009_995, "ms", 1e3, 2),
        (0.099_95, "ms", 1e3, 1),
        (0.9995, "ms", 1e3, 0),
        (9.995, "s", 1.0, 2),
        (59.95, "s", 1.0, 1),
    ];
    if let Some((_, unit, scale, digits)) = forms.into_iter().find(|(bound, ..)| seconds < *bound) {
        return format!("{:.digits$} {unit}", seconds * scale);
    }
    let seconds = seconds.round() as u64;
    match seconds / 3600 {
        0 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        hours => format!("{hours} h {:02} min", seconds % 3600 / 60),
    }
}

/// How long ago something was, in one unit.
pub(crate) fn ago(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (number, unit) = match seconds {
        0 => return "just now".to_owned(),
        1..60 => (seconds, "s"),
        60..3_600 => (seconds / 60, "min"),
        3_600..86_400 => (seconds / 3_600, "h"),
        _ => (seconds / 86_400, "d"),
    };
    format!("{number} {unit} ago")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_three_digits() {
        for (bytes, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "0.98 KiB"),
            (10_240, "10.0 KiB"),
            (102_400, "100 KiB"),
            (1 << 30, "1.00 GiB"),
            (u64::MAX, "16384 PiB"),
        ] {
            assert_eq!(rounded(ByteSize(bytes)), text);
        }
    }

    #[test]
    fn times_have_three_digits_up_to_a_minute() {
        for (micros, text) in [
            (7, "7 µs"),
            (999, "999 µs"),
            (1_000, "1.00 ms"),
            (9_999, "10.0 ms"),
            (123_456, "123 ms"),
            (999_900, "1.00 s"),
            (59_000_000, "59.0 s"),
            (59_990_000, "1 min 00 s"),
            (3_599_900_000, "1 h 00 min"),
        ] {
            assert_eq!(brief(Duration::from_micros(micros)), text);
        }
        assert_eq!(ago(Duration::from_millis(900)), "just now");
        assert_eq!(ago(Duration::from_secs(7_300)), "2 h ago");
    }

    #[test]
    fn thousands_are_told_apart() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(
            [counted(1, "entry", "entries"), counted(0, "entry", "entries")],
            ["1 entry", "0 entries"]
        );
    }
}
