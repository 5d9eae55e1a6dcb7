//! One change of one file: decided by the hashes of its bytes, so that it can be repeated.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use migrate_core::own_files::{OWN_FILES_HINT, OwnFiles, Touch};
use migrate_core::{
    Description, Finding, Loss, Outcome, Preview, Probe, Readiness, Receipt, ScopeObject, Step,
    StepContext, StepError, UndoCheck, UndoReport, Undoable,
};
use serde::{Deserialize, Serialize};

use super::backup;
use super::operations::{Changed, Operations};
use super::series::Series;
use super::variables::Values;
use crate::atomic::{
    FileErrorKind, Root, may_replace, mode_of, read, read_text, sha256, write_atomic,
};
use crate::diff::redacted_diff;
use crate::v1_to_v2::Reversed;

pub(super) struct ConfigStep {
    pub(super) root: Arc<Root>,
    pub(super) operations: Operations,
    /// The steps of the same plan on the same file.
    pub(super) series: Arc<Series>,
    /// How many of them stand before this one.
    pub(super) earlier: usize,
    /// No later step of the plan is on the same file: what is in it now is this one's.
    pub(super) last: bool,
    /// The version that the file is at before.
    pub(super) version: String,
    pub(super) can_rollback: bool,
    pub(super) own_files: OwnFiles,
}

/// What undo and a look after a crash need. Holds no value of the file.
#[derive(Debug, Serialize, Deserialize)]
struct ConfigReceipt {
    file: String,
    before_sha256: String,
    after_sha256: String,
    backup: String,
    mode: u32,
}

/// What a file's bytes are, seen from a receipt.
#[derive(PartialEq, Eq)]
enum State {
    Before,
    After,
    Other,
    Missing,
}

impl ConfigStep {
    fn file(&self) -> &Path {
        Path::new(&self.operations.file)
    }

    /// An earlier step may have put a link in its place since the plan was checked.
    fn still_a_plans_file(&self) -> Result<(), StepError> {
        match (self.own_files)(self.file(), Touch::Write) {
            Some(why) => Err(StepError::failed(why).hint(OWN_FILES_HINT)),
            None => Ok(()),
        }
    }

    fn text(&self) -> Result<String, StepError> {
        Ok(read_text(&self.root, self.file())?)
    }

    /// The text as the earlier steps of the plan leave it. They change nothing once they ran.
    fn as_it_will_be(&self, text: &str, values: Values) -> Result<String, Vec<Finding>> {
        self.series.after(self.earlier, text, values)
    }

    fn readiness(&self, text: &str) -> Readiness {
        let planned = self
            .as_it_will_be(text, Values::Real)
            .and_then(|text| self.operations.apply(&text, Values::Real));
        if let Err(findings) = planned {
            return Readiness::Blocked(findings);
        }
        match self.operations.apply(text, Values::Real) {
            Ok(changed) if changed.text == text => {
                let file = &self.operations.file;
                Readiness::AlreadyDone(format!("{file} has these changes already"))
            }
            Ok(_) => Readiness::Ready,
            Err(_) => {
                let ids = self.series.ids(self.earlier);
                Readiness::After(format!(
                    "{} as {} leaves it",
                    self.operations.file,
                    ids.join(", ")
                ))
            }
        }
    }

    fn changed(&self, text: &str, values: Values) -> Result<Changed, StepError> {
        self.operations.apply(text, values).map_err(|findings| {
            let file = &self.operations.file;
            let mut error = StepError::failed(format!("{file} can't be changed as planned"));
            if let [finding] = findings.as_slice() {
                error.place.clone_from(&finding.place);
                error.hint.clone_from(&finding.hint);
                return error.cause(&finding.message);
            }
            for finding in &findings {
                error = error.cause(finding.to_string());
            }
            error
        })
    }

