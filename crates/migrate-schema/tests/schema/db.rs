//! The handle against real databases.

use std::time::{Duration, Instant};

use migrate_core::{Cancel, CancelCause, StepError, StepErrorKind};
use migrate_schema::db::{Backend, ConnectOptions, Database, DatabaseUrl, DbErrorKind};
use migrate_schema::own;
use migrate_tests::postgres::TestDatabase;
use serde_json::json;
use tempfile::TempDir;

use super::place::Place;

async fn postgres() -> (Place, Database) {
    let place = Place::postgres().await;
    let db = place.db.clone();
    (place, db)
}

async fn sqlite() -> (Place, Database) {
    let place = Place::sqlite().await;
    let db = place.db.clone();
    (place, db)
}

/// What others have in quotes may be their data, and a long query is cut off by the server.
#[tokio::test]
async fn a_query_of_others_is_shown_without_its_texts() {
    let (_place, db) = postgres().await;
    for (query, shown) in [
        ("select 'it''s', 1", "select '...''...', 1"),
        ("select  'a',\n 'cut off", "select '...', '...'"),
        ("select $x$a secret$x$, 2", "select $..."),
        ("select $1", "select $1"),
    ] {
        let from = format!(
            "(select {} as query) a",
            migrate_schema::quote::literal(query)
        );
        let sql = format!("select {} from {from}", migrate_schema::db::shown_query(80));
        let found = db.query_json(&sql).await.unwrap();
        assert_eq!(found, json!(shown), "{query}");
    }
}

async fn open(url: &str) -> Database {
    Database::connect(&url.parse().unwrap(), &ConnectOptions::default())
        .await
        .unwrap()
}

async fn refusal(url: &DatabaseUrl) -> (DbErrorKind, String) {
    let error = Database::connect(url, &ConnectOptions::default())
        .await
        .unwrap_err();
    assert!(error.hint.is_some(), "{error} has no hint");
    assert!(!error.to_string().contains("hunter"), "{error}");
    (error.kind, error.to_string())
}

