//! The directory that everything stays below.

use std::io;
use std::path::{Component, Path, PathBuf};

use super::error::FileError;

/// An existing directory, by its canonical path. Relative paths are resolved below it only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root(PathBuf);

impl Root {
    /// Opens a directory as a root.
    ///
    /// # Errors
    /// It does not exist, can't be looked at, or is not a directory.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, FileError> {
        let given = path.as_ref();
        let path = given
            .canonicalize()
            .map_err(|e| FileError::io("can't open the directory", given, e))?;
        if !path.is_dir() {
            let not_one = io::Error::from(io::ErrorKind::NotADirectory);
            return Err(FileError::io("can't open the directory", given, not_one));
        }
        Ok(Self(path))
    }

    /// Its canonical path.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The real path of a file that may not exist yet. Symlinks are followed as long as they
    /// stay below the root.
    ///
    /// # Errors
    /// The path is absolute, has `..`, leads out of the root, or through a broken symlink.
    pub fn resolve(&self, relative: &Path) -> Result<PathBuf, FileError> {
        let parts = normal_parts(relative)?;
        let mut real = self.0.clone();
        for part in parts {
            let next = real.join(part);
            real = match next.symlink_metadata() {
                Ok(_) => self.follow(relative, &next)?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => next,
                Err(error) => return Err(FileError::io("can't look at", relative, error)),
            };
        }
        Ok(real)
    }

    fn follow(&self, relative: &Path, path: &Path) -> Result<PathBuf, FileError> {
        let real = path.canonicalize().map_err(|error| {
            if error.kind() == io::ErrorKind::NotFound {
                FileError::outside(relative, "a symlink on this path leads nowhere")
            } else {
                FileError::io("can't follow", relative, error)
            }
        })?;
        if real.starts_with(&self.0) {
            Ok(real)
        } else {
            Err(FileError::outside(
                relative,
                "a symlink on this path leads out of the root",
            ))
        }
    }
}

fn normal_parts(relative: &Path) -> Result<Vec<&std::ffi::OsStr>, FileError> {
    let mut parts = Vec::new();
    for component in relative.components() {
        match component {
            Component::Normal(part) => parts.push(part),
            Component::CurDir => {}
            Component::ParentDir => {
                return Err(FileError::outside(relative, "the path has '..' in it"));
            }
            Component::RootDir | Component::Prefix(_) => {
                return Err(FileError::outside(relative, "the path is absolute"));
            }
        }
    }
    if parts.is_empty() {
        return Err(FileError::outside(relative, "the path names no file"));
    }
    Ok(parts)
}
