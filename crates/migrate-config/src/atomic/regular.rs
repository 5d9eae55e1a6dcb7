//! Reads regular files only: a FIFO or a device would hang the reader or never end.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::path::Path;

/// So large may a file be that is read as a whole: a config, a plan, settings. 16 MiB.
pub const LARGEST: u64 = 16 << 20;

/// Opens a file for reading; symlinks are followed. Never waits for a writer of a FIFO.
///
/// # Errors
/// Those of opening it, or [`io::ErrorKind::InvalidInput`] where it is no regular file.
pub fn open_regular(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        // Without it, opening a FIFO waits until somebody writes to it.
        options.custom_flags(nix::fcntl::OFlag::O_NONBLOCK.bits());
    }
    let file = options.open(path)?;
    let kind = file.metadata()?.file_type();
    if kind.is_file() {
        return Ok(file);
    }
    let what = if kind.is_dir() {
        "is a directory, not a file"
    } else {
        "is not a regular file (a FIFO, a socket or a device)"
    };
    Err(io::Error::new(io::ErrorKind::InvalidInput, what))
}

/// Reads a whole file of at most [`LARGEST`] bytes.
///
/// # Errors
/// As [`open_regular`], those of reading, or [`io::ErrorKind::FileTooLarge`].
pub fn read_regular(path: &Path) -> io::Result<Vec<u8>> {
    read_open(&open_regular(path)?)
}

/// The same of a file that is open already.
///
/// # Errors
/// Those of reading, or [`io::ErrorKind::FileTooLarge`].
pub fn read_open(file: &File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // A byte more than allowed tells a file that is too large, also one that grows meanwhile.
    let read = file.take(LARGEST + 1).read_to_end(&mut bytes)?;
    if read as u64 > LARGEST {
        let size = file.metadata().map_or(LARGEST, |about| about.len());
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("has {size} bytes; at most {LARGEST} (16 MiB) are read"),
        ));
    }
    Ok(bytes)
}

/// The same as text.
///
/// # Errors
/// As [`read_regular`], or [`io::ErrorKind::InvalidData`] where it is not UTF-8.
pub fn read_regular_text(path: &Path) -> io::Result<String> {
    text_of(read_regular(path)?)
}

/// Bytes as text.
///
/// # Errors
/// [`io::ErrorKind::InvalidData`] where they are not UTF-8.
pub fn text_of(bytes: Vec<u8>) -> io::Result<String> {
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to() + 1;
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("is not UTF-8 text: byte {at} does not fit"),
        )
    })
}
