//! The directory of backups, the names in it, and what a killed process left there.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use chrono::{DateTime, TimeDelta, Utc};
use migrate_core::StepError;
use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;
use tempfile::{NamedTempFile, TempDir};

use crate::point::Purpose;

/// The directory, relative to the root.
pub const BACKUPS: &str = "backups";

/// Makes the directory if it is missing. One that is there keeps its mode: it is the user's.
pub(crate) fn ensure(root: &Path) -> Result<PathBuf, StepError> {
    let dir = root.join(BACKUPS);
    let made = match DirBuilder::new().mode(0o700).create(&dir) {
        Ok(()) => File::open(root).and_then(|root| root.sync_all()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    };
    made.map(|()| dir.clone())
        .map_err(|error| StepError::caused(format!("can't make {}", dir.display()), &error))
}

/// A private file that is not yet a backup; its name tells whose it is.
pub(crate) fn temporary(dir: &Path, purpose: &str) -> io::Result<NamedTempFile> {
    tempfile::Builder::new()
        .prefix(&format!(".{purpose}_{}_", std::process::id()))
        .suffix(".tmp")
        .tempfile_in(dir)
}

/// Removes what [`temporary`] made in processes that are gone.
pub(crate) fn remove_leftovers(dir: &Path, purpose: &str) {
    let prefix = format!(".{purpose}_");
    let Ok(entries) = fs::read_dir(dir) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let owner = name
            .to_str()
            .and_then(|name| name.strip_prefix(&prefix)?.strip_suffix(".tmp"))
            .and_then(|rest| rest.split('_').next()?.parse().ok());
        if owner.is_some_and(is_gone) {
            // Best effort: a leftover costs space and harms nothing.
            let _ = match entry.file_type() {
                Ok(kind) if kind.is_dir() => fs::remove_dir_all(entry.path()),
                _ => fs::remove_file(entry.path()),
            };
        }
    }
}

fn is_gone(pid: i32) -> bool {
    matches!(kill(Pid::from_raw(pid), None), Err(Errno::ESRCH))
}

/// The first free name from `now` on, second by second, and later than every name that this
/// has given lately: one that was freed must not make a new backup look older than the rest.
pub(crate) fn free_id(dir: &Path, now: DateTime<Utc>) -> String {
    let id = |moment: DateTime<Utc>| moment.format("%Y%m%d_%H%M%S").to_string();
    let lately = id(now)..id(now + TimeDelta::hours(1));
    let newest = ids(dir).filter(|id| lately.contains(id)).max();
    (0..i64::from(u32::MAX))
        .map(|seconds| id(now + TimeDelta::seconds(seconds)))
        .find(|id| newest.as_ref().is_none_or(|newest| id > newest))
        .expect("some second has no backup yet")
}

fn ids(dir: &Path) -> impl Iterator<Item = String> {
    let names = fs::read_dir(dir).into_iter().flatten().flatten();
    names.filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        let rest = [Purpose::GoBack, Purpose::Safety]
            .iter()
            .find_map(|purpose| name.strip_prefix(purpose.prefix()))?;
        Some(rest.split_once('.')?.0.to_owned())
    })
}

/// The name of a file of a point.
pub(crate) fn file_name(purpose: Purpose, id: &str, kind: &str) -> String {
    format!("{}{id}.{kind}", purpose.prefix())
}

/// A private directory that is not yet a backup; its name tells whose it is.
pub(crate) fn temporary_dir(dir: &Path, purpose: &str) -> io::Result<TempDir> {
    tempfile::Builder::new()
        .prefix(&format!(".{purpose}_{}_", std::process::id()))
        .suffix(".tmp")
        .tempdir_in(dir)
}

/// Gives a finished directory its name, durably, with files for their owner alone.
pub(crate) fn keep_dir(copy: TempDir, target: &Path) -> io::Result<()> {
    for entry in fs::read_dir(copy.path())? {
        let file = File::open(entry?.path())?;
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
        file.sync_all()?;
    }
    File::open(copy.path())?.sync_all()?;
    // A directory is only ever renamed onto an empty one.
    fs::rename(copy.keep(), target)?;
    let parent = target.parent().unwrap_or(Path::new("/"));
    File::open(parent)?.sync_all()
}

/// Gives a finished copy its name, durably, and never replaces a file.
pub(crate) fn keep(file: NamedTempFile, target: &Path) -> io::Result<()> {
    file.as_file().sync_all()?;
    file.persist_noclobber(target)
        .map_err(|error| error.error)?;
    let dir = target.parent().unwrap_or(Path::new("/"));
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_only_leftovers_of_the_dead_go() {
        let dir = tempfile::tempdir().unwrap();
        let now = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
        let first = free_id(dir.path(), now);
        assert_eq!(first, "20231114_221320");
        fs::write(
            dir.path().join(file_name(Purpose::GoBack, &first, "dump")),
            "",
        )
        .unwrap();
        assert_eq!(free_id(dir.path(), now), "20231114_221321");

        let mine = temporary(dir.path(), "x").unwrap();
        // No process has this number: it is above the kernel's limit.
        let dead = dir.path().join(".x_4999999_abc.tmp");
        fs::write(&dead, "").unwrap();
        let foreign = dir.path().join(".x_mine.tmp");
        fs::write(&foreign, "").unwrap();
        remove_leftovers(dir.path(), "x");
        assert!(mine.path().exists() && foreign.exists() && !dead.exists());
        assert!(
            keep(
                mine,
                &dir.path().join(file_name(Purpose::GoBack, &first, "dump"))
            )
            .is_err()
        );
    }
}
