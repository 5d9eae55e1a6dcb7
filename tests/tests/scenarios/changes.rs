//! What others wrote since the upgrade is counted row by row, before anybody is asked.

use migrate_tests::deployment::{Deployment, Store};
use serde_json::{Value, json};

use crate::on_both;

fn written_since(store: Store) -> Deployment {
    let deployment = Deployment::v1().on(store);
    deployment.migrate().expect(0);
    for sql in [
        "INSERT INTO pipelines (id, name, config, status) VALUES (77777, 'a', '{}', 'new'), (77778, 'b', '{}', 'new')",
        "UPDATE pipelines SET name = 'written since' WHERE id IN (1, 4, 7)",
        "DELETE FROM pipelines_old WHERE id = 10",
        // Undone by hand: the number of rows is the same, and so is every row.
        "INSERT INTO pipelines_old SELECT 88888, name, config, status, created_at FROM pipelines_old WHERE id = 1",
        "DELETE FROM pipelines_old WHERE id = 88888",
    ] {
        deployment.sql(sql);
    }
    deployment
}

fn of<'a>(list: &'a Value, table: &str) -> &'a Value {
    let found = list.as_array().unwrap().iter().find(|one| {
        let object = one["object"].as_str().unwrap();
        object.ends_with(&format!(" {table}")) || object.ends_with(&format!(".{table}"))
    });
    found.unwrap_or_else(|| panic!("nothing about {table}: {list}"))
}

fn must_be_exact(list: &Value) {
    assert_eq!(
        of(list, "pipelines")["changes"],
        json!({"inserted": 2, "updated": 3, "deleted": 0, "counted": "exact"})
    );
    assert_eq!(
        of(list, "pipelines_old")["changes"],
        json!({"inserted": 0, "updated": 0, "deleted": 1, "counted": "exact"})
    );
}

const RESTORE: &[&str] = &["--rollback", "--to", "1.5.0", "--strategy", "restore"];

fn a_restore_says_exactly_what_it_would_lose(store: Store) {
    let deployment = written_since(store);
    let written = deployment.snapshot();
    let with = |more: &[&str]| deployment.run(&[RESTORE, more].concat());
    let previewed = with(&["--dry-run", "--format", "json"]);
    must_be_exact(&previewed.expect(0).json()["rollback"]["losses"]);
    let refused = with(&["--yes", "--format", "json"]);
    let lines = refused.expect(7).json_lines();
    must_be_exact(&lines.last().unwrap()["error"]["losses"]);
    let told = lines.iter().find(|line| line["event"] == "changes");
    must_be_exact(&told.unwrap()["changed"]);
    with(&["--yes"]).expect(7).says(&[
        "2 rows inserted, 3 rows updated since",
        "1 row deleted since",
        "--accept-data-loss",
    ]);
    written.must_equal(&deployment.snapshot(), "after refusals");
    with(&["--yes", "--accept-data-loss"])
        .expect(0)
        .says(&["lost", "2 rows inserted, 3 rows updated since"]);
}

fn what_stays_is_counted_too(store: Store) {
    let deployment = written_since(store);
    let preview = deployment.run(&[
        "--rollback",
        "--to",
        "1.5.0",
        "--strategy",
        "reverse",
        "--dry-run",
        "--format",
        "json",
    ]);
    must_be_exact(&preview.expect(0).json()["rollback"]["changed"]);
}

fn a_reverse_that_loses_keeps_a_copy_first(store: Store) {
    let deployment = Deployment::v1().on(store);
    deployment.migrate().expect(0);
    deployment.sql("UPDATE pipelines SET retry_attempts = 9 WHERE id = 2");
    let way = [
        "--rollback",
        "--to",
        "1.5.0",
        "--strategy",
        "reverse",
        "--yes",
    ];
    deployment.run(&way).expect(7).says(&["retry_attempts"]);
    deployment
        .run(&[&way[..], &["--accept-data-loss"]].concat())
        .expect(0);
    let list = deployment
        .run(&["backup", "list", "--format", "json"])
        .expect(0)
        .json();
    let kinds: Vec<&Value> = list["backups"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["kind"])
        .collect();
    assert!(kinds.contains(&&json!("safety")), "{list}");
}

fn nothing_written_is_nothing_told(store: Store) {
    let deployment = Deployment::v1().on(store);
    let before = deployment.snapshot();
    deployment.migrate().expect(0);
    let run = deployment.run(&[RESTORE, &["--yes"]].concat());
    run.expect(0);
    assert!(!run.output().contains("since the upgrade"), "{run}");
    before.must_equal(&deployment.snapshot(), "marks included");
}

on_both!(
    a_restore_says_exactly_what_it_would_lose,
    what_stays_is_counted_too,
    a_reverse_that_loses_keeps_a_copy_first,
    nothing_written_is_nothing_told,
);
