//! The step kind `ConfigUpdate`: repeatable, undoable, and quiet about secrets.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests read best so, and a test fails by panicking"
)]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use migrate_config::{ConfigMigration, ConfigUpdateKind, Migrated, Root};
use migrate_core::event::Silent;
use migrate_core::{
    Cancel, CancelCause, Finding, MigrationPlan, Probe, Readiness, Receipt, RunId, ScopeObject,
    Step, StepContext, StepErrorKind, StepRegistry, Undoable,
};
use serde_json::{Value, json};
use tempfile::TempDir;

const HOSTILE: &str = include_str!("data/hostile.toml");

struct Deployment {
    dir: TempDir,
}

impl Deployment {
    fn new(config: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("config")).unwrap();
        let deployment = Self { dir };
        deployment.write("config/config.toml", config);
        deployment
    }

    fn path(&self, file: &str) -> PathBuf {
        self.dir.path().join(file)
    }

    fn write(&self, file: &str, text: &str) {
        fs::write(self.path(file), text).unwrap();
    }

    fn text(&self, file: &str) -> String {
        fs::read_to_string(self.path(file)).unwrap()
    }

    fn config(&self) -> String {
        self.text("config/config.toml")
    }

    fn backups(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.path("backups")) else {
            return Vec::new();
        };
        let mut names: Vec<_> = entries
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn build(&self, steps: &[Value]) -> Result<Vec<Box<dyn Step>>, Vec<Finding>> {
        let plan = plan(steps);
        let root = Arc::new(Root::open(self.dir.path()).unwrap());
        let kind = ConfigUpdateKind::new(root).with_migration(Shout);
        StepRegistry::new()
            .with(kind)
            .build_all(&plan, "steps", &plan.steps)
    }

    fn step(&self, fields: Value) -> Box<dyn Step> {
        self.build(&[fields]).unwrap().remove(0)
    }
}

/// A migration of somebody else's.
struct Shout;

impl ConfigMigration for Shout {
    fn name(&self) -> &'static str {
        "shout"
    }

    fn is_done(&self, _file: &str, text: &str) -> bool {
        text == text.to_uppercase()
    }

    fn migrate(&self, _file: &str, text: &str) -> Result<Migrated, Vec<Finding>> {
        Ok(Migrated {
            text: text.to_uppercase(),
            unknown_keys: Vec::new(),
            kept_keys: Vec::new(),
        })
    }
}

fn plan(steps: &[Value]) -> MigrationPlan {
    let steps: Vec<_> = steps
        .iter()
        .enumerate()
        .map(|(index, fields)| {
            let mut step = json!({"id": format!("s{index}"), "step_type": "ConfigUpdate"});
            let map = step.as_object_mut().unwrap();
            map.extend(fields.as_object().unwrap().clone());
            step
        })
        .collect();
    serde_json::from_value(json!({
        "from_version": "1.5.0",
        "to_version": "2.0.0",
        "migration_type": "MajorUpgrade",
        "steps": steps,
    }))
    .unwrap()
}

fn cx() -> StepContext {
    StepContext {
        run: serde_json::from_value::<RunId>(json!("run-1")).unwrap(),
        step: "s0".parse().unwrap(),
        attempt: 1,
        timeout: Duration::from_secs(10),
        cancel: Cancel::new(),
        reporter: Arc::new(Silent),
        drops: [].into(),
    }
}

fn migration() -> Value {
    json!({"migration": "etlrs_v1_to_v2"})
}

