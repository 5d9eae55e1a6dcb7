//! The engine on a world of its own: every place where a run can end, resumed and taken back.

#![expect(clippy::unwrap_used, reason = "a failing unwrap fails the test")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use migrate_core::{
    Backup, CheckRunner, Clock, DeploymentVersion, Description, Finding, Fingerprint, Journal,
    JournalError, Loss, MemoryJournal, MigrationError, MigrationExecutor, MigrationPlan,
    MigrationStep, Observer, Outcome, Phase, Preview, Probe, Readiness, Receipt, Record,
    RollbackRequest, RunEnd, RunHeader, RunId, RunLog, RunOptions, RunState, ScopeObject, Step,
    StepContext, StepError, StepKind, StepRegistry, StepSite, UndoReport, Undoable,
};
use serde_json::{Value, json};

/// What steps change: names with values.
type World = Arc<Mutex<BTreeMap<String, String>>>;

#[derive(Clone, Default)]
struct Put {
    world: World,
    fail: Arc<Mutex<Option<String>>>,
    fail_undo: Arc<Mutex<Option<String>>>,
}

struct PutStep {
    kind: Put,
    key: String,
}

impl StepKind for Put {
    fn name(&self) -> &'static str {
        "Put"
    }

    fn build(
        &self,
        spec: &MigrationStep,
        _site: &StepSite<'_>,
    ) -> Result<Box<dyn Step>, Vec<Finding>> {
        Ok(Box::new(PutStep {
            kind: self.clone(),
            key: spec.id.to_string(),
        }))
    }
}

impl PutStep {
    fn refuse(&self, when: &Mutex<Option<String>>) -> Result<(), StepError> {
        match when.lock().unwrap().as_deref() {
            Some(key) if key == self.key => Err(StepError::failed("told to fail")),
            _ => Ok(()),
        }
    }
}

#[async_trait]
impl Step for PutStep {
    fn describe(&self) -> Description {
        Description {
            title: format!("put {}", self.key),
            scope: vec![ScopeObject::Table(self.key.clone())],
            undo: Undoable::Yes,
            deferred: false,
            runs_commands: false,
            actions: Vec::new(),
            inputs: Vec::new(),
        }
    }

    async fn preview(&self, _cx: &StepContext) -> Result<Preview, StepError> {
        Ok(Preview::default())
    }

    async fn check(&self, _cx: &StepContext) -> Result<Readiness, StepError> {
        Ok(Readiness::Ready)
    }

    async fn prepare(&self, _cx: &StepContext) -> Result<Receipt, StepError> {
        let before = self.kind.world.lock().unwrap().get(&self.key).cloned();
        Ok(Receipt(json!({ "before": before })))
    }

    async fn run(&self, _cx: &StepContext, _receipt: &Receipt) -> Result<Outcome, StepError> {
        let mut world = self.kind.world.lock().unwrap();
        world.insert(self.key.clone(), "half".into());
        self.refuse(&self.kind.fail)?;
        world.insert(self.key.clone(), "new".into());
        Ok(Outcome::line("put"))
    }

    async fn undo(&self, _cx: &StepContext, receipt: &Receipt) -> Result<UndoReport, StepError> {
        self.refuse(&self.kind.fail_undo)?;
        let mut world = self.kind.world.lock().unwrap();
        match receipt.0["before"].as_str() {
            Some(before) => world.insert(self.key.clone(), before.to_owned()),
            None => world.remove(&self.key),
        };
        Ok(UndoReport::line("taken back"))
    }

    async fn probe(&self, _cx: &StepContext, _receipt: &Receipt) -> Result<Probe, StepError> {
        let world = self.kind.world.lock().unwrap();
        Ok(match world.get(&self.key).map(String::as_str) {
            Some("new") => Probe::Applied(Outcome::line("was put")),
            Some("half") => Probe::Partial,
            _ => Probe::NotApplied,
        })
    }
}

#[async_trait]
impl Observer for Put {
    async fn version(&self) -> Result<DeploymentVersion, StepError> {
        Ok(DeploymentVersion::Unknown)
    }

