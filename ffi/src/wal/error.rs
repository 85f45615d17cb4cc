//! What can go wrong with a log.

use std::io;
use std::path::{Path, PathBuf};

use crate::status::{Status, status_of_io};

/// One failed log operation.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WalError {
    #[error("{verb} {}: {source}", path.display())]
    Io {
        verb: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error("{}: disk full; the log was cut back to its durable end", path.display())]
    NoSpace { path: PathBuf },
    #[error("{} at {position}: {reason}", file.display())]
    Corrupt {
        file: PathBuf,
        position: u64,
        reason: String,
    },
    #[error("{}: {what} version {found}, this build reads up to {known}", file.display())]
    UnknownVersion {
        file: PathBuf,
        what: &'static str,
        found: u64,
        known: u64,
    },
    #[error("{0}")]
    OutOfRange(String),
    #[error("{0}")]
    Damaged(String),
    #[error("{0}")]
    TooLarge(String),
    #[error("{0}")]
    Invalid(String),
    #[error("the engine is poisoned: {0}")]
    Poisoned(String),
    #[error("{0}")]
    Exists(String),
    #[error("the log is closed")]
    Closed,
}

impl WalError {
    /// An operating-system error with what was being done to what.
    pub fn io(verb: &'static str, path: &Path, source: io::Error) -> Self {
        WalError::Io {
            verb,
            path: path.to_owned(),
            source,
        }
    }

    /// The code that crosses the boundary.
    pub fn status(&self) -> Status {
        match self {
            WalError::Io { source, .. } => status_of_io(source),
            WalError::NoSpace { .. } => Status::NoSpace,
            WalError::Corrupt { .. } => Status::Corrupt,
            WalError::UnknownVersion { .. } => Status::UnknownVersion,
            WalError::OutOfRange(_) => Status::OutOfRange,
            WalError::Damaged(_) => Status::Damaged,
            WalError::TooLarge(_) => Status::TooLarge,
            WalError::Invalid(_) => Status::InvalidArgument,
            WalError::Poisoned(_) => Status::Poisoned,
            WalError::Exists(_) => Status::Exists,
            WalError::Closed => Status::Closed,
        }
    }
}