    fn state(&self, receipt: &ConfigReceipt) -> Result<State, StepError> {
        let bytes = match read(&self.root, Path::new(&receipt.file)) {
            Ok(bytes) => bytes,
            Err(error) if error.kind == FileErrorKind::Missing => return Ok(State::Missing),
            Err(error) => return Err(error.into()),
        };
        let hash = sha256(&bytes);
        Ok(if hash == receipt.after_sha256 {
            State::After
        } else if hash == receipt.before_sha256 {
            State::Before
        } else {
            State::Other
        })
    }
}

impl ConfigStep {
    fn not_as_prepared(&self) -> StepError {
        let file = &self.operations.file;
        let error = StepError::failed(format!(
            "the changes of {file} are not those that were prepared"
        ));
        let variables = self.operations.variables();
        if variables.is_empty() {
            return error
                .hint("the plan or the tool changed since; roll the run back and start again");
        }
        error.hint(format!(
            "another value than when it was prepared: {}; start again with the value that shall hold",
            variables.join(", ")
        ))
    }

    /// The bytes from before the step, proven.
    fn kept_bytes(&self, receipt: &ConfigReceipt) -> Result<Vec<u8>, StepError> {
        let ConfigReceipt { file, backup, .. } = receipt;
        let kept = read(&self.root, Path::new(backup)).map_err(StepError::from);
        let reason = match kept {
            Ok(bytes) if sha256(&bytes) == receipt.before_sha256 => return Ok(bytes),
            Ok(_) => format!("the backup {backup} does not hold the bytes that {file} had"),
            Err(error) => format!("the backup of {file} can't be read: {error}"),
        };
        Err(StepError::failed(reason).hint(format!(
            "the rollback point has the bytes of {file} too: roll back with --strategy restore, or bring {backup} back"
        )))
    }

    /// Keeps what somebody else made of the file: the line that says where.
    fn set_aside(
        &self,
        receipt: &ConfigReceipt,
        state: &State,
    ) -> Result<Option<String>, StepError> {
        if *state != State::Other {
            return Ok(None);
        }
        let file = &receipt.file;
        let bytes = read(&self.root, Path::new(file))?;
        let kept = backup::keep(
            &self.root,
            file,
            &format!("{}_changed", self.version),
            &bytes,
        )?;
        Ok(Some(format!(
            "{file} was changed since the upgrade; as it was it lies in {}",
            kept.display()
        )))
    }
}

impl ConfigStep {
    /// An edited file in its old version with the edits, where the migration knows that way.
    fn reversed(&self, receipt: &ConfigReceipt, state: &State, old: &[u8]) -> Option<Reversed> {
        if *state != State::Other || !self.last || self.earlier > 0 {
            return None;
        }
        let old = std::str::from_utf8(old).ok()?;
        let edited = read_text(&self.root, Path::new(&receipt.file)).ok()?;
        self.operations.reverse(old, &edited)
    }

    fn write_reversed(
        &self,
        receipt: &ConfigReceipt,
        state: &State,
        back: &Reversed,
    ) -> Result<UndoReport, StepError> {
        let file = &receipt.file;
        if self.text()? == back.text {
            return Ok(UndoReport::line(format!("{file} is back already")));
        }
        let aside = self.set_aside(receipt, state)?;
        write_atomic(&self.root, Path::new(file), back.text.as_bytes())?;
        let mut report = UndoReport::line(format!("{file} is back, with what was edited since"));
        if !back.kept.is_empty() {
            report.left.push(format!(
                "{file} keeps what was edited since: {}",
                back.kept.join(", ")
            ));
        }
        report.left.extend(aside);
        Ok(report)
    }
}

/// What of an edited file would be lost.
fn loss_of(receipt: &ConfigReceipt, back: Option<&Reversed>) -> Option<Loss> {
    let detail = match back {
        Some(back) if back.dropped.is_empty() => return None,
        Some(back) => format!(
            "changed since the upgrade, and the old version has no place for: {}; it would be set aside in backups",
            back.dropped.join(", ")
        ),
        None => {
            "changed since the upgrade; it would be set aside in backups, and the old one put back"
                .to_owned()
        }
    };
    Some(Loss::new(format!("file {}", receipt.file), None, detail))
}

