//! SHA-256 of large files, as lowercase hex, read in pieces.

use std::io::{self, Read};
use std::path::Path;

use migrate_config::atomic::open_regular;
use sha2::{Digest, Sha256};

/// The checksum of a file, read in pieces.
///
/// # Errors
/// Those of reading it.
pub fn of_file(path: &Path) -> io::Result<String> {
    let mut file = open_regular(path)?;
    let mut hash = Sha256::new();
    let mut piece = vec![0; 1 << 20];
    loop {
        let read = file.read(&mut piece)?;
        if read == 0 {
            return Ok(hex(&hash.finalize()));
        }
        hash.update(&piece[..read]);
    }
}

/// The checksum of a backup: of its file, or of the names and checksums of a directory's files.
///
/// # Errors
/// Those of reading it.
pub fn of_copy(path: &Path) -> io::Result<String> {
    if !path.is_dir() {
        return of_file(path);
    }
    let mut lines = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        let sum = of_file(&entry.path())?;
        lines.push(format!("{sum}  {}\n", entry.file_name().to_string_lossy()));
    }
    lines.sort();
    Ok(hex(&Sha256::digest(lines.concat().as_bytes())))
}

/// How many bytes a backup takes: of its file, or of a directory's files.
///
/// # Errors
/// Those of looking at it.
pub fn bytes_of_copy(path: &Path) -> io::Result<u64> {
    if !path.is_dir() {
        return Ok(std::fs::metadata(path)?.len());
    }
    std::fs::read_dir(path)?.try_fold(0, |sum, entry| Ok(sum + entry?.metadata()?.len()))
}

/// Bytes as lowercase hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a String never fails");
        text
    })
}