#[tokio::test(flavor = "current_thread")]
async fn it_runs_once_and_undoes_once_however_often_it_is_asked() {
    let deployment = Deployment::new(HOSTILE);
    fs::set_permissions(
        deployment.path("config/config.toml"),
        fs::Permissions::from_mode(0o640),
    )
    .unwrap();
    let step = deployment.step(migration());
    assert_eq!(step.check(&cx()).await.unwrap(), Readiness::Ready);
    let receipt = step.prepare(&cx()).await.unwrap();
    assert_eq!(deployment.config(), HOSTILE, "prepare changes nothing");
    assert_eq!(
        step.probe(&cx(), &receipt).await.unwrap(),
        Probe::NotApplied
    );
    step.undo(&cx(), &receipt).await.unwrap();
    assert_eq!(
        deployment.config(),
        HOSTILE,
        "undo before run changes nothing"
    );

    let outcome = step.run(&cx(), &receipt).await.unwrap();
    let migrated = deployment.config();
    assert!(
        migrated.contains("[database]\n# Where the rows live."),
        "{migrated}"
    );
    assert!(
        outcome
            .notes
            .contains(&"backup: backups/config_1.5.0.toml".to_owned()),
        "{outcome:?}"
    );
    assert!(
        outcome.notes[0]
            .starts_with("unknown keys, left as they are: max_tokens_note, \"quoted.key\""),
        "{outcome:?}"
    );
    step.run(&cx(), &receipt).await.unwrap();
    assert_eq!(deployment.config(), migrated);
    assert!(matches!(
        step.probe(&cx(), &receipt).await.unwrap(),
        Probe::Applied(_)
    ));
    assert!(matches!(
        step.check(&cx()).await.unwrap(),
        Readiness::AlreadyDone(_)
    ));

    for _ in 0..2 {
        step.undo(&cx(), &receipt).await.unwrap();
        assert_eq!(deployment.config(), HOSTILE);
    }
    let mode = |file: &str| {
        fs::metadata(deployment.path(file))
            .unwrap()
            .permissions()
            .mode()
            & 0o777
    };
    assert_eq!(mode("config/config.toml"), 0o640);
    assert_eq!(mode("backups/config_1.5.0.toml"), 0o600);
    assert_eq!(
        fs::read_dir(deployment.path("config")).unwrap().count(),
        1,
        "no leftovers"
    );
}

#[tokio::test(flavor = "current_thread")]
async fn what_somebody_else_wrote_since_is_never_lost() {
    let deployment = Deployment::new("a = 1\n");
    let step = deployment.step(json!({"config_changes": {"a": 2}}));
    let receipt = step.prepare(&cx()).await.unwrap();
    deployment.write("config/config.toml", "a = 1 # mine\n");
    let error = step.run(&cx(), &receipt).await.unwrap_err();
    assert!(
        error
            .message
            .contains("config/config.toml was changed by somebody else"),
        "{error}"
    );
    assert!(error.hint.unwrap().contains("backups/config_1.5.0.toml"));
    assert!(step.probe(&cx(), &receipt).await.is_err());
    let found = step.check_undo(&cx(), &receipt).await.unwrap();
    assert_eq!(found.blocked, []);
    assert_eq!(found.losses.len(), 1);
    assert_eq!(deployment.config(), "a = 1 # mine\n");
    let report = step.undo(&cx(), &receipt).await.unwrap();
    assert_eq!(deployment.config(), "a = 1\n");
    let aside = "backups/config_1.5.0_changed.toml";
    assert!(report.left[0].contains(aside), "{report:?}");
    assert_eq!(
        fs::read_to_string(deployment.path(aside)).unwrap(),
        "a = 1 # mine\n"
    );
    fs::remove_file(deployment.path("config/config.toml")).unwrap();
    step.undo(&cx(), &receipt).await.unwrap();
    assert_eq!(deployment.config(), "a = 1\n");
}

#[tokio::test(flavor = "current_thread")]
async fn a_broken_backup_is_not_restored() {
    let deployment = Deployment::new("a = 1\n");
    let step = deployment.step(json!({"config_changes": {"a": 2}}));
    let receipt = step.prepare(&cx()).await.unwrap();
    step.run(&cx(), &receipt).await.unwrap();
    deployment.write("backups/config_1.5.0.toml", "a = 7\n");
    let error = step.undo(&cx(), &receipt).await.unwrap_err();
    assert!(error.message.contains("does not hold the bytes"), "{error}");
    assert_eq!(deployment.config(), "a = 2\n");
}

#[tokio::test(flavor = "current_thread")]
async fn a_backup_is_reused_or_numbered_and_never_overwritten() {
    let deployment = Deployment::new("a = 1\n");
    let step = deployment.step(json!({"config_changes": {"a": 2}}));
    step.prepare(&cx()).await.unwrap();
    step.prepare(&cx()).await.unwrap();
    assert_eq!(deployment.backups(), ["config_1.5.0.toml"]);
    deployment.write("config/config.toml", "a = 3\n");
    let receipt = step.prepare(&cx()).await.unwrap();
    assert_eq!(
        deployment.backups(),
        ["config_1.5.0.toml", "config_1.5.0_2.toml"]
    );
    assert_eq!(deployment.text("backups/config_1.5.0.toml"), "a = 1\n");
    step.run(&cx(), &receipt).await.unwrap();
    step.undo(&cx(), &receipt).await.unwrap();
    assert_eq!(deployment.config(), "a = 3\n");
}