impl ConfigReceipt {
    fn outcome(&self, notes: Vec<String>) -> Outcome {
        let mut outcome = Outcome::line(format!("{} changed", self.file));
        outcome.notes = notes;
        outcome.notes.push(format!("backup: {}", self.backup));
        outcome
    }
}

fn read_receipt(receipt: &Receipt) -> Result<ConfigReceipt, StepError> {
    ConfigReceipt::deserialize(&receipt.0)
        .map_err(|error| StepError::caused("the receipt of a config step can't be read", &error))
}

fn foreign(receipt: &ConfigReceipt, state: &State) -> StepError {
    let what = match state {
        State::Missing => "was removed",
        _ => "was changed by somebody else",
    };
    let ConfigReceipt { file, backup, .. } = receipt;
    StepError::failed(format!("{file} {what} since the step was prepared"))
        .hint(format!("it is left as it is; {backup} has the bytes from before the step: compare the two, put into {file} what should hold, or get the old one back with `cp {backup} {file}`, then try again"))
}

#[async_trait]
impl Step for ConfigStep {
    fn describe(&self) -> Description {
        Description {
            title: self.operations.title(),
            scope: vec![ScopeObject::File(self.operations.file.clone())],
            undo: if self.can_rollback {
                Undoable::Yes
            } else {
                Undoable::No
            },
            deferred: false,
            runs_commands: false,
            actions: self.operations.actions(),
            inputs: Vec::new(),
        }
    }

    fn warnings(&self) -> Vec<Finding> {
        self.operations.literal_secrets()
    }

    async fn preview(&self, _cx: &StepContext) -> Result<Preview, StepError> {
        let text = self.text()?;
        let before = self.as_it_will_be(&text, Values::Named).unwrap_or(text);
        let changed = self.changed(&before, Values::Named)?;
        let shown = self.operations.without_old_values(&before);
        let diff = |before: String| redacted_diff(&self.operations.file, &before, &changed.text);
        let mut preview = Preview {
            diff: shown.map(diff).unwrap_or_default(),
            actions: self.operations.actions(),
            notes: changed.notes,
            ..Preview::default()
        };
        if preview.diff.is_empty() && before != changed.text {
            let note = "only secrets change; they are not shown".to_owned();
            preview.notes.push(note);
        }
        Ok(preview)
    }

    async fn check(&self, _cx: &StepContext) -> Result<Readiness, StepError> {
        match read_text(&self.root, self.file()) {
            Ok(text) => Ok(
                match (self.readiness(&text), may_replace(&self.root, self.file())) {
                    (Readiness::Ready, Err(error)) => {
                        let mut finding = Finding::error("config.directory", error.to_string());
                        finding.hint = error.hint;
                        Readiness::Blocked(vec![finding])
                    }
                    (readiness, _) => readiness,
                },
            ),
            Err(error) if self.operations.optional && error.kind == FileErrorKind::Missing => {
                let file = &self.operations.file;
                Ok(Readiness::AlreadyDone(format!("there is no {file}")))
            }
            Err(error) => {
                let mut finding = Finding::error("config.file", error.to_string());
                finding.hint = error.hint;
                Ok(Readiness::Blocked(vec![finding]))
            }
        }
    }

    async fn prepare(&self, _cx: &StepContext) -> Result<Receipt, StepError> {
        self.still_a_plans_file()?;
        let text = self.text()?;
        let changed = self.changed(&text, Values::Real)?;
        let file = &self.operations.file;
        let kept = backup::keep(&self.root, file, &self.version, text.as_bytes())?;
        let receipt = ConfigReceipt {
            file: file.clone(),
            before_sha256: sha256(text.as_bytes()),
            after_sha256: sha256(changed.text.as_bytes()),
            backup: kept.to_string_lossy().into_owned(),
            mode: mode_of(&self.root, self.file())?,
        };
        let value = serde_json::to_value(receipt).expect("a receipt is plain data");
        Ok(Receipt(value))
    }

