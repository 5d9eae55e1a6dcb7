//! Scripts beside other sessions: locks, cancellation, settings.

use migrate_core::StepErrorKind;
use migrate_schema::db::Database;
use serde_json::json;

use super::place::{Place, Scripts, Update, V1, before, both, cancel_soon, value};

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
        let update = Update::new(&place, scripts, &json!({"script": "7.sql"})).unwrap();
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
    sqlx::query("select count(*) from public.pipelines where name = 'planted secret'")
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
            && warnings[0].contains("select count(*) from public.pipelines where name = '...'"),
        "{warnings:?}"
    );

    let mut tx = holder.begin().await.unwrap();
    sqlx::query("select count(*) from public.pipelines")
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
    let update = Update::shipped(&place);
    let receipt = update.prepare().await;
    let tx = holder.begin().await.unwrap();
    let release = tokio::spawn(async move {
        tokio::time::sleep(std::time::Duration::from_millis(5_600)).await;
        tx.commit().await.unwrap();
    });
    update.run(&receipt).await.unwrap();
    release.await.unwrap();
    let warnings = update.warnings();
    assert!(warnings[0].contains("database is locked"), "{warnings:?}");
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
    let update = Update::new(&place, scripts, &json!({"script": "8.sql"})).unwrap();
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