    async fn fingerprint(&self, _scope: &[ScopeObject]) -> Result<Fingerprint, StepError> {
        Ok(Fingerprint(self.world.lock().unwrap().clone()))
    }

    async fn losses(
        &self,
        _run: &RunId,
        _then: &Fingerprint,
        _scope: &[ScopeObject],
    ) -> Result<Vec<Loss>, StepError> {
        Ok(Vec::new())
    }

    async fn losses_of_reverse(&self, _before: &Fingerprint) -> Result<Vec<Loss>, StepError> {
        Ok(Vec::new())
    }
}

#[async_trait]
impl CheckRunner for Put {
    async fn query(&self, sql: &str, _cancel: &migrate_core::Cancel) -> Result<Value, StepError> {
        let world = self.world.lock().unwrap();
        Ok(world.get(sql).map_or(Value::Null, |value| json!(value)))
    }
}

fn old_world() -> BTreeMap<String, String> {
    BTreeMap::from([("b".into(), "old".into()), ("x".into(), "other".into())])
}

fn new_world() -> BTreeMap<String, String> {
    let mut world = old_world();
    for key in ["a", "b", "c"] {
        world.insert(key.into(), "new".into());
    }
    world
}

fn plan(check: &str) -> MigrationPlan {
    let step = |id: &str| json!({"id": id, "step_type": "Put", "timeout": "30s"});
    migrate_core::plan_check::read(&json!({
        "from_version": "1.0.0", "to_version": "2.0.0", "migration_type": "MinorUpgrade",
        "steps": [step("a"), step("b"), step("c")],
        "validation_checks": [{"name": "c is new", "query": "c", "expected_result": check}],
    }))
    .unwrap()
}

struct Tool {
    put: Put,
    journal: Arc<MemoryJournal>,
}

/// A clock that stands still: runs are told apart all the same.
struct Noon;

impl Clock for Noon {
    fn now(&self) -> chrono::DateTime<chrono::Utc> {
        chrono::DateTime::UNIX_EPOCH + chrono::TimeDelta::hours(12)
    }
}

impl Tool {
    fn new() -> Self {
        let put = Put::default();
        *put.world.lock().unwrap() = old_world();
        Self {
            put,
            journal: Arc::default(),
        }
    }

    fn executor(&self) -> MigrationExecutor {
        MigrationExecutor::new("1.0.0", "2.0.0", false)
            .with_clock(Arc::new(Noon))
            .with_registry(StepRegistry::new().with(self.put.clone()))
            .with_journal(self.journal.clone())
            .with_observer(Arc::new(self.put.clone()))
            .with_checks(Arc::new(self.put.clone()))
            .with_options(RunOptions {
                backup: Backup::Skip,
                ..RunOptions::default()
            })
    }

    fn world(&self) -> BTreeMap<String, String> {
        self.put.world.lock().unwrap().clone()
    }

    async fn log(&self) -> RunLog {
        self.journal.runs().await.unwrap().pop().unwrap()
    }
}

#[tokio::test]
async fn goes_forward_and_back() {
    let tool = Tool::new();
    let result = tool
        .executor()
        .execute_migration(&plan("new"))
        .await
        .unwrap();
    assert_eq!(result.end, RunEnd::Completed);
    assert_eq!(result.completed_steps.len(), 3);
    assert_eq!(tool.world(), new_world());
    let log = tool.log().await;
    let back = tool
        .executor()
        .rollback(&log, RollbackRequest::default())
        .await;
    assert_eq!(back.unwrap().end, RunEnd::RolledBack);
    assert_eq!(tool.world(), old_world());
}

