//! What users wrote into the new tables after the upgrade comes back into the old ones.

use migrate_tests::binary::Tool;
use migrate_tests::deployment::{Deployment, Store};
use migrate_tests::{binary, deployment};

use crate::on_both;

const V2: &str = r#"{"database":{"pool_size":10,"timeout":30,"url":"postgres://x"},"observability":{"enable_metrics":true,"enable_tracing":true,"log_level":"warn","metrics_port":9090},"pipeline":{"batch_size":77,"max_parallel_tasks":2,"retry_attempts":3,"timeout":300}}"#;
const V1: &str =
    r#"{"database_url":"postgres://x","log_level":"warn","batch_size":77,"parallel_tasks":2}"#;

fn insert(deployment: &Deployment, id: i64, config: &str) {
    deployment.sql(&format!(
        "INSERT INTO pipelines (id, name, config, status, created_at) VALUES ({id}, 'new {id}', '{config}', 'ok', '2026-01-02 03:04:05')"
    ));
}

/// A row that only the copy brought into `pipelines`.
fn copied(deployment: &Deployment) -> i64 {
    let row = deployment
        .source
        .iter()
        .find(|row| row.id > 0 && deployment.target.iter().all(|other| other.id != row.id));
    row.expect("most rows are new to the target").id
}

/// A row that was in `pipelines` before, and that the copy overwrote.
fn overwritten(deployment: &Deployment) -> i64 {
    let row = deployment
        .target
        .iter()
        .find(|row| row.id > 0 && deployment.source.iter().any(|other| other.id == row.id));
    row.expect("some rows are in both").id
}

fn old(deployment: &Deployment, id: i64, columns: &str) -> String {
    deployment.sql(&format!(
        "SELECT {columns} FROM pipelines_old WHERE id = {id}"
    ))
}

/// New rows, a changed copied row and a changed overwritten row are in the old table afterwards;
/// taking those away by hand, everything is as before.
fn written(deployment: &Deployment) -> Vec<String> {
    let (fresh, known) = (copied(deployment), overwritten(deployment));
    let mut undo = Vec::new();
    for id in [fresh, known] {
        let name = old(deployment, id, "name").replace('\'', "''");
        undo.push(format!(
            "UPDATE pipelines_old SET name = '{name}' WHERE id = {id}"
        ));
        deployment.sql(&format!(
            "UPDATE pipelines SET name = 'changed since' WHERE id = {id}"
        ));
    }
    insert(deployment, 77_777, V2);
    insert(deployment, 77_778, "{}");
    undo.push("DELETE FROM pipelines_old WHERE id IN (77777, 77778)".to_owned());
    undo
}

fn must_be_carried(deployment: &Deployment) {
    let (fresh, known) = (copied(deployment), overwritten(deployment));
    for id in [fresh, known] {
        assert_eq!(old(deployment, id, "name"), "changed since");
    }
    assert_eq!(
        old(deployment, 77_777, "name, config, status"),
        format!("new 77777|{V1}|ok")
    );
    assert_eq!(old(deployment, 77_778, "config"), "{}");
    let moment = match deployment.store() {
        Store::Sqlite => "created_at",
        Store::Postgres => "created_at AT TIME ZONE 'UTC'",
    };
    assert_eq!(old(deployment, 77_777, moment), "2026-01-02 03:04:05");
}

fn what_was_written_comes_back_into_the_old_table(store: Store) {
    let deployment = Deployment::v1().on(store);
    let before = deployment.snapshot();
    deployment.migrate().expect(0);
    let undo = written(&deployment);
    deployment
        .rollback("reverse")
        .expect(0)
        .says(&["4 rows written into pipelines since are in pipelines_old now (2 new, 2 changed)"]);
    must_be_carried(&deployment);
    for sql in undo {
        deployment.sql(&sql);
    }
    before.must_equal(&deployment.snapshot(), "but for what was carried back");
}

/// The guide's own order: forward again, and the rows are there in the new form.
fn they_go_forward_again(store: Store) {
    let deployment = Deployment::v1().on(store);
    deployment.migrate().expect(0);
    written(&deployment);
    deployment.rollback("reverse").expect(0);
    deployment.migrate().expect(0);
    let row = deployment.sql("SELECT name, config, retry_attempts FROM pipelines WHERE id = 77777");
    assert_eq!(row, format!("new 77777|{V2}|3"));
}