#[tokio::test]
async fn each_way_not_to_connect_has_its_own_message() {
    let place = TestDatabase::create();
    let url = place.url();
    let wrong_password = url.replace("hunter2", "hunter9");
    assert_ne!(url, wrong_password);
    let (kind, text) = refusal(&wrong_password.parse().unwrap()).await;
    assert_eq!(kind, DbErrorKind::Auth, "{text}");
    assert!(text.contains("password authentication failed"), "{text}");

    let wrong_name = url.replace(place.name(), "no_such_db");
    let (kind, text) = refusal(&wrong_name.parse().unwrap()).await;
    assert_eq!(kind, DbErrorKind::Missing, "{text}");
    assert!(text.contains("no_such_db"), "{text}");

    let started = Instant::now();
    let nobody = "postgres://u:hunter@127.0.0.1:1/x".parse().unwrap();
    let (kind, text) = refusal(&nobody).await;
    assert_eq!(kind, DbErrorKind::Unreachable, "{text}");
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn each_way_a_file_is_no_database_has_its_own_message() {
    let place = TempDir::new().unwrap();
    let missing = place.path().join("missing.db");
    let (kind, text) = refusal(&DatabaseUrl::sqlite(&missing)).await;
    assert_eq!(kind, DbErrorKind::Missing);
    assert!(text.contains("missing.db"), "{text}");
    assert!(!missing.exists());

    let other = place.path().join("other.db");
    std::fs::write(
        &other,
        "this is some text, long enough to be looked at as a head".repeat(20),
    )
    .unwrap();
    let (kind, text) = refusal(&DatabaseUrl::sqlite(&other)).await;
    assert_eq!(kind, DbErrorKind::NotADatabase, "{text}");
    assert!(text.contains("other.db"), "{text}");

    let (kind, _) = refusal(&DatabaseUrl::sqlite(place.path())).await;
    assert_eq!(kind, DbErrorKind::NotADatabase);
}

#[tokio::test]
async fn connecting_leaves_the_journal_mode_as_it_was() {
    let place = TempDir::new().unwrap();
    for mode in ["wal", "delete"] {
        let file = place.path().join(mode);
        migrate_tests::sqlite::run(
            &file,
            &format!("pragma journal_mode = {mode}; create table t (a)"),
        );
        let db = open(DatabaseUrl::sqlite(&file).secret()).await;
        db.execute("insert into t values (1)").await.unwrap();
        assert_eq!(
            db.query_json("pragma journal_mode").await.unwrap(),
            json!(mode)
        );
        db.close().await;
        assert_eq!(
            migrate_tests::sqlite::run(&file, "pragma journal_mode"),
            mode
        );
    }
}

async fn reads_as_documented(db: &Database) {
    for (sql, expected) in [
        ("select 1", json!(1)),
        ("select 1 as a, 2 as a, null as b;", json!([1, 2, null])),
        ("select 1 where 1 = 0", json!([])),
        ("values (1, 'x'), (2, null)", json!([[1, "x"], [2, null]])),
        ("select 1.5 -- what;", json!(1.5)),
        (
            "with a as (select 'é''s' as x) select x from a",
            json!("é's"),
        ),
        ("select count(*) from t", json!(0)),
        ("select 'x' as q, 'y' as t", json!(["x", "y"])),
        ("select 'x' as q", json!("x")),
    ] {
        assert_eq!(db.query_json(sql).await.unwrap(), expected, "{sql}");
    }
    for sql in [
        "",
        "select 1; select 2",
        "insert into t values (1)",
        "insert into t values (1) returning a",
        "delete from t",
        "drop table t",
        "select 1) q; drop table t; --",
        "create table u (a int)",
    ] {
        assert!(db.query_json(sql).await.is_err(), "{sql}");
    }
    assert_eq!(
        db.query_json("select count(*) from t").await.unwrap(),
        json!(0)
    );
    let error = db.query_json("select nothing from t").await.unwrap_err();
    assert!(error.message.contains("nothing"), "{error}");
    db.execute("insert into t values (1)").await.unwrap();
    assert_eq!(db.query_json("select a from t").await.unwrap(), json!(1));
}

#[tokio::test]
async fn queries_read_and_never_write() {
    let (_place, db) = sqlite().await;
    db.execute("create table t (a int)").await.unwrap();
    reads_as_documented(&db).await;
    assert_eq!(
        db.query_json("select x'00ff', 9223372036854775807, cast('1' as text)")
            .await
            .unwrap(),
        json!(["\\x00ff", i64::MAX, "1"])
    );
    assert!(db.query_json("pragma user_version = 4").await.is_err());

    let (_place, db) = postgres().await;
    db.execute("create table t (a int)").await.unwrap();
    reads_as_documented(&db).await;
    assert_eq!(
        db.query_json("select true, '{\"b\":1}'::jsonb, array[1,2]")
            .await
            .unwrap(),
        json!([true, {"b": 1}, [1, 2]])
    );
    let error = db.query_json("select 1 +").await.unwrap_err();
    assert_eq!(error.code.as_deref(), Some("42601"));
    let error = db.query_json("select wrong from t").await.unwrap_err();
    assert_eq!(error.position, Some(8));
}

async fn fences(db: &Database, other: &Database) {
    assert!(!own::exists(db).await.unwrap());
    own::ensure(db).await.unwrap();
    own::ensure(db).await.unwrap();
    assert!(own::exists(db).await.unwrap());
    db.execute("create table t (a int)").await.unwrap();

    let first = own::raise_fence(db, "one").await.unwrap();
    db.set_fence(Some(first));
    db.execute("insert into t values (1)").await.unwrap();

    other.set_fence(Some(own::raise_fence(other, "two").await.unwrap()));
    let error = db.execute("insert into t values (2)").await.unwrap_err();
    assert_eq!(error.kind, DbErrorKind::FenceLost, "{error}");
    assert!(error.to_string().contains("run two"), "{error}");
    other.execute("insert into t values (3)").await.unwrap();
    assert_eq!(
        db.query_json("select sum(a) from t").await.unwrap(),
        json!(4)
    );

    own::drop_all(other).await.unwrap();
    assert!(!own::exists(db).await.unwrap());
    assert_eq!(other.fence(), None);
    let error = db.execute("insert into t values (2)").await.unwrap_err();
    assert_eq!(error.kind, DbErrorKind::FenceLost, "{error}");
}

#[tokio::test]
async fn a_superseded_run_can_not_write() {
    let (_place, db) = sqlite().await;
    let other = open(db.url().unwrap().secret()).await;
    fences(&db, &other).await;
    let (_place, db) = postgres().await;
    let other = open(db.url().unwrap().secret()).await;
    fences(&db, &other).await;
}

#[tokio::test]
async fn raising_the_fence_waits_for_the_transactions_before_it() {
    let (_place, db) = postgres().await;
    own::ensure(&db).await.unwrap();
    db.set_fence(Some(own::raise_fence(&db, "one").await.unwrap()));
    let Database::Postgres(pg) = &db else {
        unreachable!()
    };
    let tx = pg.begin().await.unwrap();
    let other = open(db.url().unwrap().secret()).await;
    let raise = tokio::spawn(async move { own::raise_fence(&other, "two").await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!raise.is_finished());
    tx.commit().await.unwrap();
    assert_eq!(raise.await.unwrap().unwrap().epoch, 2);
}

async fn markers(db: &Database) {
    assert_eq!(own::marker(db, "r", "s").await.unwrap(), None);
    own::ensure(db).await.unwrap();
    for commit in [false, true] {
        match db {
            Database::Postgres(pg) => {
                let mut tx = pg.begin().await.unwrap();
                own::postgres::set_marker(&mut tx, "r", "s", "it's")
                    .await
                    .unwrap();
                own::postgres::set_marker(&mut tx, "r", "s", "it's {}")
                    .await
                    .unwrap();
                if commit {
                    tx.commit().await.unwrap();
                }
            }
            Database::Sqlite(lite) => {
                let mut tx = lite.begin().await.unwrap();
                own::sqlite::set_marker(&mut tx, "r", "s", "it's")
                    .await
                    .unwrap();
                own::sqlite::set_marker(&mut tx, "r", "s", "it's {}")
                    .await
                    .unwrap();
                if commit {
                    tx.commit().await.unwrap();
                }
            }
        }
        let expected = commit.then(|| "it's {}".to_owned());
        assert_eq!(own::marker(db, "r", "s").await.unwrap(), expected);
    }
    assert_eq!(own::marker(db, "r", "x").await.unwrap(), None);
}

#[tokio::test]
async fn a_marker_is_there_only_when_its_transaction_is() {
    let (_place, db) = sqlite().await;
    markers(&db).await;
    let (_place, db) = postgres().await;
    markers(&db).await;
}

const ENDLESS: &str =
    "with recursive n(i) as (select 1 union all select i + 1 from n) select count(*) from n";

async fn ends_in_time(db: &Database, sql: &'static str) {
    let cancel = Cancel::new();
    let asked = cancel.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(200)).await;
        asked.cancel(CancelCause::Signal(15));
    });
    let started = Instant::now();
    let ended = db
        .cancellable(&cancel, async {
            db.execute(sql)
                .await
                .map_err(|error| error.into_step_error("it failed"))
        })
        .await
        .unwrap_err();
    assert_eq!(ended.kind, StepErrorKind::Interrupted, "{ended}");
    assert!(ended.message.contains("signal 15"), "{ended}");
    assert!(
        started.elapsed() < Duration::from_secs(4),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test]
