//! Backups of config files: found by version, never lost.

use std::path::{Path, PathBuf};

use crate::atomic::{FileError, NewFile, Root, read_optional, write_atomic_as};

/// Keeps the bytes of `file` at `version` below `backups/`, readable by their owner only, and
/// returns the path: `backups/{stem}_{version}.{extension}`.
///
/// One with the same bytes is used as it is. One with other bytes stays, and the new one gets
/// a number: `backups/config_1.5.0_2.toml`.
pub(super) fn keep(
    root: &Root,
    file: &str,
    version: &str,
    bytes: &[u8],
) -> Result<PathBuf, FileError> {
    for number in 1.. {
        let path = name(file, version, number);
        match read_optional(root, &path)? {
            Some(present) if present == bytes => return Ok(path),
            Some(_) => {}
            None => {
                write_atomic_as(root, &path, bytes, NewFile::Private)?;
                return Ok(path);
            }
        }
    }
    unreachable!("some number is free")
}

fn name(file: &str, version: &str, number: u32) -> PathBuf {
    let file = Path::new(file);
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    let extension = file.extension().unwrap_or_default().to_string_lossy();
    let number = match number {
        1 => String::new(),
        more => format!("_{more}"),
    };
    PathBuf::from(format!("backups/{stem}_{version}{number}.{extension}"))
}
