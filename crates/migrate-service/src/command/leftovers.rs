//! Processes that a command leaves behind, and where the output of those that stay goes.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::output::Tail;

/// What becomes of processes that a command leaves behind when it exits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leftovers {
    /// They are ended: nothing of the command goes on once it is over.
    End,
    /// They stay: the command starts a service. Output goes to this file (taken from the
    /// root, appended, mode 0600), since a pipe of ours would not outlive us.
    Keep {
        /// The file.
        log: PathBuf,
    },
}

/// A file that takes the output of a command whose processes stay.
pub(super) struct Log {
    file: File,
    start: u64,
}

impl Log {
    /// Opens it twice more: for standard output and for errors.
    pub(super) fn open(path: &Path) -> io::Result<(Self, File, File)> {
        if let Some(dir) = path.parent() {
            std::fs::create_dir_all(dir)?;
        }
        let mut options = OpenOptions::new();
        let file = options
            .append(true)
            .read(true)
            .create(true)
            .mode(0o600)
            .open(path)?;
        let start = file.metadata()?.len();
        let (out, err) = (file.try_clone()?, file.try_clone()?);
        Ok((Self { file, start }, out, err))
    }

    /// What was printed since it was opened. It is for the error text only: what can't be read is not shown.
    pub(super) fn read(mut self) -> Tail {
        let mut tail = Tail::default();
        let mut buffer = vec![0; 8 * 1024];
        if self.file.seek(SeekFrom::Start(self.start)).is_ok() {
            while let Ok(count @ 1..) = self.file.read(&mut buffer) {
                tail.push(&buffer[..count]);
            }
        }
        tail
    }
}
