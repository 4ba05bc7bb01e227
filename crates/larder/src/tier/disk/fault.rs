//! What can go wrong below the tier's boundary, and which of it means that the index is damaged.

use std::io;

use rusqlite::ErrorCode;

use crate::tier::TierError;

/// A failure inside the disk tier.
#[derive(Debug)]
pub(super) enum Fault {
    /// SQLite failed.
    Sql(rusqlite::Error),
    /// The file system failed.
    Io(io::Error),
    /// The index holds what nobody wrote. Says what.
    Damaged(&'static str),
    /// What the caller is to be told as it is.
    Tier(TierError),
}

impl Fault {
    /// Whether the index can't be trusted any more.
    pub(super) fn is_damage(&self) -> bool {
        use rusqlite::Error;
        match self {
            Self::Damaged(_) => true,
            Self::Io(_) | Self::Tier(_) => false,
            Self::Sql(error) => match error {
                // All statements are fixed and correct, so one that does not compile meets a damaged schema, and
                // a constraint that fails meets a damaged index.
                // So does a read beyond the end of a file.
                Error::SqliteFailure(error, _) => {
                    error.extended_code == rusqlite::ffi::SQLITE_IOERR_SHORT_READ
                        || matches!(
                            error.code,
                            ErrorCode::DatabaseCorrupt
                                | ErrorCode::NotADatabase
                                | ErrorCode::ConstraintViolation
                                | ErrorCode::TypeMismatch
                                | ErrorCode::Unknown
                        )
                }
                Error::SqlInputError { .. }
                | Error::FromSqlConversionFailure(..)
                | Error::IntegralValueOutOfRange(..)
                | Error::Utf8Error(..)
                | Error::QueryReturnedNoRows
                | Error::InvalidColumnType(..) => true,
                _ => false,
            },
        }
    }

    /// Whether nothing may be written where the index stands.
    pub(super) fn is_read_only(&self) -> bool {
        match self {
            Self::Io(error) => {
                matches!(error.kind(), io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied)
            }
            Self::Sql(error) => matches!(
                error.sqlite_error_code(),
                Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied)
            ),
            Self::Damaged(_) | Self::Tier(_) => false,
        }
    }
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<TierError> for Fault {
    fn from(error: TierError) -> Self {
        Self::Tier(error)
    }
}

impl From<Fault> for TierError {
    fn from(fault: Fault) -> Self {
        let kind = match &fault {
            Fault::Sql(error) => match error.sqlite_error_code() {
                Some(ErrorCode::DiskFull) => Some(io::ErrorKind::StorageFull),
                Some(ErrorCode::ReadOnly) => Some(io::ErrorKind::ReadOnlyFilesystem),
                Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Some(io::ErrorKind::TimedOut),
                Some(ErrorCode::SystemIoFailure | ErrorCode::CannotOpen) => Some(io::ErrorKind::Other),
                _ => None,
            },
            _ => None,
        };
        match (fault, kind) {
            (Fault::Sql(error), Some(kind)) => Self::Io(io::Error::new(kind, error)),
            (Fault::Sql(error), None) => Self::Index(Box::new(error)),
            (Fault::Io(error), _) => Self::Io(error),
            (Fault::Damaged(what), _) => Self::Index(format!("{what} is damaged").into()),
            (Fault::Tier(error), _) => error,
        }
    }
}
