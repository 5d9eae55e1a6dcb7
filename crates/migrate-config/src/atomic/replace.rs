//! Write beside, make durable, rename over.

use std::fs::{self, File, Metadata};
use std::io::{self, Write as _};
use std::path::Path;

use super::error::FileError;
use super::root::Root;

/// Who may read a file that did not exist before. A file that exists keeps its mode and owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NewFile {
    /// Its owner only: mode 0600.
    Private,
    /// As the process's umask says.
    Shared,
    /// Exactly this mode.
    Mode(u32),
}

/// Replaces or makes a file below the root; a new one as [`NewFile::Shared`].
///
/// The bytes are written to a file in the same directory and made durable, then renamed over
/// the old one; mode and owner stay, a symlink stays and its target (below the root) is
/// replaced. When this fails or the process dies, the file is as it was.
/// Missing directories below the root are made.
///
/// # Errors
/// See [`FileError`]; nothing was changed.
pub fn write_atomic(root: &Root, relative: &Path, bytes: &[u8]) -> Result<(), FileError> {
    write_atomic_as(root, relative, bytes, NewFile::Shared)
}

/// As [`write_atomic`], with the mode of a file that did not exist.
///
/// # Errors
/// See [`FileError`]; nothing was changed.
pub fn write_atomic_as(
    root: &Root,
    relative: &Path,
    bytes: &[u8],
    new: NewFile,
) -> Result<(), FileError> {
    let target = root.resolve(relative)?;
    let fail = |error| FileError::io("can't write", relative, error);
    let old = match fs::metadata(&target) {
        Ok(metadata) if metadata.is_file() => Some(metadata),
        Ok(_) => return Err(FileError::not_a_file(relative)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(fail(error)),
    };
    let directory = target.parent().expect("a path below a root has a parent");
    make_directories(root, directory).map_err(fail)?;
    remove_leftovers(directory, &target);
    replace(directory, &target, bytes, old.as_ref(), new).map_err(|error| {
        let error = fail(error);
        match old {
            Some(_) => error.with_hint("the old file is untouched; it needs space and the right to write in its directory and to keep its owner"),
            None => error,
        }
    })
}

/// Whether this user may replace a file below the root, as its directory's rights say. Writes nothing.
///
/// # Errors
/// It may not, with the directory; or the path leaves the root.
pub fn may_replace(root: &Root, relative: &Path) -> Result<(), FileError> {
    let target = root.resolve(relative)?;
    let directory = target.parent().expect("a path below a root has a parent");
    #[cfg(unix)]
    {
        use nix::unistd::{AccessFlags, access};
        access(directory, AccessFlags::W_OK | AccessFlags::X_OK).map_err(|error| {
            let error = FileError::io("can't be replaced:", relative, error.into());
            error.with_hint("let this user write in its directory")
        })?;
    }
    Ok(())
}

/// The permission bits of a file below the root.
///
/// # Errors
/// There is none, or it lies outside.
pub fn mode_of(root: &Root, relative: &Path) -> Result<u32, FileError> {
    let path = root.resolve(relative)?;
    let metadata = fs::metadata(path).map_err(|e| FileError::io("can't look at", relative, e))?;
    Ok(mode(&metadata))
}

fn replace(
    directory: &Path,
    target: &Path,
    bytes: &[u8],
    old: Option<&Metadata>,
    new: NewFile,
) -> io::Result<()> {
    let mut temporary = tempfile::Builder::new()
        .prefix(&temporary_prefix(target, std::process::id()))
        .suffix(".tmp")
        .permissions(permissions(new))
        .tempfile_in(directory)?;
    migrate_failpoint::hit!("file.write")?;
    temporary.write_all(bytes)?;
    match (old, new) {
        (Some(old), _) => keep_owner_and_mode(temporary.as_file(), old)?,
        (None, NewFile::Mode(mode)) => set_mode(temporary.as_file(), mode)?,
        (None, _) => {}
    }
    migrate_failpoint::hit!("file.sync")?;
    temporary.as_file().sync_all()?;
    migrate_failpoint::hit!("file.rename")?;
    temporary.persist(target).map_err(|error| error.error)?;
    migrate_failpoint::hit!("file.renamed")?;
    sync_directory(directory)
}

/// Makes what is missing, each made durable in its own parent.
fn make_directories(root: &Root, directory: &Path) -> io::Result<()> {
    if directory.is_dir() || directory == root.path() {
        return Ok(());
    }
    let parent = directory.parent().expect("it is below the root");
    make_directories(root, parent)?;
    match fs::create_dir(directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => sync_directory(parent),
    }
}

fn temporary_prefix(target: &Path, pid: u32) -> String {
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    format!(".{name}.etlrs-{pid}-")
}

/// Removes what a killed process of ours left beside the target. Best effort: a leftover hurts nobody.
fn remove_leftovers(directory: &Path, target: &Path) {
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    let prefix = format!(".{name}.etlrs-");
    let Ok(entries) = fs::read_dir(directory) else {
        return;
    };
    for entry in entries.flatten() {
        let file = entry.file_name();
        let file = file.to_string_lossy();
        let owner = file
            .strip_prefix(&prefix)
            .and_then(|rest| rest.strip_suffix(".tmp"))
            .and_then(|rest| rest.split_once('-'))
            .and_then(|(pid, _)| pid.parse().ok());
        if owner.is_some_and(is_gone) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

#[cfg(unix)]
fn is_gone(pid: i32) -> bool {
    use nix::errno::Errno;
    use nix::sys::signal::kill;
    use nix::unistd::Pid;

    pid > 0 && kill(Pid::from_raw(pid), None) == Err(Errno::ESRCH)
}

#[cfg(not(unix))]
fn is_gone(_pid: i32) -> bool {
    false
}

#[cfg(unix)]
fn permissions(new: NewFile) -> fs::Permissions {
    use std::os::unix::fs::PermissionsExt as _;

    fs::Permissions::from_mode(match new {
        NewFile::Private | NewFile::Mode(_) => 0o600,
        NewFile::Shared => 0o666,
    })
}

#[cfg(unix)]
fn mode(metadata: &Metadata) -> u32 {
    use std::os::unix::fs::PermissionsExt as _;

    metadata.permissions().mode() & 0o7777
}

#[cfg(unix)]
fn keep_owner_and_mode(file: &File, old: &Metadata) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt as _, fchown};

    let new = file.metadata()?;
    // The owner first: changing it clears mode bits.
    if (new.uid(), new.gid()) != (old.uid(), old.gid()) {
        fchown(file, Some(old.uid()), Some(old.gid()))?;
    }
    file.set_permissions(old.permissions())
}

#[cfg(unix)]
fn set_mode(file: &File, mode: u32) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;

    file.set_permissions(fs::Permissions::from_mode(mode))
}

#[cfg(unix)]
fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}
