//! The step kind `SchemaUpdate` on real databases.

mod place;

use std::collections::BTreeMap;

use migrate_core::{Fingerprint, Probe, Readiness, StepErrorKind, Undoable};
use migrate_schema::db::Database;
use migrate_schema::fingerprint;
use migrate_schema::migrator::SchemaMigrator;
use place::{Place, Scripts, Update, both, cancel_soon};
use serde_json::{Value, json};

const V1: &str = "
create table pipelines (id integer primary key, name text not null, config text not null, status text not null);
insert into pipelines values (1, 'it''s', '{}', 'on'), (-5, '', 'null', 'off'), (70, 'é', '{\"a\":1}', 'on');
create table pipelines_old (id integer primary key, name text, config text, status text, created_at text);
insert into pipelines_old values (1, 'a', '{}', 'x', null);
";

async fn before(place: &Place) -> Fingerprint {
    fingerprint::database(&place.db).await.unwrap()
}

async fn value(db: &Database, sql: &str) -> Value {
    db.query_json(sql).await.unwrap()
}

#[tokio::test]
async fn the_shipped_script_runs_and_comes_back_again_and_again() {
    for place in both().await {
        place.sql(V1);
        let old = before(&place).await;
        let update = Update::shipped(&place);
        assert_eq!(update.step.describe().undo, Undoable::Yes);
        for _ in 0..2 {
            assert_eq!(update.check().await, Readiness::Ready);
            let receipt = update.prepare().await;
            assert_eq!(update.probe(&receipt).await, Probe::NotApplied);
            assert_eq!(before(&place).await, old);
            let outcome = update.run(&receipt).await.unwrap();
            assert_eq!(update.run(&receipt).await.unwrap(), outcome);
            assert_eq!(update.probe(&receipt).await, Probe::Applied(outcome));
            is_at_version_2(&place).await;
            let new = before(&place).await;
            assert!(matches!(update.check().await, Readiness::AlreadyDone(_)));

            let report = update.undo(&receipt).await.unwrap();
            assert!(report.left.is_empty(), "{report:?}");
            assert_eq!(old.differences(&before(&place).await), Vec::<String>::new());
            assert_eq!(update.probe(&receipt).await, Probe::NotApplied);
            let again = update.undo(&receipt).await.unwrap();
            assert_eq!(again.message, "nothing of it was there");
            assert_eq!(before(&place).await, old);
            assert_ne!(new, old);
        }
    }
}

async fn is_at_version_2(place: &Place) {
    let db = &place.db;
    let migrator = SchemaMigrator::new(db.clone());
    assert_eq!(migrator.current_version().await.unwrap(), 2);
    assert_eq!(
        value(
            db,
            "select count(*) from schema_versions where applied_at is not null"
        )
        .await,
        json!(1)
    );
    assert_eq!(
        value(
            db,
            "select retry_attempts, timeout_seconds, count(*) from pipelines group by 1, 2"
        )
        .await,
        json!([3, 300, 3])
    );
    assert_eq!(
        value(
            db,
            "select count(*) from pipelines where created_at is null or updated_at is null"
        )
        .await,
        json!(0)
    );
    place.sql("insert into pipelines (id, name, config, status) values (9, 'n', 'c', 's')");
    place.sql("update pipelines set updated_at = '2001-01-01 00:00:00', created_at = '2001-01-01 00:00:00' where id = 9");
    assert_eq!(
        value(db, "select retry_attempts, timeout_seconds, cast(created_at as text) < '2002', cast(updated_at as text) > '2002' from pipelines where id = 9").await,
        match db {
            Database::Postgres(_) => json!([3, 300, true, true]),
            Database::Sqlite(_) => json!([3, 300, 1, 1]),
        }
    );
    place.sql("insert into pipeline_metrics (pipeline_id, metric_name, metric_value, labels) values (9, 'm', 1.5, '{}')");
    assert_eq!(
        value(
            db,
            "select metric_value from pipeline_metrics where id = 1 and timestamp is not null"
        )
        .await,
        json!(1.5)
    );
    place.sql("delete from pipeline_metrics; delete from pipelines where id = 9");
}

