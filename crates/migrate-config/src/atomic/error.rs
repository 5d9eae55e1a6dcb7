//! Why a file could not be read or written.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use migrate_core::StepError;

/// What sort of failure it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileErrorKind {
    /// There is no such file.
    Missing,
    /// The path leads, or would lead, out of the root.
    OutsideRoot,
    /// A directory, a device, or not text.
    NotAFile,
    /// It is larger than [`LARGEST`](super::LARGEST).
    TooLarge,
    /// The operating system refused: rights, space, a broken disk.
    Io,
}

/// A file operation that failed; the file is as it was before.
#[derive(Debug)]
pub struct FileError {
    /// What sort of failure.
    pub kind: FileErrorKind,
    /// The path as it was given.
    pub path: PathBuf,
    /// What failed: a lowercase fragment with the path in it.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
    source: Option<io::Error>,
}

impl FileError {
    pub(crate) fn io(what: &str, path: &Path, source: io::Error) -> Self {
        let missing = source.kind() == io::ErrorKind::NotFound;
        Self {
            kind: if missing {
                FileErrorKind::Missing
            } else {
                FileErrorKind::Io
            },
            path: path.to_owned(),
            message: format!("{what} {}", path.display()),
            hint: None,
            source: Some(source),
        }
    }

    pub(crate) fn outside(path: &Path, why: &str) -> Self {
        Self::plain(
            FileErrorKind::OutsideRoot,
            path,
            format!("{}: {why}", path.display()),
        )
        .with_hint(
            "only files below the deployment's root are touched; name one by its path from there",
        )
    }

    pub(crate) fn not_a_file(path: &Path) -> Self {
        let message = format!("{} is not a regular file", path.display());
        Self::plain(FileErrorKind::NotAFile, path, message)
    }

    pub(crate) fn too_large(path: &Path, error: &io::Error) -> Self {
        let message = format!("{} {error}", path.display());
        Self::plain(FileErrorKind::TooLarge, path, message)
            .with_hint("take out of the file what is no setting, or split it")
    }

    pub(crate) fn not_text(path: &Path, error: &std::str::Utf8Error) -> Self {
        let message = format!(
            "{} is not UTF-8 text: byte {} does not fit",
            path.display(),
            error.valid_up_to() + 1
        );
        Self::plain(FileErrorKind::NotAFile, path, message).with_hint("save the file as UTF-8")
    }

    pub(crate) fn plain(kind: FileErrorKind, path: &Path, message: String) -> Self {
        Self {
            kind,
            path: path.to_owned(),
            message,
            hint: None,
            source: None,
        }
    }

    pub(crate) fn with_hint(mut self, hint: &str) -> Self {
        self.hint = Some(hint.to_owned());
        self
    }

    /// The same as the error of a step.
    pub fn into_step_error(self) -> StepError {
        let mut error = StepError::failed(self.message);
        if let Some(source) = self.source {
            error = error.cause(source.to_string());
        }
        if let Some(hint) = self.hint {
            error = error.hint(hint);
        }
        error
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if let Some(source) = &self.source {
            write!(f, ": {source}")?;
        }
        Ok(())
    }
}

impl std::error::Error for FileError {}

impl From<FileError> for StepError {
    fn from(error: FileError) -> Self {
        error.into_step_error()
    }
}
