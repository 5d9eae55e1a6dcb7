//! The one atomic file write: a reader sees the old bytes or the new ones, also after a crash.

mod error;
mod own;
mod regular;
mod replace;
mod root;

pub use error::{FileError, FileErrorKind};
pub use own::own_files;
pub use regular::{LARGEST, open_regular, read_open, read_regular, read_regular_text, text_of};
pub use replace::{NewFile, may_replace, mode_of, write_atomic, write_atomic_as};
pub use root::Root;

use std::path::Path;

use sha2::{Digest, Sha256};

/// Reads a file below the root.
///
/// # Errors
/// There is none ([`FileErrorKind::Missing`]), it lies outside, is larger than [`LARGEST`], or
/// can't be read.
pub fn read(root: &Root, relative: &Path) -> Result<Vec<u8>, FileError> {
    let path = root.resolve(relative)?;
    read_regular(&path).map_err(|error| match error.kind() {
        std::io::ErrorKind::InvalidInput => FileError::not_a_file(relative),
        std::io::ErrorKind::FileTooLarge => FileError::too_large(relative, &error),
        _ => FileError::io("can't read", relative, error),
    })
}

/// Reads a file below the root; `None` if there is none.
///
/// # Errors
/// It lies outside, or it can't be read.
pub fn read_optional(root: &Root, relative: &Path) -> Result<Option<Vec<u8>>, FileError> {
    match read(root, relative) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind == FileErrorKind::Missing => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads a text file below the root.
///
/// # Errors
/// As [`read`], or it is not UTF-8.
pub fn read_text(root: &Root, relative: &Path) -> Result<String, FileError> {
    let bytes = read(root, relative)?;
    String::from_utf8(bytes).map_err(|error| FileError::not_text(relative, &error.utf8_error()))
}

/// SHA-256 as 64 lowercase hex digits.
pub fn sha256(bytes: &[u8]) -> String {
    use std::fmt::Write as _;

    let digest = Sha256::digest(bytes);
    digest
        .iter()
        .fold(String::with_capacity(64), |mut out, byte| {
            write!(out, "{byte:02x}").expect("writing to a string does not fail");
            out
        })
}
