//! A constraint of SQLite that says ON CONFLICT REPLACE or IGNORE takes no row of others away in
//! silence: for what the tool writes, a row that breaks it is a bad row.

use migrate_tests::deployment::{Deployment, Store};
use serde_json::json;

use crate::shipped;

const TARGETS: [&str; 7] = [
    "id integer primary key, e text unique on conflict replace",
    "id integer primary key, e text unique on conflict ignore",
    "id integer primary key, e text unique on conflict fail",
    "id integer primary key, e text unique on conflict rollback",
    "id integer primary key, e text, constraint one unique (e) /* on */ on\n conflict replace",
    "id integer primary key on conflict replace, e text UNIQUE ON CONFLICT REPLACE",
    "id integer primary key, e text not null on conflict ignore unique on conflict replace",
];

const UP: [&str; 5] = ["--from", "1.5.0", "--to", "1.5.1", "--yes"];

fn copying(target: &str, more: &str) -> Deployment {
    let deployment = Deployment::v1().rows(1).on(Store::Sqlite);
    deployment.sql(&format!(
        "CREATE TABLE src (id integer primary key, e text);
         CREATE TABLE dst ({target});
         INSERT INTO dst VALUES (50, 'a@'), (51, 'z@');
         INSERT INTO src VALUES (1, 'a@'), (2, 'b@');{more}"
    ));
    deployment
}

fn plan(deployment: &Deployment, verify: &str, more: &serde_json::Value) {
    let mut data = json!({"source_table": "src", "target_table": "dst", "batch_size": 10,
        "transformation_script": "copy.sql", "parallel_workers": 1, "verify": verify});
    deployment.write("migrations/copy.sql", "SELECT id, e FROM batch");
    for (name, value) in more.as_object().into_iter().flatten() {
        data[name] = value.clone();
    }
    shipped::overlay(
        deployment,
        &json!({
            "from_version": "1.5.0", "to_version": "1.5.1", "migration_type": "Patch",
            "downtime_required": false,
            "steps": [{"id": "copy", "step_type": "DataMigration", "timeout": "60s",
                "can_rollback": true, "data_migration": data}],
        }),
    );
}

#[track_caller]
fn untouched(deployment: &Deployment, target: &str) {
    let rows = deployment.sql("SELECT id, e FROM dst ORDER BY id");
    assert_eq!(rows.trim(), "50|a@\n51|z@", "{target}");
}

#[test]
fn a_row_of_others_is_neither_replaced_nor_the_new_one_ignored() {
    for target in TARGETS {
        for verify in ["off", "full"] {
            for skip in [&[][..], &["--skip-check", "rows"]] {
                let deployment = copying(target, "");
                plan(&deployment, verify, &json!({}));
                let run = deployment.run(&[&UP[..], skip].concat());
                run.expect_one_of(&[1, 3])
                    .says(&["id=1", "UNIQUE constraint"]);
                untouched(&deployment, target);
            }
        }
    }
}

#[test]
fn such_a_row_is_quarantined_like_any_other() {
    let deployment = copying(TARGETS[0], "");
    plan(&deployment, "off", &json!({"bad_rows": "quarantine 1"}));
    deployment.run(&UP).expect(0).says(&["1 in quarantine"]);
    let rows = deployment.sql("SELECT id, e FROM dst ORDER BY id");
    assert_eq!(rows.trim(), "2|b@\n50|a@\n51|z@");
    let back = ["--rollback", "--to", "1.5.0", "--yes"];
    deployment.run(&back);
    untouched(&deployment, TARGETS[0]);
}

/// The undo puts old values back, which others have taken meanwhile.
#[test]
fn an_undo_replaces_no_row_of_others() {
    let deployment = copying(
        TARGETS[0],
        "UPDATE src SET id = 50, e = 'new@' WHERE id = 1;",
    );
    plan(&deployment, "off", &json!({}));
    deployment.run(&UP).expect(0);
    deployment.sql("INSERT INTO dst VALUES (99, 'a@')");
    deployment.run(&[
        "--rollback",
        "--to",
        "1.5.0",
        "--yes",
        "--strategy",
        "reverse",
    ]);
    let kept = deployment.sql("SELECT e FROM dst WHERE id = 99");
    assert_eq!(kept.trim(), "a@");
}

/// What a trigger of the user's says of its own rows stays so where the table says nothing.
#[test]
fn a_trigger_keeps_its_own_clause() {
    let deployment = copying(
        "id integer primary key, e text",
        "CREATE TABLE seen (e text primary key); INSERT INTO seen VALUES ('a@');
         CREATE TRIGGER note AFTER INSERT ON dst BEGIN INSERT OR IGNORE INTO seen VALUES (NEW.e); END;",
    );
    plan(&deployment, "off", &json!({}));
    deployment.run(&UP).expect(0);
    assert_eq!(deployment.sql("SELECT count(*) FROM seen").trim(), "2");
    assert_eq!(deployment.sql("SELECT count(*) FROM dst").trim(), "4");
}
