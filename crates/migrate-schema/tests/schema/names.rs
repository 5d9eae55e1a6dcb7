//! What names mean in sessions, whoever opened the pool and whatever was set in them.

use migrate_schema::db::{Database, Postgres};
use migrate_schema::quote::TableName;
use sqlx::Row as _;
use sqlx::postgres::PgPoolOptions;

use super::place::Place;

const PINNED: &str = "pg_catalog, pg_temp|off";

async fn settings(connection: &mut sqlx::PgConnection) -> String {
    let query = "select current_setting('search_path') || '|' || current_setting('row_security')";
    // Not prepared: DISCARD ALL would take the statement away.
    let row = sqlx::raw_sql(query).fetch_one(connection).await.unwrap();
    row.get(0)
}

/// Leaves each of these in a session and gives it back; the next user finds it pinned.
async fn stays_pinned(pg: &Postgres) {
    for left in [
        "select 1",
        "reset all",
        "discard all",
        "set search_path = evil; set row_security = on",
        "begin; set search_path = evil; commit",
    ] {
        let mut connection = pg.acquire().await.unwrap();
        assert_eq!(settings(&mut connection).await, PINNED, "before {left}");
        sqlx::raw_sql(left).execute(&mut *connection).await.unwrap();
        drop(connection);
        let mut tx = pg.begin().await.unwrap();
        assert_eq!(settings(&mut tx).await, PINNED, "after {left}");
        tx.rollback().await.unwrap();
        let mut beside = pg.connect_beside().await.unwrap();
        assert_eq!(settings(&mut beside).await, PINNED);
    }
}

#[tokio::test]
async fn every_session_is_pinned_whatever_was_left_in_it() {
    let place = Place::postgres().await;
    let Database::Postgres(pg) = &place.db else {
        unreachable!()
    };
    stays_pinned(pg).await;
}

#[tokio::test]
async fn sessions_of_an_embedders_pool_are_pinned_and_its_path_is_the_users() {
    let place = Place::postgres().await;
    place.sql("create schema app; create table app.things (id int)");
    let url = place.db.url().unwrap().secret().to_owned();
    let pool = PgPoolOptions::new()
        .max_connections(2)
        .after_connect(|connection, _| {
            Box::pin(async move {
                let sql = "set search_path = app, public";
                sqlx::raw_sql(sql).execute(connection).await.map(drop)
            })
        })
        .connect(&url)
        .await
        .unwrap();
    let db = Database::from_pg_pool(pool);
    let Database::Postgres(pg) = &db else {
        unreachable!()
    };
    stays_pinned(pg).await;
    assert_eq!(pg.users_path().await.unwrap(), "app, public");
    // A table's name finds what the embedder's sessions find.
    let found = db.resolve(&TableName::new(None, "things")).await.unwrap();
    assert_eq!(found, TableName::new(Some("app"), "things"));
    let seen = db.query_json("select count(*) from things").await.unwrap();
    assert_eq!(seen, serde_json::json!(0));
}
