//! A commit that met an error: the log tells what became of it.

use super::engine::{Done, SchemaEngine};
use super::event::Event;
use super::failure::{ApplyError, Broken, Failed};
use crate::history::{self, State};

/// How often the log is looked at after a commit that met an error, a second apart.
const COMMIT_LOOKS: u32 = 10;

impl SchemaEngine {
    /// The labels of a batch whose commit met an error, where the log has it after all: a
    /// connection that breaks then, or an answer that can't be read, says nothing of what the
    /// server did.
    ///
    /// # Errors
    /// The log can't be read either.
    pub(super) async fn committed_all_the_same(
        &self,
        failed: &Failed,
        state: &State,
        done: &Done,
    ) -> Result<Option<Vec<String>>, ApplyError> {
        let Some(labels) = &failed.in_doubt else {
            return Ok(None);
        };
        let mut tries = 1;
        let now = loop {
            match history::read(&self.db).await {
                Ok(now) => break now,
                Err(_) if tries < COMMIT_LOOKS => {
                    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
                    tries += 1;
                }
                Err(error) => {
                    let error = error.into_step_error(format!(
                        "the commit of {} met an error ({}), and whether it was done can't be looked up",
                        labels.join(", "),
                        failed.error
                    ));
                    return Err(ApplyError::Failed(Box::new(Broken {
                        error: error.hint("`schema status` tells when the database can be reached"),
                        committed: done.migrations.clone(),
                        half_done: None,
                        in_doubt: labels.clone(),
                        began: true,
                    })));
                }
            }
        };
        let before = state.records().len() + done.migrations.len();
        if now.records().len() < before + labels.len() {
            return Ok(None);
        }
        self.observer.event(&Event::Note(format!(
            "the commit met an error ({}), and the history shows that it was done",
            failed.error
        )));
        Ok(Some(labels.clone()))
    }
}
