//! A plan file on disk.

use std::path::Path;

use migrate_config::atomic::{self, NewFile, Root};
use migrate_rollback::signing::SigningKey;
use serde_json::Value;

use super::signed::{self, Document};
use super::{FORMAT, PlanFile};
use crate::failure::Failure;

/// Only a plan file gives way to a plan file: a slip of the name must not cost a database.
pub(crate) fn refuse_other(path: &Path) -> Result<(), Failure> {
    match atomic::read_regular(path).map(|bytes| serde_json::from_slice::<Value>(&bytes)) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Ok(Ok(value)) if value["format"].is_u64() && value["hash"].is_string() => return Ok(()),
        Ok(Ok(value)) if value["payloadType"] == signed::PLAN => return Ok(()),
        _ => {}
    }
    Err(Failure::unchanged(format!(
        "{} is there already and is no plan file; nothing was changed",
        path.display()
    ))
    .hint("give a name that is free"))
}

impl PlanFile {
    /// Writes it whole or not at all, for its owner's eyes: a plan may hold values.
    /// With a key it goes into a signed envelope.
    pub(crate) fn write(&self, path: &Path, key: Option<&SigningKey>) -> Result<(), Failure> {
        let mut text = serde_json::to_vec_pretty(self)
            .map_err(|error| Failure::unchanged(format!("the plan file: {error}")))?;
        text.push(b'\n');
        let bytes = signed::bytes_of(signed::PLAN, text, key)?;
        refuse_other(path)?;
        write_beside(path, &bytes)
    }

    /// Reads one, and refuses what was changed by hand. `approved` judges the document before
    /// anything of it is believed.
    pub(crate) fn read<T>(
        path: &Path,
        approved: impl FnOnce(&Document) -> Result<T, Failure>,
    ) -> Result<(Self, T), Failure> {
        let shown = path.display();
        let bytes = migrate_config::atomic::read_regular(path)
            .map_err(|error| Failure::unchanged(format!("{shown} can't be read: {error}")))?;
        let unreadable = |why: String| {
            Failure::unchanged(format!("{shown} is no plan file: {why}"))
                .hint("make one with `etlrs-migrate plan --from A --to B -o FILE`")
        };
        let document = Document::open(bytes)
            .ok_or_else(|| unreadable("the payload of its envelope is no base64".to_owned()))?;
        let approval = approved(&document)?;
        let value: Value = serde_json::from_slice(&document.bytes)
            .map_err(|error| unreadable(error.to_string()))?;
        match value["format"].as_u64() {
            Some(format) if format <= u64::from(FORMAT) => {}
            Some(format) => {
                return Err(Failure::unchanged(format!(
                    "{shown} was written in format {format}, and this version reads formats up to {FORMAT}"
                ))
                .hint("use the newer etlrs-migrate that wrote it, or make the plan again"));
            }
            None => return Err(unreadable("it has no format".to_owned())),
        }
        let file: Self =
            serde_json::from_value(value).map_err(|error| unreadable(error.to_string()))?;
        if file.contract.hash() != file.hash {
            return Err(Failure::unchanged(format!(
                "{shown} was changed after it was made: its hash does not fit"
            ))
            .hint("change the plan or its scripts instead, and make the plan file again"));
        }
        Ok((file, approval))
    }
}

/// Writes a file of the user's choice by the one atomic write, for its owner only.
fn write_beside(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let name = path
        .file_name()
        .ok_or_else(|| Failure::usage(format!("{} names no file", path.display())))?;
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let root = Root::open(directory).map_err(|error| Failure::unchanged(error.to_string()))?;
    atomic::write_atomic_as(&root, Path::new(name), bytes, NewFile::Private)
        .map_err(|error| Failure::unchanged(error.to_string()))
}
