//! What an undo promises and keeps.

use migrate_core::{Probe, Readiness, Undoable};
use migrate_schema::db::Database;
use serde_json::json;

use super::place::{Scripts, Update, V1, before, both, value};

#[tokio::test]
async fn only_what_can_be_taken_back_says_so() {
    for place in both().await {
        let sqlite = matches!(place.db, Database::Sqlite(_));
        for (script, more, on_postgres, on_sqlite) in [
            ("create table a (id integer)", json!({}), false, true),
            (
                "create table a (id integer)",
                json!({"down": "down.sql"}),
                true,
                true,
            ),
            (
                "create table a (id integer)",
                json!({"down": "down.sql", "can_rollback": false}),
                false,
                false,
            ),
            (
                "alter table p add b int; update p set b = 1",
                json!({}),
                false,
                true,
            ),
            ("update p set name = 'x'", json!({}), false, false),
            ("delete from p", json!({}), false, false),
            ("drop table p", json!({}), false, false),
            ("alter table p drop column name", json!({}), false, false),
            (
                "create table a (id integer); insert into a values (1)",
                json!({}),
                false,
                true,
            ),
            ("insert into p values (1)", json!({}), false, false),
        ] {
            let scripts = Scripts::from([("5.sql", script), ("down.sql", "drop table a")]);
            let mut fields = json!({"script": "5.sql"});
            fields
                .as_object_mut()
                .unwrap()
                .extend(more.as_object().unwrap().clone());
            let update = Update::new(&place, scripts, &fields).unwrap();
            let expected = if sqlite { on_sqlite } else { on_postgres };
            let found = update.step.describe().undo == Undoable::Yes;
            assert_eq!(found, expected, "{script} {more}");
            if !expected {
                let notes = update.preview().await.notes;
                assert!(
                    notes.iter().any(|note| note.starts_with("can't be undone")),
                    "{notes:?}"
                );
            }
        }
    }
}

#[tokio::test]
async fn a_down_script_that_does_not_bring_all_back_changes_nothing() {
    for place in both().await {
        place.sql(V1);
        let scripts = Scripts::from([
            (
                "6.sql",
                "create table a (id integer); create table b (id integer);",
            ),
            (
                "6.down.sql",
                "drop table a; alter table pipelines rename to moved;",
            ),
        ]);
        let update = Update::new(&place, scripts, &json!({"script": "6.sql"})).unwrap();
        let receipt = update.prepare().await;
        update.run(&receipt).await.unwrap();
        let new = before(&place).await;
        let error = update.undo(&receipt).await.unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("table ") && text.contains("b is still there"),
            "{text}"
        );
        assert!(text.contains("pipelines was dropped by the undo"), "{text}");
        assert_eq!(before(&place).await, new);
        assert!(matches!(update.probe(&receipt).await, Probe::Applied(_)));
    }
}

#[tokio::test]
async fn an_undo_does_not_destroy_what_others_changed_since() {
    for place in both().await {
        place.sql(V1);
        let old = before(&place).await;
        let update = Update::shipped(&place);
        let receipt = update.prepare().await;
        update.run(&receipt).await.unwrap();
        place.sql("alter table pipelines add column theirs text");
        place.sql("create table unrelated (id integer); insert into unrelated values (1)");
        let new = before(&place).await;
        if let Database::Sqlite(_) = place.db {
            let error = update.undo(&receipt).await.unwrap_err();
            assert!(
                error
                    .message
                    .contains("changed by others since the upgrade: table pipelines"),
                "{error}"
            );
            assert_eq!(before(&place).await, new);
            place.sql("alter table pipelines drop column theirs");
        } else {
            let error = update.undo(&receipt).await.unwrap_err();
            assert!(error.message.contains("table public.pipelines"), "{error}");
            assert_eq!(before(&place).await, new);
            place.sql("alter table pipelines drop column theirs");
        }
        place.sql(
            "insert into pipelines (id, name, config, status) values (100, 'new', '{}', 'on')",
        );
        place.sql("create index theirs on pipeline_metrics (labels)");
        let report = update.undo(&receipt).await.unwrap();
        assert_eq!(report.left.len(), 1, "{report:?}");
        assert!(
            report.left[0].contains("theirs went with its table"),
            "{report:?}"
        );
        let left: Vec<String> = old.differences(&before(&place).await);
        assert!(
            left.iter().all(|line| line.contains("unrelated")
                || line.contains("rows ") && line.contains("pipelines")),
            "{left:?}"
        );
        assert_eq!(
            value(&place.db, "select count(*) from pipelines").await,
            json!(4)
        );
        assert_eq!(value(&place.db, "select id from unrelated").await, json!(1));
    }
}

#[tokio::test]
async fn a_down_script_as_a_step_takes_the_version_back() {
    for place in both().await {
        let old = before(&place).await;
        let scripts = Scripts::from([
            ("001_v2_a.sql", "create table a (id integer)"),
            ("001_v2_a.down.sql", "drop table a"),
        ]);
        let up = Update::new(&place, scripts.clone(), &json!({"command": "001_v2_a.sql"})).unwrap();
        let mut down =
            Update::new(&place, scripts, &json!({"command": "001_v2_a.down.sql"})).unwrap();
        assert!(matches!(down.check().await, Readiness::AlreadyDone(_)));
        assert_eq!(down.step.describe().undo, Undoable::No);
        let receipt = up.prepare().await;
        up.run(&receipt).await.unwrap();

        down.cx.run = up.cx.run.clone();
        down.cx.step = "down".parse().unwrap();
        assert_eq!(down.check().await, Readiness::Ready);
        let receipt = down.prepare().await;
        let outcome = down.run(&receipt).await.unwrap();
        assert_eq!(outcome.message, "1 statements, schema back from version 1");
        down.run(&receipt).await.unwrap();
        assert_eq!(old.differences(&before(&place).await), Vec::<String>::new());
        assert_eq!(up.probe(&receipt).await, Probe::NotApplied);
    }
}