async fn a_cancelled_statement_of_sqlite_has_ended() {
    let (_place, db) = sqlite().await;
    db.execute("create table t (a int)").await.unwrap();
    for _ in 0..2 {
        ends_in_time(
            &db,
            "insert into t with recursive n(i) as (select 1 union all select i + 1 from n) select i from n",
        )
        .await;
        ends_in_time(&db, ENDLESS).await;
        // Nothing holds the lock, nothing was kept, and the handle still works.
        assert_eq!(
            db.query_json("select count(*) from t").await.unwrap(),
            json!(0)
        );
        db.execute("insert into t values (1)").await.unwrap();
        db.execute("delete from t").await.unwrap();
    }
}

#[tokio::test]
async fn a_cancelled_statement_of_an_embedders_pool_has_ended() {
    let (_place, db) = sqlite().await;
    let Database::Sqlite(lite) = &db else {
        unreachable!()
    };
    let db = Database::from_sqlite_pool(lite.pool().clone());
    assert_eq!(db.url(), None);
    ends_in_time(&db, ENDLESS).await;
    db.execute("create table t (a int)").await.unwrap();
}

#[tokio::test]
async fn a_cancelled_statement_of_postgres_has_ended() {
    let (place, db) = postgres().await;
    db.execute("create table t (a int)").await.unwrap();
    let watcher = place.connect().await;
    let Database::Postgres(pg) = &db else {
        unreachable!()
    };
    let busy = format!(
        "select count(*) from pg_stat_activity where application_name = '{}' and state <> 'idle'",
        pg.session_name()
    );
    for sql in [
        "insert into t select 1 from pg_sleep(60)",
        "do $$ begin loop perform pg_sleep(0.01); end loop; end $$",
    ] {
        ends_in_time(&db, sql).await;
        assert_eq!(watcher.query_json(&busy).await.unwrap(), json!(0));
        assert_eq!(
            db.query_json("select count(*) from t").await.unwrap(),
            json!(0)
        );
    }
}

