//! A scratch database goes away, also when somebody is in it whom its owner can't send away.

#![cfg(feature = "postgres")]
#![expect(clippy::unwrap_used, reason = "a test ends where it can not go on")]

use std::time::Duration;

use migrate_rollback::ScratchCopy;
use migrate_schema::db::{ConnectOptions, Database, DatabaseUrl};
use migrate_tests::postgres::TestDatabase;

async fn connect(url: &str) -> Database {
    let url: DatabaseUrl = url.parse().unwrap();
    Database::connect(&url, &ConnectOptions::default())
        .await
        .unwrap()
}

/// A superuser's session stands for the server's own workers: `WITH (FORCE)` may end neither.
#[tokio::test(flavor = "multi_thread")]
async fn a_superusers_session_in_it_is_waited_for() {
    let server = TestDatabase::create();
    let database = connect(&server.url()).await;
    let root = tempfile::tempdir().unwrap();
    let copy = ScratchCopy::empty(root.path(), &database).await.unwrap();
    let name = copy.url().database_name();
    let admin: DatabaseUrl = server.admin_url().parse().unwrap();
    let inside = connect(admin.with_database(&name).unwrap().secret()).await;
    let Database::Postgres(inside) = inside else {
        unreachable!("the URL is of PostgreSQL");
    };
    let session = inside.connect_beside().await.unwrap();
    let leaves = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(1)).await;
        drop(session);
    });
    copy.remove().await.unwrap();
    leaves.await.unwrap();
    let left = format!("SELECT count(*) FROM pg_database WHERE datname = '{name}'");
    assert_eq!(server.admin_psql(&left).trim(), "0");
}
