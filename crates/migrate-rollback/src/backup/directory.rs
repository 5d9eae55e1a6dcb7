//! The directory of backups, the names in it, and what a killed process left there.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use chrono::{DateTime, TimeDelta, Utc};
use migrate_core::StepError;
use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;
use tempfile::NamedTempFile;

/// The directory, relative to the root.
pub const BACKUPS: &str = "backups";

const SNAPSHOT_PREFIX: &str = "etlrs_backup_";

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
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn is_gone(pid: i32) -> bool {
    matches!(kill(Pid::from_raw(pid), None), Err(Errno::ESRCH))
}

/// The first free name from `now` on, second by second.
pub(crate) fn free_id(dir: &Path, now: DateTime<Utc>) -> String {
    (0..i64::from(u32::MAX))
        .map(|seconds| now + TimeDelta::seconds(seconds))
        .map(|moment| moment.format("%Y%m%d_%H%M%S").to_string())
        .find(|id| {
            ["db", "dump", "sql", "fingerprint.json"]
                .iter()
                .all(|kind| !dir.join(file_name(id, kind)).exists())
        })
        .expect("some second has no backup yet")
}

/// The name of a file of a point.
pub(crate) fn file_name(id: &str, kind: &str) -> String {
    format!("{SNAPSHOT_PREFIX}{id}.{kind}")
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
        fs::write(dir.path().join(file_name(&first, "dump")), "").unwrap();
        assert_eq!(free_id(dir.path(), now), "20231114_221321");

        let mine = temporary(dir.path(), "x").unwrap();
        // No process has this number: it is above the kernel's limit.
        let dead = dir.path().join(".x_4999999_abc.tmp");
        fs::write(&dead, "").unwrap();
        let foreign = dir.path().join(".x_mine.tmp");
        fs::write(&foreign, "").unwrap();
        remove_leftovers(dir.path(), "x");
        assert!(mine.path().exists() && foreign.exists() && !dead.exists());
        assert!(keep(mine, &dir.path().join(file_name(&first, "dump"))).is_err());
    }
}
