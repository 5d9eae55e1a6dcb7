//! What stands in the way of a rollback is told before anything of it happens.

use migrate_tests::binary::Tool;
use migrate_tests::deployment::{Deployment, Store};

use crate::on_both;

const AUTO: &[&str] = &["--rollback", "--to", "1.5.0", "--yes"];
const AGREED: &[&str] = &["--rollback", "--to", "1.5.0", "--accept-data-loss", "--yes"];

fn next(deployment: &Deployment) -> serde_json::Value {
    deployment
        .run(&["status", "--format", "json"])
        .expect(0)
        .json()["next"]
        .clone()
}

fn values_in_columns_that_go_are_counted(store: Store) {
    let deployment = Deployment::v1().on(store);
    let before = deployment.snapshot();
    deployment.migrate().expect(0);
    deployment.sql("UPDATE pipelines SET retry_attempts = 9 WHERE id = 2");
    let written = deployment.snapshot();
    for arguments in [
        AUTO,
        &["--rollback", "--to", "1.5.0", "--strategy", "reverse"],
    ] {
        deployment.run(arguments).expect(7).says(&[
            "retry_attempts",
            "in 1 row",
            "--accept-data-loss",
        ]);
        written.must_equal(&deployment.snapshot(), "after a refusal");
    }
    deployment.run(AGREED).expect(0);
    before.must_equal(&deployment.snapshot(), "after a rollback with consent");
}

fn a_config_that_was_edited_is_set_aside_with_consent(store: Store) {
    let deployment = Deployment::v1().on(store);
    let old = deployment.read("config/config.toml");
    deployment.migrate().expect(0);
    let edited = format!("{}# by hand\n", deployment.read("config/config.toml"));
    deployment.write("config/config.toml", &edited);
    deployment
        .run(AUTO)
        .expect(7)
        .says(&["config/config.toml", "--accept-data-loss"]);
    assert_eq!(deployment.read("config/config.toml"), edited);
    deployment
        .run(AGREED)
        .expect(0)
        .says(&["backups/config_1.5.0_changed.toml"]);
    assert_eq!(deployment.read("config/config.toml"), old);
    assert_eq!(deployment.read("backups/config_1.5.0_changed.toml"), edited);
}

fn a_config_that_was_edited_keeps_its_edits(store: Store) {
    let deployment = Deployment::v1().on(store);
    let old = deployment.read("config/config.toml");
    deployment.migrate().expect(0);
    deployment.edit(
        "config/config.toml",
        "batch_size = 1000",
        "batch_size = 5000",
    );
    let edited = deployment.read("config/config.toml");
    deployment.rollback("reverse").expect(0).says(&[
        "keeps what was edited since: batch_size",
        "backups/config_1.5.0_changed.toml",
    ]);
    let kept = old.replace("batch_size = 1000", "batch_size = 5000");
    assert_eq!(deployment.read("config/config.toml"), kept);
    assert_eq!(deployment.read("backups/config_1.5.0_changed.toml"), edited);
}

fn an_edit_that_the_old_version_has_no_key_for_is_named(store: Store) {
    let deployment = Deployment::v1().on(store);
    let old = deployment.read("config/config.toml");
    deployment.migrate().expect(0);
    deployment.edit("config/config.toml", "pool_size = 10", "pool_size = 99");
    deployment.edit(
        "config/config.toml",
        "batch_size = 1000",
        "batch_size = 5000",
    );
    deployment
        .rollback("reverse")
        .expect(7)
        .says(&["no place for: database.pool_size", "--accept-data-loss"]);
    deployment.run(AGREED).expect(0);
    let kept = old.replace("batch_size = 1000", "batch_size = 5000");
    assert_eq!(deployment.read("config/config.toml"), kept);
}

fn a_backup_of_the_config_that_is_gone_is_found_before(store: Store) {
    let deployment = Deployment::v1().on(store);
    deployment.migrate().expect(0);
    let after = deployment.snapshot();
    std::fs::remove_file(deployment.path("backups/config_1.5.0.toml")).unwrap();
    deployment
        .rollback("reverse")
        .expect(1)
        .says(&["config_1.5.0.toml", "restore"]);
    after.must_equal(&deployment.snapshot(), "after a refusal");
    assert_ne!(next(&deployment), "rollback", "the run is completed still");
}

fn a_damaged_point_is_found_before(store: Store) {
    let deployment = Deployment::v1().on(store);
    let before = deployment.snapshot();
    deployment.migrate().expect(0);
    let after = deployment.snapshot();
    let backups = std::fs::read_dir(deployment.path("backups")).unwrap();
    let points = backups
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_string_lossy().contains("etlrs_backup_"))
        .filter(|path| path.extension().is_some_and(|e| e == "db" || e == "dump"));
    for path in points {
        std::fs::write(path, "nothing of it is left").unwrap();
    }
    deployment
        .rollback("restore")
        .expect(1)
        .says(&["etlrs_backup_", "reverse"]);
    after.must_equal(&deployment.snapshot(), "after a refusal");
    assert_ne!(next(&deployment), "rollback", "the run is completed still");
    deployment.rollback("reverse").expect(0);
    before.must_equal(&deployment.snapshot(), "by the other way");
}