/// Counts how often a step's changes are made to a text.
struct Counted(Arc<AtomicUsize>);

impl ConfigMigration for Counted {
    fn name(&self) -> &'static str {
        "counted"
    }

    fn is_done(&self, _file: &str, _text: &str) -> bool {
        self.0.fetch_add(1, Ordering::Relaxed);
        true
    }

    fn migrate(&self, _file: &str, _text: &str) -> Result<Migrated, Vec<Finding>> {
        unreachable!("it is always done")
    }
}

#[tokio::test(flavor = "current_thread")]
async fn many_steps_on_one_file_are_looked_at_in_linear_time() {
    const STEPS: usize = 100;
    let deployment = Deployment::new("a = 1\n");
    let fields: Vec<Value> = (0..STEPS)
        .map(|at| json!({"migration": "counted", "config_changes": {format!("b.k{at}"): at}}))
        .collect();
    let plan = plan(&fields);
    let applied = Arc::new(AtomicUsize::new(0));
    let root = Arc::new(Root::open(deployment.dir.path()).unwrap());
    let kind = ConfigUpdateKind::new(root).with_migration(Counted(applied.clone()));
    let registry = StepRegistry::new().with(kind);
    let steps = registry.build_all(&plan, "steps", &plan.steps).unwrap();
    for step in &steps {
        assert_eq!(step.check(&cx()).await.unwrap(), Readiness::Ready);
        assert!(!step.preview(&cx()).await.unwrap().diff.is_empty());
    }
    // Of each step: twice for the check, once for the preview, and once each as what the
    // step after it finds.
    let count = applied.load(Ordering::Relaxed);
    assert!(count <= 5 * STEPS, "{count} for {STEPS} steps");
    applied.store(0, Ordering::Relaxed);
    for step in &steps {
        assert_eq!(step.check(&cx()).await.unwrap(), Readiness::Ready);
        let receipt = step.prepare(&cx()).await.unwrap();
        step.run(&cx(), &receipt).await.unwrap();
    }
    // Those before a step are not made again when it runs.
    let count = applied.load(Ordering::Relaxed);
    assert!(count <= 10 * STEPS, "{count} for {STEPS} steps");
    assert_eq!(deployment.config().matches('k').count(), STEPS);
    assert_eq!(deployment.backups().len(), STEPS);
    assert_eq!(deployment.text("backups/config_1.5.0.toml"), "a = 1\n");
}

#[tokio::test(flavor = "current_thread")]
async fn a_file_that_is_too_large_is_refused_by_its_size() {
    let large = format!("a = 1\n# {}\n", "x".repeat(16 << 20));
    let deployment = Deployment::new(&large);
    let step = deployment.step(json!({"config_changes": {"a": 2}}));
    let Readiness::Blocked(found) = step.check(&cx()).await.unwrap() else {
        panic!("it was not refused");
    };
    assert!(found[0].message.contains("16 MiB"), "{found:?}");
}

#[tokio::test(flavor = "current_thread")]
async fn steps_on_the_same_file_chain() {
    let deployment = Deployment::new(HOSTILE);
    let second = json!({"rename": {"database.url": "database.dsn"}, "remove": ["custom"], "config_changes": {"pipeline.retry_attempts": 5, "log.level": "x"}});
    let steps = deployment.build(&[migration(), second]).unwrap();
    // `log` is new, so the second could run alone; it does not wait for the first.
    assert_eq!(steps[1].check(&cx()).await.unwrap(), Readiness::Ready);
    let diff = steps[1].preview(&cx()).await.unwrap().diff;
    assert!(
        diff.contains("-retry_attempts = 3\n+retry_attempts = 5\n"),
        "{diff}"
    );
    let mut receipts: Vec<Receipt> = Vec::new();
    for step in &steps {
        receipts.push(step.prepare(&cx()).await.unwrap());
        step.run(&cx(), receipts.last().unwrap()).await.unwrap();
    }
    assert_eq!(
        receipts[0].0["after_sha256"],
        receipts[1].0["before_sha256"]
    );
    let text = deployment.config();
    assert!(
        text.contains("dsn = ") && !text.contains("[custom]"),
        "{text}"
    );
    for (step, receipt) in steps.iter().zip(&receipts).rev() {
        step.undo(&cx(), receipt).await.unwrap();
    }
    assert_eq!(deployment.config(), HOSTILE);
}

