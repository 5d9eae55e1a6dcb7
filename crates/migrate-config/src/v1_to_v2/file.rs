//! The migration of a file.

use std::fs;
use std::path::{Path, PathBuf};

use super::shapes::ConfigError;
use super::text::{Migrated, migrate_text_v1_to_v2};
use crate::atomic::{FileError, NewFile, Root, mode_of, read_optional, read_text, write_atomic_as};

/// Migrates the configuration in `input` from 1.x to 2.0 and writes it to `output`, which may
/// be the same file. The format is that of `input`'s extension.
///
/// The output is written whole or not at all; a new one gets the mode of the input. The text is
/// in the answer too, with the keys that nobody knows.
///
/// # Errors
/// The input can't be read or migrated, the output can't be written, or it exists with other
/// content and is not the input.
pub async fn migrate_config_file(
    input: impl AsRef<Path>,
    output: impl AsRef<Path>,
) -> Result<Migrated, ConfigError> {
    let (input, output) = (input.as_ref().to_owned(), output.as_ref().to_owned());
    tokio::task::spawn_blocking(move || migrate(&input, &output))
        .await
        .expect("the migration of a text does not panic")
}

fn migrate(input: &Path, output: &Path) -> Result<Migrated, ConfigError> {
    let (in_root, in_name) = locate(input)?;
    let text = read_text(&in_root, &in_name)?;
    let migrated =
        migrate_text_v1_to_v2(&input.to_string_lossy(), &text).map_err(ConfigError::Findings)?;
    let (out_root, out_name) = locate(output)?;
    let same = (in_root.path(), &in_name) == (out_root.path(), &out_name);
    if !same {
        let present = read_optional(&out_root, &out_name)?;
        if present.is_some_and(|bytes| bytes != migrated.text.as_bytes()) {
            return Err(ConfigError::OutputExists(output.to_owned()));
        }
    }
    let mode = NewFile::Mode(mode_of(&in_root, &in_name)?);
    write_atomic_as(&out_root, &out_name, migrated.text.as_bytes(), mode)?;
    Ok(migrated)
}

/// The real directory of a file as a root, and its name there. The user named this very file, so
/// a symlink is followed wherever it leads.
fn locate(path: &Path) -> Result<(Root, PathBuf), FileError> {
    let real = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let name = real.file_name().map(PathBuf::from);
    let name = name.ok_or_else(|| FileError::not_a_file(path))?;
    let directory = match real.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    Ok((Root::open(directory)?, name))
}
