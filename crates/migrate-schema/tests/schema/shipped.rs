//! The shipped script, there and back.

use migrate_core::{Probe, Readiness, Undoable};
use migrate_schema::db::Database;
use migrate_schema::migrator::SchemaMigrator;
use serde_json::json;

use super::place::{Place, Scripts, Update, V1, before, both, value};

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
        let history = migrate_schema::history::read(&place.db).await.unwrap();
        let names: Vec<&str> = history
            .records()
            .iter()
            .map(|one| one.name.as_str())
            .collect();
        assert_eq!(names, ["001_v2_schema_updates.sql"]);
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