#[tokio::test]
async fn a_backend_that_ignores_the_cancel_is_terminated() {
    let (_place, db) = postgres().await;
    let cancel = Cancel::new();
    cancel.cancel(CancelCause::Timeout);
    let late = db
        .cancellable(&cancel, async { Ok::<_, StepError>(1) })
        .await;
    assert_eq!(late.unwrap_err().kind, StepErrorKind::Interrupted);

    let cancel = Cancel::new();
    let asked = cancel.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(100)).await;
        asked.cancel(CancelCause::Timeout);
    });
    let stubborn = "do $$ begin loop begin perform pg_sleep(60); \
                    exception when query_canceled then null; end; end loop; end $$";
    let ended = db
        .cancellable(&cancel, async {
            db.execute(stubborn)
                .await
                .map_err(|error| error.into_step_error("it failed"))
        })
        .await
        .unwrap_err();
    assert_eq!(ended.kind, StepErrorKind::Interrupted, "{ended}");
    assert_eq!(db.query_json("select 1").await.unwrap(), json!(1));
}

#[tokio::test]
async fn work_that_ended_well_keeps_its_value() {
    let (_place, db) = postgres().await;
    db.execute("create table t (a int)").await.unwrap();
    let cancel = Cancel::new();
    let done = db
        .cancellable(&cancel, async {
            db.execute("insert into t values (1)").await.unwrap();
            cancel.cancel(CancelCause::Timeout);
            tokio::task::yield_now().await;
            Ok::<_, StepError>(7)
        })
        .await;
    assert_eq!(done, Ok(7));
}

#[tokio::test]
async fn identities_tell_databases_apart_and_hold_no_secret() {
    let (place, one) = postgres().await;
    let (_other_place, two) = postgres().await;
    let again = place.connect().await;
    assert_eq!(
        one.identity().await.unwrap(),
        again.identity().await.unwrap()
    );
    assert_ne!(one.identity().await.unwrap(), two.identity().await.unwrap());
    let shown = format!("{one:?} {}", one.identity().await.unwrap());
    assert!(!shown.contains("hunter"), "{shown}");
    assert!(shown.contains("(system "), "{shown}");
    assert_eq!(one.backend(), Backend::Postgres);
    assert!(
        one.server_version()
            .await
            .unwrap()
            .starts_with(char::is_numeric)
    );

    let (_place, lite) = sqlite().await;
    let identity = lite.identity().await.unwrap();
    assert!(identity.contains("x.db (device "), "{identity}");
    let file = lite.url().unwrap().sqlite_path().unwrap();
    std::fs::rename(&file, file.with_extension("moved")).unwrap();
    std::fs::write(&file, "").unwrap();
    assert_ne!(lite.identity().await.unwrap(), identity);
}

#[tokio::test]
async fn two_writers_of_sqlite_wait_and_then_one_is_told() {
    let (_place, db) = sqlite().await;
    db.execute("create table t (a int)").await.unwrap();
    let other = open(db.url().unwrap().secret()).await;
    let Database::Sqlite(lite) = &other else {
        unreachable!()
    };
    let tx = lite.begin().await.unwrap();
    let started = Instant::now();
    let error = db.execute("insert into t values (1)").await.unwrap_err();
    assert_eq!(error.kind, DbErrorKind::Lock, "{error}");
    assert!(started.elapsed() >= Duration::from_secs(4));
    drop(tx);
    db.execute("insert into t values (1)").await.unwrap();
}
