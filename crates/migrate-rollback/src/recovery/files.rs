//! The files that come back with a database.

use std::path::Path;
use std::sync::Arc;

use migrate_config::atomic::{self, FileError, Root};
use migrate_core::{Journal, StepError, Version};

use super::{Order, runs};
use crate::backup::files::{CONFIG_FILE, check_copies};
use crate::inventory::{Inventory, Stored};
use crate::point::FileCopy;
use crate::signing::points;

/// What later points add to a backup.
pub(super) struct Later {
    /// The files that the backup does not hold, as they were before.
    pub(super) files: Vec<FileCopy>,
    /// Those of points that nobody proves, a line each.
    pub(super) not_put_back: Vec<String>,
}

/// The files that runs after the backup touched and the backup does not hold. The first point after
/// it says how each was; one that this deployment did not sign has no say.
///
/// # Errors
/// A copy is gone or damaged; the journal or `backups/` can't be read.
pub(super) async fn of_later_points(
    root: &Root,
    journal: &Arc<dyn Journal>,
    order: &Order,
) -> Result<Later, StepError> {
    let mut known: Vec<String> = match &order.backup {
        Stored::Point(point) => point.files.iter().map(|file| file.path.clone()).collect(),
        Stored::Bare(_) => vec![CONFIG_FILE.to_owned()],
    };
    let taken_back = runs::taken_back(journal).await?;
    let (mut files, mut not_put_back) = (Vec::new(), Vec::new());
    for stored in Inventory::read(root)?.backups {
        let Stored::Point(point) = stored else {
            continue;
        };
        let run = point.run.as_ref();
        let stands = run.is_some_and(|run| !taken_back.contains(run));
        if !stands || point.timestamp <= order.backup.made() {
            continue;
        }
        let unproven = points::unproven(root, &point, order.signatures)?;
        for file in point.files {
            if known.contains(&file.path) {
                continue;
            }
            if let Some(why) = &unproven {
                let (path, id) = (&file.path, &point.id);
                not_put_back.push(format!("{path} is not put back from backup {id}: {why}"));
            } else {
                known.push(file.path.clone());
                files.push(file);
            }
        }
    }
    check_copies(root, &files, order.copies)?;
    Ok(Later {
        files,
        not_put_back,
    })
}

/// `config/config.toml` as the guide's script puts it back; a line about it.
pub(super) fn put_config_back(root: &Root, version: &Version) -> Result<String, StepError> {
    let copy = format!("backups/config_{version}.toml");
    let bytes =
        atomic::read_optional(root, Path::new(&copy)).map_err(FileError::into_step_error)?;
    let Some(bytes) = bytes else {
        return Ok(format!("{CONFIG_FILE} stays as it is: there is no {copy}"));
    };
    std::fs::create_dir_all(root.path().join("config"))
        .map_err(|error| StepError::caused("can't make the directory config", &error))?;
    atomic::write_atomic(root, Path::new(CONFIG_FILE), &bytes)
        .map_err(FileError::into_step_error)?;
    Ok(format!("{CONFIG_FILE} put back from {copy}"))
}
