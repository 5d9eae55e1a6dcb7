//! Whether a script was applied is decided by that script, never by a number of others.

use std::sync::atomic::{AtomicU16, Ordering};

use migrate_core::{Readiness, Receipt, RunId};
use migrate_schema::migrator::{Migrated, SchemaMigrator};
use migrate_schema::script::SqlScript;
use serde_json::json;

use crate::place::{Place, Scripts, Update, V1, both, value};

fn scripts() -> Scripts {
    Scripts::from([
        (
            "001_orders_v2.sql",
            "alter table orders add column state text",
        ),
        (
            "002_loyalty.sql",
            "alter table orders add column points integer",
        ),
        (
            "002_loyalty.down.sql",
            "alter table orders drop column points",
        ),
        ("004_b.sql", "update orders set state = 'b'"),
        ("005_a.sql", "update orders set state = 'a'"),
    ])
}

/// Tells the runs of this file apart.
static RUNS: AtomicU16 = AtomicU16::new(100);

async fn applied(place: &Place, script: &str) -> (Update, Receipt) {
    let mut update = Update::new(place, scripts(), &json!({"command": script})).unwrap();
    update.cx.run = RunId::new(chrono::Utc::now(), RUNS.fetch_add(1, Ordering::Relaxed));
    let found = update.check().await;
    assert!(matches!(found, Readiness::Ready), "{script}: {found:?}");
    let receipt = update.prepare().await;
    update.run(&receipt).await.unwrap();
    let again = Update::new(place, scripts(), &json!({"command": script})).unwrap();
    let found = again.check().await;
    assert!(
        matches!(found, Readiness::AlreadyDone(_)),
        "{script}: {found:?}"
    );
    (update, receipt)
}

#[tokio::test]
async fn every_script_runs_whatever_numbers_others_have() {
    for place in both().await {
        place.sql("create table orders (id integer primary key); insert into orders values (1)");
        applied(&place, "001_orders_v2.sql").await;
        applied(&place, "002_loyalty.sql").await;
        applied(&place, "005_a.sql").await;
        applied(&place, "004_b.sql").await;
        assert_eq!(place.sql("select state from orders"), "b");
        let versions = "select count(*), min(version), max(version) from schema_versions";
        assert_eq!(value(&place.db, versions).await, json!([4, 1, 5]));
    }
}

#[tokio::test]
async fn an_undo_makes_it_run_again_and_leaves_the_row_of_another_script() {
    for place in both().await {
        place.sql("create table orders (id integer primary key); insert into orders values (1)");
        let first = json!({"command": "001_orders_v2.sql", "schema_version": 2});
        let first = Update::new(&place, scripts(), &first).unwrap();
        let receipt = first.prepare().await;
        first.run(&receipt).await.unwrap();
        let (update, receipt) = applied(&place, "002_loyalty.sql").await;
        update.undo(&receipt).await.unwrap();
        assert_eq!(
            value(&place.db, "select version from schema_versions").await,
            json!(2)
        );
        applied(&place, "002_loyalty.sql").await;
    }
}

#[tokio::test]
async fn a_table_of_that_name_that_is_not_ours_is_left_alone() {
    for table in [
        "create table schema_versions (version integer primary key, applied_at timestamp); \
         insert into schema_versions (version) values (1), (2), (40)",
        "create table schema_versions (version text, app text); \
         insert into schema_versions values ('40', 'shop')",
    ] {
        for place in both().await {
            place.sql("create table orders (id integer primary key)");
            place.sql(table);
            let before = place.sql("select * from schema_versions order by 1");
            let (update, receipt) = applied(&place, "002_loyalty.sql").await;
            let warnings = update.warnings().join("; ");
            assert!(
                warnings.contains("schema_versions is left as it is"),
                "{warnings}"
            );
            update.undo(&receipt).await.unwrap();
            assert_eq!(
                place.sql("select * from schema_versions order by 1"),
                before
            );
        }
    }
}

#[tokio::test]
async fn an_edited_script_is_not_taken_for_the_one_that_ran() {
    for place in both().await {
        place.sql("create table orders (id integer primary key)");
        applied(&place, "002_loyalty.sql").await;
        let edited = Scripts::from([(
            "002_loyalty.sql",
            "alter table orders add column points integer default 5",
        )]);
        let update = Update::new(&place, edited, &json!({"command": "002_loyalty.sql"})).unwrap();
        let Readiness::Blocked(findings) = update.check().await else {
            panic!("an edited script is taken");
        };
        assert_eq!(findings[0].code, "schema.script-changed");
        // What editors change by themselves is no edit.
        let same = Scripts::from([(
            "002_loyalty.sql",
            "\u{feff}alter table orders add column points integer  \r\n",
        )]);
        let update = Update::new(&place, same, &json!({"command": "002_loyalty.sql"})).unwrap();
        assert!(matches!(update.check().await, Readiness::AlreadyDone(_)));
    }
}

