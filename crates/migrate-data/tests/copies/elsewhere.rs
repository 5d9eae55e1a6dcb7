//! Copies between databases: from SQLite to PostgreSQL and back, and from server to server.

use migrate_data::{DataMigrator, Verify};
use serde_json::json;

use crate::world::World;

/// Values that cross in every way there is.
async fn source(world: &World) {
    let (flag, amount, bytes) = (
        world.pick("boolean", "boolean"),
        world.pick("numeric(12, 3)", "text"),
        world.pick("bytea", "blob"),
    );
    world
        .sql(&format!(
            "CREATE TABLE src (id integer PRIMARY KEY, name text, flag {flag}, amount {amount}, small smallint, half double precision, raw {bytes}, at {})",
            world.pick("timestamptz", "text")
        ))
        .await;
    let series = world.pick(
        "generate_series(1, 3000) AS i",
        "(WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000) SELECT i FROM n)",
    );
    let values = world.pick(
        "i, 'é''\\N ' || i, i % 2 = 0, i / 8.0, i % 100, i / 2.0, decode(lpad(to_hex(i), 8, '0'), 'hex'), timestamptz '2024-01-01 00:00+00' + i * interval '1.5 hours'",
        "i, 'é''\\N ' || i, i % 2 = 0, printf('%.3f', i / 8.0), i % 100, i / 2.0, CAST(printf('%08x', i) AS blob), strftime('%Y-%m-%d %H:%M:%S+00', '2024-01-01', i || ' minutes')",
    );
    world
        .sql(&format!("INSERT INTO src SELECT {values} FROM {series}; UPDATE src SET name = NULL, raw = NULL, at = NULL, flag = NULL WHERE id % 7 = 0"))
        .await;
}

async fn target(world: &World) {
    world
        .sql(&format!(
            "CREATE TABLE dst (id {} PRIMARY KEY, name text, flag {}, amount {}, small integer, half double precision, raw {}, at {})",
            world.pick("bigint", "integer"),
            world.pick("boolean", "boolean"),
            world.pick("numeric(12, 3)", "text"),
            world.pick("bytea", "blob"),
            world.pick("timestamptz", "text"),
        ))
        .await;
}

fn migrator(from: &World, to: &World) -> DataMigrator {
    DataMigrator::builder(to.db.clone())
        .source(from.db.clone())
        .batch_size(170)
        .max_parallel(2)
        .verify(Verify::Full)
        .build()
}

#[tokio::test]
async fn rows_cross_between_all_databases_and_are_compared_there() {
    for (from, to) in [
        (World::sqlite().await, World::postgres().await),
        (World::postgres().await, World::postgres().await),
        (World::postgres().await, World::sqlite().await),
        (World::sqlite().await, World::sqlite().await),
    ] {
        source(&from).await;
        target(&to).await;
        let script = "SELECT * FROM batch";
        // Half of them are there already, some right and some not.
        let counts = migrator(&from, &to)
            .migrate("src", "dst", script)
            .await
            .unwrap_or_else(|error| panic!("{error}"));
        assert_eq!((counts.read, counts.inserted), (3_000, 3_000));
        to.sql("DELETE FROM dst WHERE id > 2000; UPDATE dst SET name = 'stale' WHERE id <= 50")
            .await;
        let counts = migrator(&from, &to)
            .migrate("src", "dst", script)
            .await
            .unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(
            (counts.inserted, counts.updated, counts.unchanged),
            (1_000, 50, 1_950),
            "{:?} to {:?}",
            from.db.backend(),
            to.db.backend()
        );
        for query in [
            "SELECT count(*), count(name), count(raw), count(flag), sum(small), CAST(sum(half) AS integer), min(name), max(name) FROM {}",
            "SELECT count(*) FROM {} WHERE flag",
        ] {
            let [there, here] = [
                from.query(&query.replace("{}", "src")).await,
                to.query(&query.replace("{}", "dst")).await,
            ];
            assert_eq!(there, here, "{query}");
        }
        for (world, which) in [(&to, "target"), (&from, "source")] {
            let ours = migrate_schema::own::tables(&world.db).await.unwrap();
            assert_eq!(
                ours,
                Vec::<String>::new(),
                "{which}: {:?}",
                world.db.backend()
            );
        }
    }
}

#[tokio::test]
async fn a_row_that_does_not_fit_the_other_database_is_named_and_everything_taken_back() {
    let (from, to) = (World::sqlite().await, World::postgres().await);
    from.sql("CREATE TABLE src (id integer PRIMARY KEY, n); INSERT INTO src VALUES (1, 5), (2, '6'), (3, 'secret'), (4, 7)").await;
    to.sql("CREATE TABLE dst (id integer PRIMARY KEY, n integer); INSERT INTO dst VALUES (1, 0)")
        .await;
    let before = to.fingerprint().await;
    let error = migrator(&from, &to)
        .migrate("src", "dst", "SELECT id, n FROM batch")
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("the row id=3 of src"), "{error}");
    assert!(
        error.contains("the value of n does not fit integer"),
        "{error}"
    );
    assert!(!error.contains("secret"), "{error}");
    assert_eq!(
        before.differences(&to.fingerprint().await),
        Vec::<String>::new()
    );
}

#[tokio::test]
async fn wide_rows_are_taken_a_few_at_a_time() {
    let (from, to) = (World::postgres().await, World::postgres().await);
    from.sql("CREATE TABLE src (id integer PRIMARY KEY, v text); INSERT INTO src SELECT i, repeat(md5(i::text), 32768) FROM generate_series(1, 24) AS i; INSERT INTO src SELECT i, 'small' FROM generate_series(100, 2000) AS i").await;
    to.sql("CREATE TABLE dst (id integer PRIMARY KEY, v text)")
        .await;
    let counts = DataMigrator::builder(to.db.clone())
        .source(from.db.clone())
        .auto_batch_size()
        .build()
        .migrate("src", "dst", "SELECT * FROM batch")
        .await
        .unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(counts.inserted, 24 + 1_901);
    let sums = "SELECT count(*), sum(length(v)), md5(string_agg(md5(v), '' ORDER BY id)) FROM ";
    assert_eq!(
        from.query(&format!("{sums} src")).await,
        to.query(&format!("{sums} dst")).await
    );
}

#[tokio::test]
async fn a_plan_may_name_another_database_but_no_password() {
    let world = World::sqlite().await;
    let mut data = crate::world::data("s", "t", "SELECT * FROM batch", 10, 1);
    data["source_url"] = json!("postgres://u:hunter2@h/db");
    let found = world
        .build(
            &data,
            "SELECT * FROM batch",
            migrate_data::TransformRegistry::new(),
        )
        .err()
        .expect("it is refused");
    assert_eq!(found[0].message, "source_url holds a password");
    assert_eq!(found[0].pointer, "/data_migration/source_url");
    assert!(!format!("{found:?}").contains("hunter2"));
}
