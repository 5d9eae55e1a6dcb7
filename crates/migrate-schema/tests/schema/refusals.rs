//! What is refused, and with which words.

use std::collections::BTreeMap;

use migrate_core::{Probe, Readiness, StepErrorKind};
use migrate_schema::db::Database;
use serde_json::{Value, json};

use super::place::{Place, Scripts, Update, V1, before, both};

#[tokio::test]
async fn a_script_that_fails_leaves_no_trace_and_names_its_line() {
    for place in both().await {
        place.sql(V1);
        let script = "alter table pipelines add column a timestamp default current_timestamp;\n\n\
                      create table fresh (id integer primary key);\n\
                      insert into fresh values (1);\n  insert into fresh\n  values (1), (nowhere);\n";
        let scripts = Scripts::from([("3.sql", script)]);
        let old = before(&place).await;
        let update = Update::new(&place, scripts, &json!({"command": "3.sql"})).unwrap();
        let receipt = update.prepare().await;
        let error = update.run(&receipt).await.unwrap_err();
        assert_eq!(error.kind, StepErrorKind::Failed);
        assert_eq!(error.message, "statement 4 of 4 failed");
        assert!(error.causes[0].contains("nowhere"), "{error}");
        let place_of = error.place.clone().unwrap();
        match place.db {
            Database::Postgres(_) => {
                assert_eq!(place_of.to_string(), "scripts/3.sql:6:16");
                assert_eq!(place_of.text.as_deref(), Some("  values (1), (nowhere);"));
                assert!(error.causes[0].contains("(42703)"), "{error}");
            }
            Database::Sqlite(_) => {
                assert_eq!(place_of.to_string(), "scripts/3.sql:5:3");
                assert_eq!(place_of.text.as_deref(), Some("  insert into fresh"));
            }
        }
        assert_eq!(before(&place).await, old);
        assert_eq!(update.probe(&receipt).await, Probe::NotApplied);
        assert_eq!(
            update.undo(&receipt).await.unwrap().message,
            "nothing of it was there"
        );
        assert_eq!(before(&place).await, old);
        assert!(matches!(
            place.db.query_json("pragma foreign_keys").await,
            Err(_) | Ok(Value::Array(_) | Value::Number(_))
        ));
    }
}

#[tokio::test]
async fn what_stands_in_the_way_is_found_before_anything_runs() {
    for place in both().await {
        let update = Update::shipped(&place);
        let Readiness::Blocked(findings) = update.check().await else {
            panic!("an empty database can't be upgraded");
        };
        assert!(
            findings[0].message.contains("no table pipelines"),
            "{findings:?}"
        );
        assert!(findings[0].place.is_some() && findings[0].hint.is_some());

        place.sql(V1);
        place.sql("create table pipeline_metrics (id int)");
        let Readiness::Blocked(findings) = update.check().await else {
            panic!("the table is there");
        };
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert!(
            findings[0]
                .message
                .contains("pipeline_metrics is there already")
        );
        let old = before(&place).await;
        let receipt = update.prepare().await;
        let error = update.run(&receipt).await.unwrap_err();
        assert!(error.causes[0].contains("already exists"), "{error}");
        assert_eq!(before(&place).await, old);
    }
}

#[tokio::test]
async fn a_typing_error_is_found_with_its_place_before_anything_runs() {
    for place in both().await {
        place.sql(V1);
        let scripts = Scripts::from([(
            "4_x.sql",
            "create table a (id integer);\nalter tabel a add b integer;\ncreate index i on a (id;\n",
        )]);
        let update = Update::new(&place, scripts, &json!({"script": "4_x.sql"})).unwrap();
        let Readiness::Blocked(findings) = update.check().await else {
            panic!("it can't be parsed");
        };
        let places: Vec<String> = findings
            .iter()
            .map(|finding| finding.place.as_ref().unwrap().to_string())
            .collect();
        assert!(places[0].starts_with("scripts/4_x.sql:2:7"), "{findings:?}");
        assert!(places[1].starts_with("scripts/4_x.sql:3:"), "{findings:?}");
        assert!(
            findings
                .iter()
                .all(|finding| finding.code == "schema.syntax")
        );
    }
}

#[tokio::test]
async fn wrong_steps_are_refused_with_all_that_is_wrong() {
    let place = Place::sqlite().await;
    let scripts = || {
        Scripts::from([
            ("1.sql", "select 1"),
            ("plain.sql", "begin; .read x\n; select 'x"),
            ("1.down.sql", "commit"),
        ])
    };
    for (fields, expected) in [
        (json!({}), vec![""]),
        (
            json!({"script": "none.sql", "schema_version": 3}),
            vec!["/script"],
        ),
        (
            json!({"script": "1.sql", "command": "1.sql"}),
            vec!["/command"],
        ),
        (json!({"command": ["1.sql"]}), vec!["/command"]),
        (json!({"script": 3}), vec!["/script"]),
        (
            json!({"script": "plain.sql"}),
            vec!["/script", "/script", "/schema_version"],
        ),
        (
            json!({"script": "1.sql", "schema_version": 0}),
            vec!["/schema_version", "/down"],
        ),
        (
            json!({"script": "1.sql", "schema_version": "2"}),
            vec!["/schema_version", "/down"],
        ),
        (
            json!({"script": "1.sql", "down": "gone.sql"}),
            vec!["/down"],
        ),
    ] {
        let Err(findings) = Update::new(&place, scripts(), &fields) else {
            panic!("{fields} is taken");
        };
        let pointers: Vec<&str> = findings
            .iter()
            .map(|finding| finding.pointer.as_str())
            .collect();
        assert_eq!(pointers, expected, "{fields}: {findings:?}");
    }
}

#[tokio::test]
async fn a_step_after_others_waits_for_what_they_make() {
    let place = Place::sqlite().await;
    let update = Update::after(
        &place,
        Scripts::shipped(),
        &json!({"command": "001_v2_schema_updates.sql"}),
        &[json!({"step_type": "DataMigration"})],
    )
    .unwrap();
    assert!(matches!(update.check().await, Readiness::After(_)));
    let description = update.step.describe();
    let inputs: BTreeMap<String, String> = description.inputs.into_iter().collect();
    assert_eq!(
        inputs.keys().collect::<Vec<_>>(),
        ["scripts/001_v2_schema_updates.sqlite.sql"]
    );
    assert!(
        description.actions[0].ends_with("DEFAULT 3;"),
        "{:?}",
        description.actions
    );
}

#[tokio::test]
async fn a_script_is_applied_by_one_step() {
    let place = Place::sqlite().await;
    let scripts = Scripts::from([("005_a.sql", "select 1"), ("004_b.sql", "select 2")]);
    let first = json!({"step_type": "SchemaUpdate", "command": "005_a.sql"});
    for (second, fits) in [
        (json!({"command": "004_b.sql"}), true),
        (json!({"command": "004_b.sql", "schema_version": 5}), true),
        (json!({"command": "005_a.sql", "schema_version": 6}), false),
    ] {
        let built = Update::after(
            &place,
            scripts.clone(),
            &second,
            std::slice::from_ref(&first),
        );
        match built {
            Ok(_) => assert!(fits, "{second} is taken"),
            Err(findings) => {
                assert!(!fits, "{second}: {findings:?}");
                assert_eq!(findings[0].code, "schema.script-twice");
            }
        }
    }
}
