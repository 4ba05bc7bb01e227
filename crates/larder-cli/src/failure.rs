//! Failures as the user meets them: a message, perhaps a hint, and an exit code.

use std::fmt;
use std::io;
use std::process::ExitCode;

use crate::console::{BAD, NAME, styled, write_whole};

/// How the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    /// Done.
    Done,
    /// A task failed, or what was asked about is damaged or not there.
    Failed,
    /// The command line, the configuration or a definition is wrong.
    Usage,
    /// Larder itself failed.
    Broken,
    /// As a command or a signal says.
    Of(u8),
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> Self {
        match code {
            Code::Done => Self::SUCCESS,
            Code::Failed => Self::from(1),
            Code::Usage => Self::from(2),
            Code::Broken => Self::from(3),
            Code::Of(code) => Self::from(code),
        }
    }
}

/// Why a verb did not do what was asked.
#[derive(Debug)]
pub(crate) struct Failure {
    code: Code,
    error: anyhow::Error,
    hint: Option<String>,
    /// More lines below the message, as they are.
    details: String,
}

impl Failure {
    /// What was asked about is not as it should be.
    pub(crate) fn failed(error: impl Into<anyhow::Error>) -> Self {
        Self { code: Code::Failed, ..Self::from(error.into()) }
    }

    /// A mistake of the user's.
    pub(crate) fn usage(error: impl Into<anyhow::Error>) -> Self {
        Self { code: Code::Usage, ..Self::from(error.into()) }
    }

    /// How the process ends if it ends with this.
    pub(crate) fn code(&self) -> Code {
        self.code
    }

    /// Adds what to do about it.
    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// Adds lines below the message.
    pub(crate) fn details(self, details: String) -> Self {
        Self { details, ..self }
    }

    /// Prints it and returns the exit code.
    pub(crate) fn report(&self) -> ExitCode {
        let gone = |error: &(dyn std::error::Error + 'static)| {
            let io = error.downcast_ref::<io::Error>();
            io.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
                || error
                    .downcast_ref::<serde_json::Error>()
                    .is_some_and(|error| error.io_error_kind() == Some(io::ErrorKind::BrokenPipe))
        };
        // Whoever read our output has seen enough, as in `larder config show | head -1`.
        if self.error.chain().any(gone) {
            return ExitCode::SUCCESS;
        }
        let mut text = format!("{} {:#}\n{}", styled(BAD, "error:"), self.error, self.details);
        if let Some(hint) = &self.hint {
            text += &format!("{} {hint}\n", styled(NAME, "hint:"));
        }
        // There is nobody left to tell that stderr is closed.
        let _ = write_whole(io::stderr().lock(), text.as_bytes());
        self.code.into()
    }
}

/// The message alone.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#}", self.error)
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self { code: Code::Broken, error, hint: None, details: String::new() }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        anyhow::Error::from(error).into()
    }
}