#[tokio::test(flavor = "current_thread")]
async fn a_step_that_needs_an_earlier_ones_change_waits_for_it() {
    let deployment = Deployment::new("pipeline = 1\n");
    let steps = deployment
        .build(&[
            json!({"rename": {"pipeline": "workers"}}),
            json!({"file": "./config//config.toml", "config_changes": {"pipeline.size": 2}}),
        ])
        .unwrap();
    let waits = Readiness::After("config/config.toml as s0 leaves it".to_owned());
    assert_eq!(steps[1].check(&cx()).await.unwrap(), waits);
    let receipt = steps[0].prepare(&cx()).await.unwrap();
    steps[0].run(&cx(), &receipt).await.unwrap();
    assert_eq!(steps[1].check(&cx()).await.unwrap(), Readiness::Ready);
    let alone = deployment
        .build(&[json!({"config_changes": {"workers.size": 2}})])
        .unwrap();
    assert!(matches!(
        alone[0].check(&cx()).await.unwrap(),
        Readiness::Blocked(_)
    ));
}

#[tokio::test(flavor = "current_thread")]
async fn nothing_that_is_shown_holds_a_secret() {
    let config = "database_url = \"postgres://u:hunter2@h/d\"\nbatch_size = 1\nparallel_tasks = 1\nlog_level = \"info\"\napi_token = \"hunter2\"\n";
    let deployment = Deployment::new(config);
    let step = deployment.step(json!({"migration": "etlrs_v1_to_v2", "config_changes": {
        "smtp": {"password": "hunter2"}, "api_token": "hunter2b", "mirror": "postgres://a:hunter2@b"}}));
    let preview = step.preview(&cx()).await.unwrap();
    assert!(
        preview.diff.contains("+url = \"postgres://u:***@h/d\""),
        "{}",
        preview.diff
    );
    let receipt = step.prepare(&cx()).await.unwrap();
    let outcome = step.run(&cx(), &receipt).await.unwrap();
    assert!(deployment.config().contains("hunter2b"));
    deployment.write("config/config.toml", config);
    let shown = format!(
        "{preview:?} {:?} {receipt:?} {outcome:?} {:?}",
        step.describe(),
        step.check(&cx()).await
    );
    assert!(!shown.contains("hunter2"), "{shown}");
    assert_eq!(
        step.describe().actions[1],
        "config/config.toml: set api_token = \"***\""
    );
    let only = deployment.step(json!({"config_changes": {"api_token": "other"}}));
    let preview = only.preview(&cx()).await.unwrap();
    assert_eq!(
        (preview.diff.as_str(), preview.notes),
        (
            "",
            vec!["only secrets change; they are not shown".to_owned()]
        )
    );
}

#[tokio::test(flavor = "current_thread")]
async fn findings_have_places_and_block() {
    let deployment = Deployment::new(
        "database_url = \"postgres://u:hunter2@h/d\"\nbatch_size = \"10\"\nlog_level = \"inof\"\n",
    );
    let Readiness::Blocked(findings) = deployment.step(migration()).check(&cx()).await.unwrap()
    else {
        panic!("not blocked");
    };
    let shown: Vec<_> = findings.iter().map(ToString::to_string).collect();
    assert_eq!(shown.len(), 3, "{shown:?}");
    assert!(
        shown[0].starts_with("config/config.toml:2:14: batch_size is a string, not a whole number"),
        "{shown:?}"
    );
    fs::remove_file(deployment.path("config/config.toml")).unwrap();
    let Readiness::Blocked(findings) = deployment.step(migration()).check(&cx()).await.unwrap()
    else {
        panic!("not blocked");
    };
    assert!(
        findings[0]
            .message
            .contains("can't read config/config.toml"),
        "{findings:?}"
    );
}