#[tokio::test]
async fn a_row_alone_counts_only_with_what_the_script_makes() {
    for place in both().await {
        place.sql(
            "create table orders (id integer primary key, points integer); \
             create table schema_versions (version integer primary key, applied_at timestamp); \
             insert into schema_versions (version) values (2), (4)",
        );
        let there = Update::new(&place, scripts(), &json!({"command": "002_loyalty.sql"})).unwrap();
        assert!(matches!(there.check().await, Readiness::AlreadyDone(_)));
        let unknown = Update::new(&place, scripts(), &json!({"command": "004_b.sql"})).unwrap();
        let Readiness::Blocked(findings) = unknown.check().await else {
            panic!("a row is taken for a script");
        };
        assert_eq!(findings[0].code, "schema.script-unclear");
    }
}

#[tokio::test]
async fn the_migrator_decides_by_the_script_too() {
    for place in both().await {
        place.sql("create table orders (id integer primary key)");
        let migrator = SchemaMigrator::new(place.db.clone());
        let script = |name: &str, text: &str| {
            SqlScript::parse(place.db.backend(), name.to_owned(), text.to_owned()).unwrap()
        };
        let a = script("x/005_a.sql", "create table a (id integer)");
        let b = script("x/004_b.sql", "create table b (id integer)");
        for (one, version) in [(&a, 5), (&b, 4)] {
            let done = migrator.migrate(one, version).await.unwrap();
            assert_eq!(done, Migrated::Done { statements: 1 });
            let again = migrator.migrate(one, version).await.unwrap();
            assert_eq!(again, Migrated::AlreadyAt(version));
        }
    }
}

#[tokio::test]
async fn what_an_earlier_release_applied_is_recognised() {
    for place in both().await {
        place.sql(V1);
        let update = Update::shipped(&place);
        let receipt = update.prepare().await;
        update.run(&receipt).await.unwrap();
        // Such a release kept its markers and its log, and no line for a script.
        let name = |table: &str| migrate_schema::own::name(place.db.backend(), table);
        place.sql(&format!("delete from {}", name("schema_history")));
        let record = json!({"record": "step_started", "step": "schema", "receipt": receipt.0});
        place.sql(&format!(
            "insert into {} (run, seq, at, record) values ('{}', 1, '2026-01-01', '{record}')",
            name("log"),
            update.cx.run
        ));
        let found = Update::shipped(&place).check().await;
        assert!(
            matches!(&found, Readiness::AlreadyDone(how) if how.contains("earlier run")),
            "{found:?}"
        );
        // Only `schema_versions` is left: of a database whose schema came without our tables.
        migrate_schema::own::drop_all(&place.db).await.unwrap();
        let found = Update::shipped(&place).check().await;
        assert!(
            matches!(&found, Readiness::AlreadyDone(how) if how.contains("schema_versions says 2")),
            "{found:?}"
        );
    }
}

#[tokio::test]
async fn the_row_of_an_earlier_release_is_not_another_scripts() {
    for place in both().await {
        place.sql("create table orders (id integer primary key, points integer)");
        migrate_schema::own::ensure(&place.db).await.unwrap();
        let name = |table: &str| migrate_schema::own::name(place.db.backend(), table);
        // As a release left it that took `_v2` for the version.
        place.sql(&format!(
            "create table schema_versions (version integer primary key, applied_at timestamp); \
             insert into schema_versions (version) values (2); \
             insert into {} (run, step, payload) values ('r1', 'schema', '{{\"version\":2}}'); \
             insert into {} (run, seq, at, record) values ('r1', 5, '2026-01-01', \
               '{{\"record\":\"step_started\",\"step\":\"schema\",\"receipt\":{{\"script\":\"/x/migrations/001_orders_v2.sql\",\"version_before\":0,\"version\":2}}}}')",
            name("markers"), name("log")
        ));
        let first =
            Update::new(&place, scripts(), &json!({"command": "001_orders_v2.sql"})).unwrap();
        assert!(matches!(first.check().await, Readiness::AlreadyDone(_)));
        let second =
            Update::new(&place, scripts(), &json!({"command": "002_loyalty.sql"})).unwrap();
        // What it creates being there does not make the row its own.
        let found = second.check().await;
        assert!(!matches!(found, Readiness::AlreadyDone(_)), "{found:?}");
        place.sql("alter table orders drop column points");
        assert_eq!(second.check().await, Readiness::Ready);
    }
}