#[tokio::test]
async fn the_trigger_of_sqlite_ends_with_recursive_triggers_too() {
    let place = Place::sqlite().await;
    place.sql(V1);
    let update = Update::shipped(&place);
    let receipt = update.prepare().await;
    update.run(&receipt).await.unwrap();
    place.sql("pragma recursive_triggers = on; update pipelines set name = 'x'");
    assert_eq!(
        value(&place.db, "select distinct name from pipelines").await,
        json!("x")
    );
}

#[tokio::test]
async fn what_users_added_to_sqlite_survives_the_rebuild_and_the_way_back() {
    let place = Place::sqlite().await;
    place.sql(
        "pragma foreign_keys = on;
         create table owners (id integer primary key);
         insert into owners values (1), (2);
         CREATE  TABLE pipelines (
           id integer primary key autoincrement, -- kept, as it stands
           name text not null collate nocase, config text not null, status text not null,
           owner integer references owners(id) on delete set null,
           loud text generated always as (upper(name)) stored, quiet text as (lower(name)),
           parent integer references pipelines(id), \"odd \"\"name\" blob default (x'00'),
           check (id <> 13), unique (name));
         insert into pipelines (id, name, config, status, owner, parent, \"odd \"\"name\")
           values (1, 'A', '{}', 'on', 1, null, null), (5, 'b', '{}', 'off', null, 1, x'ff'), (900, 'c', '{}', 'on', 2, 5, 'text');
         delete from pipelines where id = 900;
         create table children (id integer primary key, pipeline integer not null references pipelines(id) on delete cascade);
         insert into children values (1, 1), (2, 5);
         create index by_expression on pipelines (lower(status), owner desc) where owner is not null;
         create unique index by_status on pipelines (status, id);
         create view busy as select id, loud from pipelines where status = 'on';
         create table log (what text);
         create trigger noted after update of status on pipelines begin insert into log values (case when new.status = 'x' then 'end;' else 'b' end); end;
         create trigger seen instead of update on busy begin update pipelines set status = 'on' where id = new.id; end;
         create trigger other after insert on children begin update pipelines set status = status where id = new.pipeline; end;
         create table orphan (id integer references pipelines(id));
         pragma foreign_keys = off; insert into orphan values (12345); pragma foreign_keys = on;
         create table plain (a, b); insert into plain(rowid, a, b) values (7, 1, 2), (3, 3, 4);
         create table clustered (k text primary key, v) without rowid; insert into clustered values ('x', 1);
         create table strict_one (a integer, t text not null) strict; insert into strict_one values (1, 'x');
         analyze;",
    );
    let facts = "select (select group_concat(stat, ';') from (select stat from sqlite_stat1 order by tbl, idx)),
                        (select seq from sqlite_sequence where name = 'pipelines'),
                        (select group_concat(rowid || ':' || a) from plain),
                        (select count(*) from children), (select count(*) from log)";
    let old_facts = value(&place.db, facts).await;
    let old = before(&place).await;
    let script = Scripts::from([(
        "002_more.sql",
        "alter table pipelines add column created_at timestamp default current_timestamp;
         alter table plain add column at text default (date('now'));
         alter table clustered add column at default current_date;
         alter table strict_one add column at text not null default current_timestamp;
         alter table \"children\" add n integer default (1 + 1);",
    )]);
    let update = Update::new(&place, script, json!({"script": "002_more.sql"})).unwrap();
    for _ in 0..2 {
        assert_eq!(update.check().await, Readiness::Ready);
        let receipt = update.prepare().await;
        update.run(&receipt).await.unwrap();
        assert_eq!(value(&place.db, facts).await, old_facts);
        let now = fingerprint::database(&place.db).await.unwrap();
        let changed = old.differences(&now);
        assert!(
            changed.iter().all(|line| [
                "pipelines",
                "plain",
                "clustered",
                "strict_one",
                "children",
                "schema_versions"
            ]
            .iter()
            .any(|name| line.starts_with(&format!("catalog table {name}:"))
                || line.starts_with(&format!("rows {name}:")))),
            "{changed:?}"
        );
        assert_eq!(
            value(
                &place.db,
                "select count(*) from pipelines where created_at is null"
            )
            .await,
            json!(0)
        );
        assert_eq!(
            value(&place.db, "select n, count(*) from children group by n").await,
            json!([2, 2])
        );
        assert_eq!(place.sql("pragma integrity_check"), "ok");
        assert_eq!(
            place.sql("select \"table\" from pragma_foreign_key_check"),
            "orphan"
        );
        // References still name the table, and cascades still work.
        assert_eq!(
            place.sql("pragma foreign_keys = on; begin; delete from pipelines where id = 1 or parent = 1; select count(*) from children; rollback"),
            "0"
        );
        assert_eq!(
            value(&place.db, "pragma foreign_key_list(children)")
                .await
                .as_array()
                .unwrap()[2],
            json!("pipelines")
        );

        let report = update.undo(&receipt).await.unwrap();
        assert!(report.left.is_empty());
        assert_eq!(old.differences(&before(&place).await), Vec::<String>::new());
        assert_eq!(value(&place.db, facts).await, old_facts);
        let text = place.sql("select sql from sqlite_master where name = 'pipelines'");
        assert!(
            text.starts_with("CREATE TABLE pipelines (") && text.contains("-- kept, as it stands"),
            "{text}"
        );
    }
    for _ in 0..8 {
        assert_eq!(
            value(&place.db, "select * from pragma_foreign_keys").await,
            json!(1)
        );
        assert_eq!(
            value(&place.db, "select * from pragma_legacy_alter_table").await,
            json!(0)
        );
    }
}

#[tokio::test]
async fn a_script_that_fails_leaves_no_trace_and_names_its_line() {
    for place in both().await {
        place.sql(V1);
        let script = "alter table pipelines add column a timestamp default current_timestamp;\n\n\
                      create table fresh (id integer primary key);\n\
                      insert into fresh values (1);\n  insert into fresh\n  values (1), (nowhere);\n";
        let scripts = Scripts::from([("3.sql", script)]);
        let old = before(&place).await;
        let update = Update::new(&place, scripts, json!({"command": "3.sql"})).unwrap();
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
async fn a_function_that_the_user_had_comes_back_and_keeps_its_triggers() {
    let place = Place::postgres().await;
    place.sql(V1);
    place.sql(
        "create function update_updated_at_column() returns trigger language plpgsql security definer as
           $x$ begin new.label = 'mine; $$'; return new; end $x$;
         create table other (id int, label text);
         insert into other values (1, 'a');
         create trigger mine before update on other for each row execute function update_updated_at_column();
         revoke execute on function update_updated_at_column() from public;
         comment on function update_updated_at_column() is 'do not touch';",
    );
    let old = before(&place).await;
    let update = Update::shipped(&place);
    let receipt = update.prepare().await;
    update.run(&receipt).await.unwrap();
    assert_ne!(before(&place).await, old);
    update.undo(&receipt).await.unwrap();
    assert_eq!(old.differences(&before(&place).await), Vec::<String>::new());
    place.sql("update other set id = 2");
    assert_eq!(
        value(&place.db, "select label from other").await,
        json!("mine; $$")
    );
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
        let update = Update::new(&place, scripts, json!({"script": "4_x.sql"})).unwrap();
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
        let Err(findings) = Update::new(&place, scripts(), fields.clone()) else {
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
            let update = Update::new(&place, scripts, fields).unwrap();
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
        let update = Update::new(&place, scripts, json!({"script": "6.sql"})).unwrap();
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
async fn a_cancelled_script_has_ended_and_left_nothing() {
    for place in both().await {
        place.sql(V1);
        let slow = match place.db {
            Database::Postgres(_) => "select pg_sleep(60)",
            Database::Sqlite(_) => {
                "create table many as with recursive n(i) as (select 1 union all select i + 1 from n) select i from n"
            }
        };
        let script = format!(
            "alter table pipelines add column a timestamp default current_timestamp; create table a (id integer); {slow};"
        );
        let scripts = Scripts::from([("7.sql", script.as_str())]);
        let old = before(&place).await;
        let update = Update::new(&place, scripts, json!({"script": "7.sql"})).unwrap();
        let receipt = update.prepare().await;
        cancel_soon(&update.cx.cancel);
        let started = std::time::Instant::now();
        let error = update.run(&receipt).await.unwrap_err();
        assert_eq!(error.kind, StepErrorKind::Interrupted, "{error}");
        assert!(started.elapsed().as_secs() < 4);
        assert_eq!(before(&place).await, old);
        if let Database::Postgres(pg) = &place.db {
            let busy = format!(
                "select count(*) from pg_stat_activity where application_name = '{}' and state <> 'idle' and pid <> pg_backend_pid()",
                pg.session_name()
            );
            assert_eq!(value(&place.db, &busy).await, json!(0));
        }
        for _ in 0..4 {
            place
                .db
                .execute("insert into pipelines_old (id) values (2)")
                .await
                .unwrap();
            place
                .db
                .execute("delete from pipelines_old where id = 2")
                .await
                .unwrap();
        }
        if let Database::Sqlite(_) = place.db {
            for _ in 0..8 {
                assert_eq!(
                    value(&place.db, "select * from pragma_foreign_keys").await,
                    json!(1)
                );
            }
        }
    }
}

#[tokio::test]
async fn a_lock_is_waited_for_by_trying_again_and_its_holder_is_named() {
    let place = Place::postgres().await;
    place.sql(V1);
    let other = place.connect().await;
    let Database::Postgres(holder) = &other else {
        unreachable!()
    };
    let mut tx = holder.begin().await.unwrap();
    sqlx::query("select count(*) from pipelines")
        .execute(&mut *tx)
        .await
        .unwrap();
    let update = Update::shipped(&place);
    let receipt = update.prepare().await;
    let release = tokio::spawn(async move {
        tokio::time::sleep(std::time::Duration::from_millis(2_600)).await;
        tx.commit().await.unwrap();
    });
    update.run(&receipt).await.unwrap();
    release.await.unwrap();
    let warnings = update.warnings();
    assert!(!warnings.is_empty());
    assert!(
        warnings[0].contains("lock timeout") && warnings[0].contains("trying again"),
        "{warnings:?}"
    );
    assert!(
        warnings[0].contains("blocked by session")
            && warnings[0].contains("select count(*) from pipelines"),
        "{warnings:?}"
    );

    let mut tx = holder.begin().await.unwrap();
    sqlx::query("select count(*) from pipelines")
        .execute(&mut *tx)
        .await
        .unwrap();
    let mut hasty = Update::shipped(&place);
    hasty.cx.run = update.cx.run.clone();
    hasty.cx.timeout = std::time::Duration::from_secs(2);
    let error = hasty.undo(&receipt).await.unwrap_err();
    assert!(
        error.message.ends_with("failed after 1 attempts"),
        "{error}"
    );
    assert!(error.causes[0].contains(holder.session_name()), "{error}");
    drop(tx);
    hasty.undo(&receipt).await.unwrap();
}

#[tokio::test]
async fn another_writer_of_sqlite_is_waited_for() {
    let place = Place::sqlite().await;
    place.sql(V1);
    let other = place.connect().await;
    let Database::Sqlite(holder) = &other else {
        unreachable!()
    };
    let tx = holder.begin().await.unwrap();
    let update = Update::shipped(&place);
    let release = tokio::spawn(async move {
        tokio::time::sleep(std::time::Duration::from_millis(5_600)).await;
        tx.commit().await.unwrap();
    });
    let receipt = migrate_core::Receipt(Value::Null);
    migrate_schema::own::ensure(&place.db).await.unwrap_err();
    release.await.unwrap();
    migrate_schema::own::ensure(&place.db).await.unwrap();
    let tx = holder.begin().await.unwrap();
    let release = tokio::spawn(async move {
        tokio::time::sleep(std::time::Duration::from_millis(5_600)).await;
        tx.commit().await.unwrap();
    });
    update.run(&receipt).await.unwrap();
    release.await.unwrap();
    assert!(
        update.warnings()[0].contains("database is locked"),
        "{:?}",
        update.warnings()
    );
}

#[tokio::test]
async fn a_script_that_changes_its_session_changes_no_other() {
    let place = Place::postgres().await;
    place.sql(V1);
    place.sql("create schema elsewhere");
    let scripts = Scripts::from([
        (
            "8.sql",
            "select pg_catalog.set_config('search_path', '', false); set statement_timeout = '1h'; \
         set role none; create table elsewhere.x (id int); alter table public.pipelines add y int",
        ),
        (
            "8.down.sql",
            "set search_path = elsewhere; drop table x; alter table public.pipelines drop y",
        ),
    ]);
    let old = before(&place).await;
    let update = Update::new(&place, scripts, json!({"script": "8.sql"})).unwrap();
    let receipt = update.prepare().await;
    update.run(&receipt).await.unwrap();
    assert_eq!(
        value(&place.db, "select version from public.schema_versions").await,
        json!(8)
    );
    for _ in 0..8 {
        assert_eq!(
            value(
                &place.db,
                "select current_setting('search_path'), current_setting('statement_timeout')"
            )
            .await,
            json!(["\"$user\", public", "0"])
        );
    }
    update.undo(&receipt).await.unwrap();
    assert_eq!(before(&place).await, old);
}

#[tokio::test]
async fn a_rebuild_does_not_hide_a_broken_reference() {
    let place = Place::sqlite().await;
    place.sql(V1);
    place.sql("create table kids (id integer primary key, p integer references pipelines(id) on delete cascade); insert into kids values (1, 70)");
    let old = before(&place).await;
    let scripts = Scripts::from([(
        "9.sql",
        "alter table pipelines add a default current_timestamp; delete from pipelines where id = 70;",
    )]);
    let update = Update::new(&place, scripts, json!({"script": "9.sql"})).unwrap();
    let receipt = update.prepare().await;
    let error = update.run(&receipt).await.unwrap_err();
    assert!(
        error
            .message
            .contains("table kids, rowid 1, refers to a missing row of pipelines"),
        "{error}"
    );
    assert_eq!(before(&place).await, old);
}

#[tokio::test]
async fn a_script_that_rebuilds_by_hand_keeps_the_children() {
    let place = Place::sqlite().await;
    place.sql(V1);
    place.sql("create table kids (id integer primary key, p integer references pipelines(id) on delete cascade); insert into kids values (1, 70)");
    let scripts = Scripts::from([(
        "10_prisma.sql",
        "PRAGMA defer_foreign_keys=ON;\nPRAGMA foreign_keys=OFF;\n\
         CREATE TABLE new_pipelines (id integer primary key, name text, config text, status text, extra text);\n\
         INSERT INTO new_pipelines (id, name, config, status) SELECT id, name, config, status FROM pipelines;\n\
         DROP TABLE pipelines;\nALTER TABLE new_pipelines RENAME TO pipelines;\nPRAGMA foreign_keys=ON;\n",
    )]);
    let update = Update::new(&place, scripts, json!({"script": "10_prisma.sql"})).unwrap();
    assert_eq!(update.step.describe().undo, Undoable::No);
    let receipt = update.prepare().await;
    update.run(&receipt).await.unwrap();
    assert_eq!(
        value(&place.db, "select count(*) from kids").await,
        json!(1)
    );
    assert_eq!(
        value(&place.db, "select count(extra), count(*) from pipelines").await,
        json!([0, 3])
    );
    assert_eq!(
        place.sql("select count(*) from pragma_foreign_key_check"),
        "0"
    );
}

#[tokio::test]
async fn the_migrator_brings_a_schema_to_version_2_once() {
    for place in both().await {
        let migrator = SchemaMigrator::new(place.db.clone());
        assert_eq!(migrator.current_version().await.unwrap(), 0);
        place.sql(V1);
        let first = migrator.migrate_to_v2(&Scripts::shipped()).await.unwrap();
        assert!(
            matches!(first, migrate_schema::migrator::Migrated::Done { statements } if statements >= 8)
        );
        is_at_version_2(&place).await;
        let second = migrator.migrate_to_v2(&Scripts::shipped()).await.unwrap();
        assert_eq!(second, migrate_schema::migrator::Migrated::AlreadyAt(2));
        assert!(!migrate_schema::own::exists(&place.db).await.unwrap());
    }
}

#[tokio::test]
async fn versions_that_were_there_stay() {
    for place in both().await {
        place.sql(V1);
        place.sql("create table schema_versions (version integer primary key, applied_at timestamp default current_timestamp, who text); insert into schema_versions (version) values (1)");
        let old = before(&place).await;
        let update = Update::shipped(&place);
        let receipt = update.prepare().await;
        assert_eq!(receipt.0["version_before"], json!(1));
        update.run(&receipt).await.unwrap();
        assert_eq!(
            value(
                &place.db,
                "select max(version), count(*) from schema_versions"
            )
            .await,
            json!([2, 2])
        );
        update.undo(&receipt).await.unwrap();
        assert_eq!(before(&place).await, old);
    }
}

#[tokio::test]
async fn a_step_after_others_waits_for_what_they_make() {
    let place = Place::sqlite().await;
    let update = Update::at(
        &place,
        Scripts::shipped(),
        json!({"command": "001_v2_schema_updates.sql"}),
        1,
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