/// Who waits for the lock has read the log before the other run went on.
#[tokio::test]
async fn what_a_run_did_while_its_lock_was_waited_for_counts() {
    let tool = Tool::new();
    let done = tool.executor().execute_migration(&plan("new")).await;
    done.unwrap();
    let mut seen = tool.log().await;
    let whole = seen.records.len();
    for records in 0..=whole {
        seen.records.truncate(whole - records);
        let resumed = tool.executor().resume(&seen).await.unwrap();
        if records > 0 {
            assert!(
                matches!(resumed.end, RunEnd::AlreadyThere(_)),
                "{resumed:?}"
            );
        }
        assert_eq!(tool.world(), new_world());
    }
    let back = tool
        .executor()
        .rollback(&seen, RollbackRequest::default())
        .await;
    assert_eq!(back.unwrap().end, RunEnd::RolledBack);
    assert_eq!(tool.world(), old_world());
}

#[tokio::test]
async fn a_failing_step_or_check_leaves_the_old_world() {
    for fail in ["a", "b", "c"] {
        let tool = Tool::new();
        *tool.put.fail.lock().unwrap() = Some(fail.into());
        let error = tool.executor().execute_migration(&plan("new")).await;
        assert!(
            matches!(error, Err(MigrationError::RolledBack { .. })),
            "{fail}"
        );
        assert_eq!(tool.world(), old_world(), "{fail}");
    }
    let tool = Tool::new();
    let error = tool
        .executor()
        .execute_migration(&plan("something else"))
        .await;
    assert!(matches!(error, Err(MigrationError::RolledBack { .. })));
    assert_eq!(tool.world(), old_world());
}

/// Runs that end at every record, with the effect of the last step not there, half there or there.
async fn every_crash(check: impl AsyncFn(Tool, RunLog)) {
    let whole = Tool::new();
    whole
        .executor()
        .execute_migration(&plan("new"))
        .await
        .unwrap();
    let log = whole.log().await;
    for length in 0..log.records.len() {
        for effect in ["before", "half", "new"] {
            let mut cut = log.clone();
            cut.records.truncate(length);
            let tool = Tool::new();
            let state = RunState::replay(&cut).unwrap();
            for step in &state.steps {
                use migrate_core::StepStatus as S;
                let mut world = tool.put.world.lock().unwrap();
                match (step.status, effect) {
                    (S::Completed, _) | (S::Started, "new") => {
                        world.insert(step.id.to_string(), "new".into());
                    }
                    (S::Started, "half") => {
                        world.insert(step.id.to_string(), "half".into());
                    }
                    _ => {}
                }
            }
            tool.journal.open(&cut.header).await.unwrap();
            for (at, record) in &cut.records {
                tool.journal
                    .append(&cut.header.run, *at, record)
                    .await
                    .unwrap();
            }
            check(tool, cut).await;
        }
    }
}

#[tokio::test]
async fn every_crash_can_be_resumed() {
    every_crash(async |tool, log| {
        let open = tool.executor().execute_migration(&plan("new")).await;
        assert!(matches!(open, Err(MigrationError::OpenRun(_))), "{open:?}");
        let result = tool.executor().resume(&log).await.unwrap();
        assert_eq!(
            result.end,
            RunEnd::Completed,
            "{} records",
            log.records.len()
        );
        assert_eq!(tool.world(), new_world(), "{} records", log.records.len());
    })
    .await;
}

#[tokio::test]
async fn every_crash_can_be_taken_back_twice_interrupted() {
    every_crash(async |tool, log| {
        tool.executor()
            .rollback(&log, RollbackRequest::default())
            .await
            .unwrap();
        assert_eq!(tool.world(), old_world(), "{} records", log.records.len());
        let whole = tool.log().await;
        for length in log.records.len()..whole.records.len() {
            let mut cut = whole.clone();
            cut.records.truncate(length);
            let state = RunState::replay(&cut).unwrap();
            if !matches!(state.phase, Phase::RollingBack(_) | Phase::Reverted) {
                continue;
            }
            let journal = Arc::new(MemoryJournal::default());
            journal.open(&cut.header).await.unwrap();
            for (at, record) in &cut.records {
                journal.append(&cut.header.run, *at, record).await.unwrap();
            }
            tool.executor()
                .with_journal(journal)
                .resume(&cut)
                .await
                .unwrap();
            assert_eq!(tool.world(), old_world());
        }
    })
    .await;
}