fn what_the_old_form_cannot_hold_is_named_before_anything_changes(store: Store) {
    let deployment = Deployment::v1().on(store);
    let before = deployment.snapshot();
    deployment.migrate().expect(0);
    insert(
        &deployment,
        77_777,
        &V2.replace(r#""pool_size":10"#, r#""pool_size":99"#),
    );
    deployment.sql("UPDATE pipelines SET timeout_seconds = 5 WHERE id = 1");
    let written = deployment.snapshot();
    deployment.rollback("reverse").expect(7).says(&[
        "2 rows hold what pipelines_old can't",
        "id=1 (timeout_seconds)",
        "id=77777 (config.database.pool_size)",
        "--accept-data-loss",
    ]);
    written.must_equal(&deployment.snapshot(), "after a refusal");
    deployment
        .run(&[
            "--rollback",
            "--to",
            "1.5.0",
            "--strategy",
            "reverse",
            "--accept-data-loss",
            "--yes",
        ])
        .expect(0);
    assert_eq!(old(&deployment, 77_777, "config"), V1);
    deployment.sql("DELETE FROM pipelines_old WHERE id = 77777");
    before.must_equal(&deployment.snapshot(), "but for the row that was carried");
}

fn a_row_that_was_deleted_does_not_come_back_unasked(store: Store) {
    let deployment = Deployment::v1().on(store);
    let before = deployment.snapshot();
    deployment.migrate().expect(0);
    let id = copied(&deployment);
    deployment.sql(&format!("DELETE FROM pipelines WHERE id = {id}"));
    deployment
        .rollback("reverse")
        .expect(7)
        .says(&["1 deleted since the upgrade would be there again"]);
    deployment
        .run(&["--rollback", "--to", "1.5.0", "--accept-data-loss", "--yes"])
        .expect(0);
    before.must_equal(&deployment.snapshot(), "with consent");
}

/// PostgreSQL only: there a text that is no JSON is an error of the script; on SQLite it is said.
#[test]
fn a_row_that_cannot_be_read_is_named() {
    let deployment = Deployment::v1().postgres();
    deployment.migrate().expect(0);
    insert(&deployment, 77_777, V2);
    insert(&deployment, 77_778, "no JSON");
    let written = deployment.snapshot();
    deployment
        .rollback("reverse")
        .expect(1)
        .says(&["id=77778", "--strategy restore"]);
    written.must_equal(&deployment.snapshot(), "after a refusal");
}

/// Without the marks of rows, which are kept last, nothing could be carried back.
#[test]
fn the_marks_outlive_a_connection_that_breaks() {
    let deployment = Deployment::v1().rows(20).postgres();
    let root = deployment.root().to_str().unwrap();
    let migrate = ["-C", root, "--from", "1.5.0", "--to", "2.0.0", "--yes"];
    let mut run = Tool::of(binary::failpoints(), &migrate)
        .env("ETLRS_FAILPOINT", "marks.commit:stop:1")
        .start();
    assert!(run.is_stopped(), "it never came to its marks");
    let ended = deployment.postgres().admin_psql(
        "SELECT count(pg_terminate_backend(pid, 10000)) FROM pg_stat_activity \
         WHERE datname = current_database() AND state = 'idle in transaction'",
    );
    assert_eq!(ended, "1");
    run.signal("CONT");
    let run = run.finish();
    run.expect(0);
    assert!(!run.output().contains("only roughly"), "{run}");
    insert(&deployment, 77_777, V2);
    deployment.rollback("reverse").expect(0);
    assert_eq!(old(&deployment, 77_777, "config"), V1);
}

/// Killed at every place of the way back, again and again: no row is lost.
fn killed_anywhere_it_goes_on(store: Store) {
    let trace = tempfile::NamedTempFile::new().unwrap();
    let tool = |deployment: &deployment::Deployment| {
        let root = deployment.root().to_str().unwrap().to_owned();
        let arguments = [
            "-C",
            &root,
            "--rollback",
            "--to",
            "1.5.0",
            "--strategy",
            "reverse",
            "--accept-data-loss",
            "--yes",
        ];
        Tool::of(binary::failpoints(), &arguments)
    };
    let ready = || {
        let deployment = Deployment::v1().rows(20).on(store);
        deployment.migrate().expect(0);
        let undo = written(&deployment);
        let id = copied(&deployment);
        deployment.sql(&format!(
            "INSERT INTO pipeline_metrics (pipeline_id, metric_name, metric_value) VALUES ({id}, 'p', 1), (77777, 'p', 2)"
        ));
        (deployment, undo)
    };
    let (deployment, _) = ready();
    tool(&deployment)
        .env("ETLRS_FAILPOINT_TRACE", trace.path())
        .run()
        .expect(0);
    let traced = std::fs::read_to_string(trace.path()).unwrap();
    let commits = traced.lines().filter(|line| *line == "data.commit").count();
    assert!(commits >= 6, "the way back commits {commits} times");
    let every = match store {
        Store::Sqlite => 1,
        Store::Postgres => 3,
    };
    for nth in (1..=commits).step_by(every) {
        let (deployment, _) = ready();
        let place = ["data.commit", "data.committed"][nth % 2];
        tool(&deployment)
            .env("ETLRS_FAILPOINT", format!("{place}:kill:{nth}"))
            .run();
        tool(&deployment)
            .env("ETLRS_FAILPOINT", "data.commit:kill:1")
            .run();
        deployment.run(&["resume", "--yes"]).expect(0);
        must_be_carried(&deployment);
        let left = "SELECT count(*) FROM pipelines WHERE id IN (77777, 77778)";
        assert_eq!(deployment.sql(left), "0", "killed at {place} {nth}");
    }
}

on_both!(
    what_was_written_comes_back_into_the_old_table,
    they_go_forward_again,
    what_the_old_form_cannot_hold_is_named_before_anything_changes,
    a_row_that_was_deleted_does_not_come_back_unasked,
    killed_anywhere_it_goes_on,
);
