//! Backups of config files: found by version, never lost.

use std::path::{Path, PathBuf};

use crate::atomic::{FileError, NewFile, Root, read_optional, write_atomic_as};

/// Keeps the bytes of `file` at `version` below `backups/`, readable by their owner only, and
/// returns the path: `backups/{stem}_{version}.{extension}`.
///
/// The first or the newest is used as it is if it has the same bytes. One with other bytes
/// stays, and the new one gets the next number: `backups/config_1.5.0_2.toml`.
pub(super) fn keep(
    root: &Root,
    file: &str,
    version: &str,
    bytes: &[u8],
) -> Result<PathBuf, FileError> {
    let newest = newest(root, file, version);
    for number in [1, newest] {
        let path = name(file, version, number);
        match read_optional(root, &path) {
            Ok(Some(present)) if present == bytes => return Ok(path),
            // What is there and can't be read as a file keeps its name too.
            Ok(Some(_)) => {}
            Ok(None) => {
                write_atomic_as(root, &path, bytes, NewFile::Private)?;
                return Ok(path);
            }
            Err(error) => return Err(error),
        }
    }
    let path = name(file, version, newest + 1);
    write_atomic_as(root, &path, bytes, NewFile::Private)?;
    Ok(path)
}

/// The highest number that is taken; 1 if none is. One look at the directory, however many
/// there are.
fn newest(root: &Root, file: &str, version: &str) -> u32 {
    let first = name(file, version, 1);
    let stem = first.file_stem().unwrap_or_default().to_string_lossy();
    let extension = first.extension().unwrap_or_default().to_string_lossy();
    let prefix = format!("{stem}_");
    let suffix = format!(".{extension}");
    let entries = std::fs::read_dir(root.path().join(DIRECTORY));
    let numbers = entries.into_iter().flatten().flatten().filter_map(|entry| {
        let name = entry.file_name();
        let name = name.to_str()?.strip_prefix(&prefix)?;
        name.strip_suffix(&suffix)?.parse().ok()
    });
    numbers.max().unwrap_or(1).max(1)
}

const DIRECTORY: &str = "backups";

fn name(file: &str, version: &str, number: u32) -> PathBuf {
    let file = Path::new(file);
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    let extension = file.extension().unwrap_or_default().to_string_lossy();
    let number = match number {
        1 => String::new(),
        more => format!("_{more}"),
    };
    PathBuf::from(format!("{DIRECTORY}/{stem}_{version}{number}.{extension}"))
}
