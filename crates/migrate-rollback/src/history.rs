//! `backups/rollback_history.json`: all points of a deployment, for people and `--rollback`.
//!
//! Written as a whole and atomically after a point is verified, so it never names a point
//! that is not there. A crash between the two leaves a good backup that it does not name.

use std::collections::BTreeMap;
use std::path::Path;

use migrate_config::atomic::{self, NewFile, Root};
use migrate_core::{StepError, Version};
use serde::{Deserialize, Serialize};

use crate::point::{Purpose, RollbackPoint};

/// The file, relative to the root.
pub const HISTORY_FILE: &str = "backups/rollback_history.json";

/// All points by the version that they lead back to, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RollbackHistory(pub BTreeMap<Version, Vec<RollbackPoint>>);

impl RollbackHistory {
    /// Reads the file; empty if there is none.
    ///
    /// # Errors
    /// It can't be read, or is no history.
    pub fn read(root: &Root) -> Result<Self, StepError> {
        let bytes = atomic::read_optional(root, Path::new(HISTORY_FILE))
            .map_err(migrate_config::atomic::FileError::into_step_error)?;
        let Some(bytes) = bytes else {
            return Ok(Self::default());
        };
        serde_json::from_slice(&bytes).map_err(|error| {
            StepError::caused(format!("{HISTORY_FILE} can't be read"), &error).hint(
                "the backups beside it are untouched; move the file away to start a new history",
            )
        })
    }

    /// The newest point that leads back to a version. Safety copies don't.
    pub fn newest(&self, version: &Version) -> Option<&RollbackPoint> {
        self.0
            .get(version)?
            .iter()
            .filter(|point| point.purpose == Purpose::GoBack)
            .max_by_key(|point| (point.timestamp, &point.id))
    }

    /// The point of a name.
    pub fn by_id(&self, id: &str) -> Option<&RollbackPoint> {
        self.0.values().flatten().find(|point| point.id == id)
    }

    /// Adds a point and writes the file.
    pub(crate) fn add(root: &Root, point: &RollbackPoint) -> Result<(), StepError> {
        let mut history = Self::read(root)?;
        let points = history.0.entry(point.version.clone()).or_default();
        points.retain(|other| other.id != point.id);
        points.push(point.clone());
        history.write(root)
    }

    /// Forgets a point and writes the file.
    pub(crate) fn remove(root: &Root, id: &str) -> Result<(), StepError> {
        let mut history = Self::read(root)?;
        if history.by_id(id).is_none() {
            return Ok(());
        }
        for points in history.0.values_mut() {
            points.retain(|point| point.id != id);
        }
        history.0.retain(|_, points| !points.is_empty());
        history.write(root)
    }

    fn write(&self, root: &Root) -> Result<(), StepError> {
        let mut text = serde_json::to_vec_pretty(self)
            .map_err(|error| StepError::caused("can't write the history", &error))?;
        text.push(b'\n');
        let path = Path::new(HISTORY_FILE);
        atomic::write_atomic_as(root, path, &text, NewFile::Private)
            .map_err(migrate_config::atomic::FileError::into_step_error)
    }
}