/// A table that is not the upgrade's: what it refers to must stay.
fn rows_that_refer_to_copied_ones_are_found_before(store: Store) {
    let deployment = Deployment::v1().on(store);
    deployment.sql(
        "CREATE TABLE runs (id integer primary key, pipeline_id integer REFERENCES pipelines (id))",
    );
    let before = deployment.snapshot();
    deployment.migrate().expect(0);
    let pipeline = deployment.sql("SELECT max(id) FROM pipelines");
    deployment.sql(&format!("INSERT INTO runs VALUES (1, {pipeline})"));
    let after = deployment.snapshot();
    deployment.rollback("reverse").expect(1).says(&[
        "runs: ",
        "1 row refers",
        "--strategy restore",
    ]);
    deployment.run(AUTO).expect(7).says(&["runs"]);
    after.must_equal(&deployment.snapshot(), "after two refusals");
    deployment.run(AGREED).expect(0);
    before.must_equal(&deployment.snapshot(), "by the rollback point");
}

/// What 2.0 is for: a new pipeline, and the first metrics. The pipeline is carried back; the
/// metrics go with their table, for which consent is needed, and hold nothing up.
fn metrics_go_with_their_table_and_new_pipelines_are_carried_back(store: Store) {
    let deployment = Deployment::v1().on(store);
    let old = deployment.sql("SELECT count(*) FROM pipelines_old");
    deployment.migrate().expect(0);
    let copied = deployment.sql("SELECT max(id) FROM pipelines");
    deployment.sql(
        "INSERT INTO pipelines (id, name, config, status) VALUES (900001, 'new', '{}', 'active')",
    );
    deployment.sql(&format!(
        "INSERT INTO pipeline_metrics (pipeline_id, metric_name, metric_value) \
         VALUES ({copied}, 'p', 1), (900001, 'p', 2), (NULL, 'p', 3)"
    ));
    let after = deployment.snapshot();
    for arguments in [
        AUTO,
        &["--rollback", "--to", "1.5.0", "--strategy", "reverse"],
    ] {
        deployment
            .run(arguments)
            .expect(7)
            .says(&["pipeline_metrics", "would be dropped with 3 rows"]);
        after.must_equal(&deployment.snapshot(), "after a refusal");
    }
    deployment
        .run(AGREED)
        .expect(0)
        .says(&["1 row written into pipelines since is in pipelines_old now"]);
    let new = deployment.sql("SELECT name FROM pipelines_old WHERE id = 900001");
    assert_eq!(new, "new");
    let count = deployment.sql("SELECT count(*) FROM pipelines_old");
    assert_eq!(
        count.parse::<u64>().unwrap(),
        old.parse::<u64>().unwrap() + 1
    );
}

/// Rows that the database would delete by itself, in silence.
fn rows_that_would_go_with_copied_ones_need_consent(store: Store) {
    let deployment = Deployment::v1().on(store);
    deployment.sql(
        "CREATE TABLE runs (id integer primary key, pipeline_id integer REFERENCES pipelines (id) ON DELETE CASCADE)",
    );
    deployment.migrate().expect(0);
    let pipeline = deployment.sql("SELECT max(id) FROM pipelines");
    let insert = format!("INSERT INTO runs VALUES (1, {pipeline}), (2, NULL)");
    deployment.sql(&insert);
    deployment
        .rollback("reverse")
        .expect(7)
        .says(&["runs", "1 row refers", "would be deleted"]);
    deployment
        .run(&[AGREED, &["--strategy", "reverse"]].concat())
        .expect(0);
    assert_eq!(deployment.sql("SELECT count(*) FROM runs"), "1");
}

#[test]
fn a_table_that_others_changed_is_brought_back_by_the_point() {
    let deployment = Deployment::v1().sqlite();
    let before = deployment.snapshot();
    deployment.migrate().expect(0);
    deployment.sql("ALTER TABLE pipelines ADD COLUMN owner text");
    let after = deployment.snapshot();
    deployment
        .rollback("reverse")
        .expect(1)
        .says(&["pipelines", "restore"]);
    after.must_equal(&deployment.snapshot(), "after a refusal");
    deployment.run(AUTO).expect(7);
    deployment.run(AGREED).expect(0);
    before.must_equal(&deployment.snapshot(), "by the rollback point");
}

#[test]
fn a_deployment_that_moved_goes_back_where_it_is() {
    for strategy in ["reverse", "restore"] {
        let deployment = Deployment::v1().sqlite();
        deployment.migrate().expect(0);
        let elsewhere = tempfile::tempdir().unwrap();
        let moved = elsewhere.path().join("moved");
        std::fs::rename(deployment.path(""), &moved).unwrap();
        let root = moved.to_str().unwrap();
        let arguments = [
            "-C",
            root,
            "--rollback",
            "--to",
            "1.5.0",
            "--strategy",
            strategy,
            "--yes",
        ];
        let run = Tool::new(&arguments).run();
        std::fs::rename(&moved, deployment.path("")).unwrap();
        run.expect(0);
        assert_eq!(
            deployment.sql("SELECT count(*) FROM sqlite_master WHERE name = 'pipeline_metrics'"),
            "0"
        );
    }
}

on_both!(
    values_in_columns_that_go_are_counted,
    a_config_that_was_edited_is_set_aside_with_consent,
    a_config_that_was_edited_keeps_its_edits,
    an_edit_that_the_old_version_has_no_key_for_is_named,
    a_backup_of_the_config_that_is_gone_is_found_before,
    a_damaged_point_is_found_before,
    rows_that_refer_to_copied_ones_are_found_before,
    metrics_go_with_their_table_and_new_pipelines_are_carried_back,
    rows_that_would_go_with_copied_ones_need_consent,
);
