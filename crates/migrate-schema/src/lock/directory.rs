//! The lock on a SQLite database: `flock` on the directory that holds it.
//!
//! Why not on the file: closing any descriptor of a file drops all POSIX locks that the
//! process has on it, and those are the ones SQLite works with
//! (<https://sqlite.org/howtocorrupt.html#_posix_advisory_locks_canceled_by_a_separate_thread_doing_close_>).
//! Why not a row: a row outlives its process, and would be written before anything was
//! agreed to. The price: two runs on two databases in one directory wait for each other.

#![cfg(feature = "sqlite")]

use std::fs::{self, File, TryLockError};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use migrate_core::{MigrationError, StepError};
use tokio::time::Instant;

use super::POLL;

/// The held lock; let go when dropped.
#[derive(Debug)]
pub(super) struct DirectoryLock {
    _directory: File,
}

impl DirectoryLock {
    /// Locks the directory of `database`; `None` for a database that is in no file.
    pub(super) async fn acquire(
        database: &Path,
        until: Instant,
    ) -> Result<Option<Self>, MigrationError> {
        let Ok(file) = fs::canonicalize(database) else {
            return Ok(None);
        };
        let parent = file.parent().unwrap_or(Path::new("/"));
        let failed = |error: &std::io::Error| {
            let what = format!("can't lock {}, the database's directory", parent.display());
            MigrationError::Unchanged(StepError::caused(what, error))
        };
        let directory = File::open(parent).map_err(|error| failed(&error))?;
        loop {
            match directory.try_lock() {
                Ok(()) => {
                    return Ok(Some(Self {
                        _directory: directory,
                    }));
                }
                Err(TryLockError::WouldBlock) if Instant::now() < until => {
                    tokio::time::sleep(POLL).await;
                }
                Err(TryLockError::WouldBlock) => {
                    return Err(MigrationError::Locked(refusal(parent, &directory)));
                }
                Err(TryLockError::Error(error)) => return Err(failed(&error)),
            }
        }
    }
}

fn refusal(parent: &Path, directory: &File) -> String {
    let who = directory
        .metadata()
        .ok()
        .and_then(|meta| {
            fs::read_to_string("/proc/locks")
                .ok()
                .map(|text| (meta, text))
        })
        .and_then(|(meta, text)| flock_holder(&text, meta.ino()))
        .map_or_else(
            || "a process".to_owned(),
            |pid| {
                let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
                format!("process {pid} ({})", name.trim())
            },
        );
    format!(
        "{who} on this host works on a database in {}",
        parent.display()
    )
}

/// The process that has the `flock` on an inode, by the text of `/proc/locks`.
fn flock_holder(locks: &str, inode: u64) -> Option<u32> {
    locks.lines().find_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        if words.next()? != "FLOCK" {
            return None;
        }
        let pid = words.nth(2)?.parse().ok()?;
        let file = words.next()?;
        (file.rsplit(':').next()?.parse() == Ok(inode)).then_some(pid)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_is_found_in_proc_locks() {
        let text = "1: POSIX  ADVISORY  WRITE 77 fe:00:131 0 EOF\n\
                    2: FLOCK  ADVISORY  WRITE 78 fe:00:131 0 EOF\n\
                    2: -> FLOCK  ADVISORY  WRITE 80 fe:00:131 0 EOF\n\
                    3: FLOCK  ADVISORY  WRITE 79 fe:00:132 0 EOF\n";
        assert_eq!(flock_holder(text, 131), Some(78));
        assert_eq!(flock_holder(text, 132), Some(79));
        assert_eq!(flock_holder(text, 133), None);
    }
}
