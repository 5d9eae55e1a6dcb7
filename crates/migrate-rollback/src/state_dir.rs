//! The deployment's own directory, `.etlrs-migrate`, where the journal and the lock live.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Its name below the root.
pub const STATE_DIR: &str = ".etlrs-migrate";

/// Where the directory of a deployment is; it need not exist.
pub fn path(root: &Path) -> PathBuf {
    root.join(STATE_DIR)
}

/// Makes the directory, for its owner alone, and its name durable. Idempotent.
///
/// # Errors
/// Those of the file system: the root is missing, or may not be written; or there is a link of
/// that name, whose target would be made private.
pub fn ensure(root: &Path) -> io::Result<PathBuf> {
    let dir = path(root);
    if dir.is_symlink() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!(
                "{} is a symbolic link, which is not followed; it must be a directory",
                dir.display()
            ),
        ));
    }
    private_dir(root, &dir)
}

/// Refuses a file of ours that is a link, a FIFO or a device. One that does not exist is fine.
///
/// # Errors
/// [`io::ErrorKind::InvalidInput`] with what it is and what to do.
pub(crate) fn refuse_special(path: &Path) -> io::Result<()> {
    let Ok(about) = fs::symlink_metadata(path) else {
        return Ok(());
    };
    let what = match about.file_type() {
        kind if kind.is_file() => return Ok(()),
        kind if kind.is_symlink() => "a symbolic link, which is not followed",
        kind if kind.is_dir() => "a directory",
        _ => "a FIFO, a socket or a device",
    };
    Err(io::Error::new(
        io::ErrorKind::InvalidInput,
        format!(
            "{} is {what}; it must be a regular file that this tool made: look who put it there, then remove it",
            path.display()
        ),
    ))
}

/// Makes `dir` below `parent` with mode 0700 and syncs `parent`, so that a crash can't
/// lose the name. A directory that is there already is made private, not replaced.
pub(crate) fn private_dir(parent: &Path, dir: &Path) -> io::Result<PathBuf> {
    match DirBuilder::new().mode(0o700).create(dir) {
        Ok(()) => File::open(parent)?.sync_all()?,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let meta = fs::metadata(dir)?;
            if !meta.is_dir() {
                return Err(io::Error::new(
                    io::ErrorKind::NotADirectory,
                    format!("{} is not a directory", dir.display()),
                ));
            }
        }
        Err(error) => return Err(error),
    }
    let meta = fs::metadata(dir)?;
    if meta.permissions().mode() & 0o077 != 0 {
        fs::set_permissions(dir, fs::Permissions::from_mode(0o700))?;
    }
    Ok(dir.to_owned())
}
