//! Removing points that are kept no longer.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;

use migrate_config::atomic::{FileError, Root};
use migrate_core::StepError;

use super::{RollbackManager, now};
use crate::backup::directory::{BACKUPS, file_name};
use crate::history::RollbackHistory;
use crate::inventory::{Inventory, Stored};
use crate::point::RollbackPoint;
use crate::retention::Retention;

impl RollbackManager {
    /// Removes the points that the settings keep no longer, and returns their files. Files
    /// that are no points of ours are never removed.
    ///
    /// Crash behaviour: a point is forgotten first and removed then, its copy last of all: what
    /// is half removed is a bare file, never a point without its copy.
    ///
    /// # Errors
    /// What could not be removed.
    pub fn remove_old(
        &self,
        retention: &Retention,
        needed: &BTreeSet<String>,
    ) -> Result<Vec<String>, StepError> {
        let root = self.open_root()?;
        let inventory = Inventory::read(&root)?;
        let points: Vec<&RollbackPoint> = inventory
            .backups
            .iter()
            .filter_map(|stored| match stored {
                Stored::Point(point) => Some(&**point),
                Stored::Bare(_) => None,
            })
            .collect();
        let gone = retention.may_go(points.iter().copied(), needed, now());
        let stays = |path: &str| {
            let uses = |point: &&&RollbackPoint| {
                point
                    .files
                    .iter()
                    .any(|file| file.copy.as_deref() == Some(path))
            };
            let left = |point: &&&RollbackPoint| !gone.iter().any(|one| one.id == point.id);
            points.iter().filter(left).any(|point| uses(&point))
        };
        let mut files = Vec::new();
        for point in &gone {
            RollbackHistory::remove(&root, &point.id)?;
            let beside = file_name(point.purpose, &point.id, "point.json");
            remove(&root, &format!("{BACKUPS}/{beside}"))?;
            remove(&root, &point.data_snapshot.fingerprint)?;
            if let Some(definitions) = &point.data_snapshot.definitions {
                remove(&root, definitions)?;
            }
            for copy in point.files.iter().filter_map(|file| file.copy.as_deref()) {
                if !stays(copy) {
                    remove(&root, copy)?;
                }
            }
            remove(&root, &point.data_snapshot.file)?;
            files.push(point.data_snapshot.file.clone());
        }
        Ok(files)
    }
}

fn remove(root: &Root, path: &str) -> Result<(), StepError> {
    let real = root
        .resolve(Path::new(path))
        .map_err(FileError::into_step_error)?;
    let removed = if real.is_dir() {
        fs::remove_dir_all(&real)
    } else {
        fs::remove_file(&real)
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(StepError::caused(format!("can't remove {path}"), &error))
        }
        _ => Ok(()),
    }
}
