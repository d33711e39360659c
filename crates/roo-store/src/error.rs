//! What can go wrong with a data directory, each as one clear line for the operator.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;

/// A failure of the store. Cheap to clone, because a poisoned log writer repeats its first one.
#[derive(Clone, Debug, Error)]
pub enum StoreError {
    /// The operating system refused: environment failed.
    #[error("{op} {}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What was attempted, as a verb ("write", "sync").
        op: &'static str,
        /// The operating system's answer.
        source: Arc<io::Error>,
    },
    /// A file does not hold what it must; starting from it could lose or alter data.
    #[error("{} is damaged at byte {offset}: {what}; {advice}", file.display())]
    Corrupt {
        /// The damaged file.
        file: PathBuf,
        /// Byte offset in it (of the uncompressed stream for compressed snapshots).
        offset: u64,
        /// What is wrong there.
        what: String,
        /// The way out.
        advice: String,
    },
    /// Another process holds the directory.
    #[error("{} is locked by another running server; {advice}", path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// The way out.
        advice: String,
    },
    /// Directories or small files are missing, mixed up, unwritable or nonsense.
    #[error("{}: {what}; {advice}", path.display())]
    Layout {
        /// The directory or file.
        path: PathBuf,
        /// What is wrong.
        what: String,
        /// The way out.
        advice: String,
    },
}

impl StoreError {
    pub(crate) fn layout(path: &Path, what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::Layout {
            path: path.to_path_buf(),
            what: what.into(),
            advice: advice.into(),
        }
    }

    /// Whether this is damage in a file, as opposed to a refusal of the environment.
    #[must_use]
    pub const fn is_corrupt(&self) -> bool {
        matches!(self, Self::Corrupt { .. })
    }

    /// Whether a file was not there (any more).
    #[must_use]
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

/// Turns an `io::Error` into a [`StoreError::Io`] that says where and at what.
pub(crate) trait IoContext<T> {
    fn at(self, op: &'static str, path: &Path) -> Result<T, StoreError>;
}

impl<T> IoContext<T> for io::Result<T> {
    fn at(self, op: &'static str, path: &Path) -> Result<T, StoreError> {
        self.map_err(|source| StoreError::Io {
            path: path.to_path_buf(),
            op,
            source: Arc::new(source),
        })
    }
}