    async fn run(&self, cx: &StepContext, receipt: &Receipt) -> Result<Outcome, StepError> {
        cx.check_cancelled()?;
        self.still_a_plans_file()?;
        let receipt = read_receipt(receipt)?;
        match self.state(&receipt)? {
            State::After => Ok(receipt.outcome(Vec::new())),
            State::Before => {
                let changed = self.changed(&self.text()?, Values::Real)?;
                if sha256(changed.text.as_bytes()) != receipt.after_sha256 {
                    return Err(self.not_as_prepared());
                }
                write_atomic(
                    &self.root,
                    Path::new(&receipt.file),
                    changed.text.as_bytes(),
                )?;
                Ok(receipt.outcome(changed.notes))
            }
            state @ (State::Other | State::Missing) => Err(foreign(&receipt, &state)),
        }
    }

    async fn undo(&self, _cx: &StepContext, receipt: &Receipt) -> Result<UndoReport, StepError> {
        let receipt = read_receipt(receipt)?;
        let ConfigReceipt { file, backup, .. } = &receipt;
        match self.state(&receipt)? {
            State::Before => Ok(UndoReport::line(format!("{file} is as it was"))),
            State::After if receipt.before_sha256 == receipt.after_sha256 => {
                Ok(UndoReport::line(format!("{file} is as it was")))
            }
            state => {
                let bytes = self.kept_bytes(&receipt)?;
                if let Some(back) = self.reversed(&receipt, &state, &bytes) {
                    return self.write_reversed(&receipt, &state, &back);
                }
                let aside = self.set_aside(&receipt, &state)?;
                write_atomic(&self.root, Path::new(file), &bytes)?;
                let mut report = UndoReport::line(format!("{file} restored from {backup}"));
                report.left.extend(aside);
                Ok(report)
            }
        }
    }

    async fn check_undo(
        &self,
        _cx: &StepContext,
        receipt: &Receipt,
    ) -> Result<UndoCheck, StepError> {
        let receipt = read_receipt(receipt)?;
        let state = self.state(&receipt)?;
        let mut found = UndoCheck::default();
        if state == State::Before || !self.last {
            return Ok(found);
        }
        let back = match self.kept_bytes(&receipt) {
            Ok(bytes) => self.reversed(&receipt, &state, &bytes),
            Err(error) => {
                let mut finding = Finding::error("config.backup", error.to_string());
                finding.hint = error.hint;
                found.blocked.push(finding);
                None
            }
        };
        if state == State::Other {
            found.losses.extend(loss_of(&receipt, back.as_ref()));
        }
        Ok(found)
    }

    async fn others(&self, _cx: &StepContext, receipt: &Receipt) -> Result<Vec<Loss>, StepError> {
        let receipt = read_receipt(receipt)?;
        let detail = match self.state(&receipt)? {
            State::Before | State::After => return Ok(Vec::new()),
            State::Other => "edited by others while the upgrade ran",
            State::Missing => "removed by others while the upgrade ran",
        };
        let object = format!("file {}", receipt.file);
        Ok(vec![Loss::new(object, None, detail.to_owned())])
    }

    async fn probe(&self, _cx: &StepContext, receipt: &Receipt) -> Result<Probe, StepError> {
        let receipt = read_receipt(receipt)?;
        match self.state(&receipt)? {
            State::After => Ok(Probe::Applied(receipt.outcome(Vec::new()))),
            State::Before => Ok(Probe::NotApplied),
            state @ (State::Other | State::Missing) => Err(foreign(&receipt, &state)),
        }
    }
}
