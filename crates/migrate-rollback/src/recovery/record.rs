//! `.etlrs-migrate/recovery.json`: a restore that is not finished.

use std::fs;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use migrate_config::atomic::{self, FileError, NewFile, Root};
use migrate_core::StepError;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Order;
use crate::state_dir::{self, STATE_DIR};

const FILE: &str = "recovery.json";

/// What a restore that did not come to its end has to remember.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Unfinished {
    /// When the first try began.
    pub started_at: DateTime<Utc>,
    /// The command line that completes it.
    pub command: String,
    /// The backup's name.
    pub backup: String,
    /// What ran before each try, for the services' start.
    pub(super) running: Vec<Value>,
    /// The safety copy, once it was made.
    pub safety: Option<String>,
    /// Whether a try made the database, which was missing.
    #[serde(default)]
    pub(super) made: bool,
}

impl Unfinished {
    /// What is unfinished, if something is.
    ///
    /// # Errors
    /// The file is there and can't be read.
    pub fn read(root: &Root) -> Result<Option<Self>, StepError> {
        refuse_special(root)?;
        let bytes = atomic::read_optional(root, &path()).map_err(FileError::into_step_error)?;
        bytes
            .map(|bytes| {
                serde_json::from_slice(&bytes).map_err(|error| {
                    StepError::caused(format!("{} can't be read", path().display()), &error)
                        .hint("it tells which services ran; move it away to do without")
                })
            })
            .transpose()
    }

    /// Notes what is wanted and what runs, before anything is stopped. What an earlier try
    /// noted is kept: its services were stopped by it.
    pub(super) fn begin(root: &Root, order: &Order, ran: Vec<Value>) -> Result<Self, StepError> {
        let mut record = Self::read(root)?.unwrap_or_else(|| Self {
            started_at: Utc::now(),
            command: String::new(),
            backup: String::new(),
            running: Vec::new(),
            safety: None,
            made: false,
        });
        record.command.clone_from(&order.command);
        order.backup.id().clone_into(&mut record.backup);
        for running in ran {
            if !running.is_null() && !record.running.contains(&running) {
                record.running.push(running);
            }
        }
        record.write(root)?;
        Ok(record)
    }

    pub(super) fn write(&self, root: &Root) -> Result<(), StepError> {
        refuse_special(root)?;
        let mut text = serde_json::to_vec_pretty(self)
            .map_err(|error| StepError::caused("can't note what is done", &error))?;
        text.push(b'\n');
        atomic::write_atomic_as(root, &path(), &text, NewFile::Private)
            .map_err(FileError::into_step_error)
    }

    pub(super) fn remove(root: &Root) -> Result<(), StepError> {
        let file = root.resolve(&path()).map_err(FileError::into_step_error)?;
        match fs::remove_file(&file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(StepError::caused(
                format!("can't remove {}", path().display()),
                &error,
            )),
            _ => Ok(()),
        }
    }
}

/// A link in its place would have another file written.
fn refuse_special(root: &Root) -> Result<(), StepError> {
    state_dir::refuse_special(&root.path().join(path()))
        .map_err(|error| StepError::failed(error.to_string()))
}

fn path() -> PathBuf {
    Path::new(STATE_DIR).join(FILE)
}