#[tokio::test]
async fn a_failing_undo_is_stuck_and_can_be_tried_again() {
    let tool = Tool::new();
    *tool.put.fail.lock().unwrap() = Some("c".into());
    *tool.put.fail_undo.lock().unwrap() = Some("b".into());
    let error = tool.executor().execute_migration(&plan("new")).await;
    assert!(
        matches!(error, Err(MigrationError::Stuck { .. })),
        "{error:?}"
    );
    let log = tool.log().await;
    assert_eq!(RunState::replay(&log).unwrap().phase, Phase::Stuck);
    assert!(
        log.records
            .iter()
            .any(|(_, r)| matches!(r, Record::UndoFailed { .. }))
    );
    *tool.put.fail_undo.lock().unwrap() = None;
    tool.executor()
        .rollback(&log, RollbackRequest::default())
        .await
        .unwrap();
    assert_eq!(tool.world(), old_world());
}

#[tokio::test]
async fn a_record_out_of_place_is_refused() {
    let tool = Tool::new();
    tool.executor()
        .execute_migration(&plan("new"))
        .await
        .unwrap();
    let log = tool.log().await;
    for drop in 0..log.records.len() {
        let mut torn = log.clone();
        torn.records.remove(drop);
        let last = drop == log.records.len() - 1;
        assert_eq!(
            RunState::replay(&torn).is_ok(),
            last,
            "without record {drop}"
        );
    }
}

/// Writes every entry, and says of one that it did not.
struct Late {
    entries: Arc<MemoryJournal>,
    fails: fn(&Record) -> bool,
}

#[async_trait]
impl Journal for Late {
    async fn open(&self, header: &RunHeader) -> Result<(), JournalError> {
        self.entries.open(header).await
    }

    async fn append(
        &self,
        run: &RunId,
        at: DateTime<Utc>,
        record: &Record,
    ) -> Result<(), JournalError> {
        self.entries.append(run, at, record).await?;
        if (self.fails)(record) {
            return Err(JournalError::Unavailable("told to fail".into()));
        }
        Ok(())
    }

    async fn runs(&self) -> Result<Vec<RunLog>, JournalError> {
        self.entries.runs().await
    }
}

#[tokio::test]
async fn an_error_after_the_last_entry_is_not_taken_for_an_open_run() {
    let tool = Tool::new();
    let journal = |fails| Late {
        entries: tool.journal.clone(),
        fails,
    };
    let last = journal(|record| matches!(record, Record::Completed));
    let forward = tool.executor().with_journal(Arc::new(last));
    let result = forward.execute_migration(&plan("new")).await.unwrap();
    assert_eq!(result.end, RunEnd::Completed);
    let log = tool.log().await;
    // An entry in the middle leaves the run open, and nothing further is done.
    let middle = journal(|record| matches!(record, Record::UndoStarted { .. }));
    let back = tool.executor().with_journal(Arc::new(middle));
    let error = back.rollback(&log, RollbackRequest::default()).await;
    assert!(matches!(error, Err(MigrationError::Stuck { .. })));
    assert_eq!(tool.world(), new_world());
    let last = journal(|record| matches!(record, Record::RolledBack));
    let back = tool.executor().with_journal(Arc::new(last));
    let result = back.resume(&tool.log().await).await.unwrap();
    assert_eq!(result.end, RunEnd::RolledBack);
    assert_eq!(tool.world(), old_world());
}

#[tokio::test]
async fn runs_of_one_second_have_names_of_their_own() {
    let tool = Tool::new();
    for round in 0..3 {
        tool.executor()
            .execute_migration(&plan("new"))
            .await
            .unwrap();
        let log = tool.log().await;
        tool.executor()
            .rollback(&log, migrate_core::RollbackRequest::default())
            .await
            .unwrap();
        assert_eq!(tool.journal.runs().await.unwrap().len(), round + 1);
    }
    let header = tool.log().await.header;
    let error = tool.journal.open(&header).await.unwrap_err();
    assert!(error.to_string().contains("already"), "{error}");
}