#[tokio::test(flavor = "current_thread")]
async fn other_files_formats_and_migrations_work_likewise() {
    let deployment = Deployment::new("a = 1\n");
    deployment.write("app.json", "{\n    \"a\": 1\n}\n");
    let step = deployment
        .step(json!({"file": "app.json", "config_changes": {"b.c": true}, "can_rollback": false}));
    assert_eq!(
        step.describe().scope,
        [ScopeObject::File("app.json".to_owned())]
    );
    assert_eq!(step.describe().undo, Undoable::No);
    let receipt = step.prepare(&cx()).await.unwrap();
    step.run(&cx(), &receipt).await.unwrap();
    assert_eq!(
        deployment.text("app.json"),
        "{\n    \"a\": 1,\n    \"b\": {\n        \"c\": true\n    }\n}\n"
    );
    assert_eq!(deployment.backups(), ["app_1.5.0.json"]);
    let step = deployment.step(json!({"migration": "shout"}));
    let receipt = step.prepare(&cx()).await.unwrap();
    step.run(&cx(), &receipt).await.unwrap();
    assert_eq!(deployment.config(), "A = 1\n");
}

#[tokio::test(flavor = "current_thread")]
async fn a_symlink_is_followed_inside_the_root_only() {
    let deployment = Deployment::new("a = 1\n");
    let outside = Deployment::new("a = 1\n");
    fs::rename(
        deployment.path("config/config.toml"),
        deployment.path("real.toml"),
    )
    .unwrap();
    symlink("../real.toml", deployment.path("config/config.toml")).unwrap();
    let step = deployment.step(json!({"config_changes": {"a": 2}}));
    let receipt = step.prepare(&cx()).await.unwrap();
    step.run(&cx(), &receipt).await.unwrap();
    assert_eq!(deployment.text("real.toml"), "a = 2\n");
    assert!(deployment.path("config/config.toml").is_symlink());
    symlink(
        outside.path("config/config.toml"),
        deployment.path("config/out.toml"),
    )
    .unwrap();
    let step = deployment.step(json!({"file": "config/out.toml", "config_changes": {"a": 2}}));
    assert!(matches!(
        step.check(&cx()).await.unwrap(),
        Readiness::Blocked(_)
    ));
    assert!(step.prepare(&cx()).await.is_err());
    assert_eq!(outside.config(), "a = 1\n");
}

#[tokio::test(flavor = "current_thread")]
async fn a_step_that_is_asked_to_stop_changes_nothing() {
    let deployment = Deployment::new("a = 1\n");
    let step = deployment.step(json!({"config_changes": {"a": 2}}));
    let receipt = step.prepare(&cx()).await.unwrap();
    let stopped = cx();
    stopped.cancel.cancel(CancelCause::Signal(2));
    let error = step.run(&stopped, &receipt).await.unwrap_err();
    assert_eq!(error.kind, StepErrorKind::Interrupted);
    assert_eq!(deployment.config(), "a = 1\n");
}

#[test]
fn a_wrong_step_is_refused_with_every_reason() {
    let deployment = Deployment::new("");
    let wrong = json!({"file": "../x.toml", "migration": "nope", "rename": {"a.": "b", "c": 1},
        "remove": [1, "x["], "config_changes": {"a..b": 1}, "command": "rm", "create": true});
    let found = deployment.build(&[wrong]).err().unwrap();
    let mut pointers: Vec<_> = found.iter().map(|f| f.pointer.as_str()).collect();
    pointers.sort_unstable();
    assert_eq!(
        pointers,
        [
            "/steps/0/command",
            "/steps/0/config_changes/a..b",
            "/steps/0/create",
            "/steps/0/file",
            "/steps/0/migration",
            "/steps/0/remove/0",
            "/steps/0/remove/1",
            "/steps/0/rename/a.",
            "/steps/0/rename/c",
        ]
    );
    assert!(
        found
            .iter()
            .any(|f| f.hint.as_deref() == Some("known migrations: etlrs_v1_to_v2, shout"))
    );
    let idle = deployment.build(&[json!({})]).err().unwrap();
    assert!(idle[0].message.contains("changes nothing"));
    let absolute = deployment.build(&[json!({"file": "/etc/x.toml", "remove": ["a"]})]);
    assert!(
        absolute.err().unwrap()[0]
            .message
            .contains("not a path below")
    );
}
