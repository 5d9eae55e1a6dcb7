//! Rows of this process that are copied straight into a target which was empty.

use std::sync::Arc;

use migrate_data::{
    Cell, DataMigrator, OnConflict, RowTransform, SourceRow, TransformRegistry, Verify,
};
use serde_json::json;

use crate::world::World;

const COLUMNS: [&str; 12] = [
    "id", "flag", "small", "big", "half", "raw", "name", "at", "local", "day", "doc", "tag",
];

/// Gives every row as it came, and of one day what only a server reads.
struct Same {
    odd_day: bool,
}

impl RowTransform for Same {
    fn columns(&self) -> &[&str] {
        &COLUMNS
    }

    fn transform(&self, row: &SourceRow<'_>) -> Result<Vec<Cell>, String> {
        let cell = |name: &&str| {
            let cell = row.get(name)?.clone();
            Ok(match (&cell, *name) {
                (Cell::Text(text), "day") if self.odd_day && text == "2024-02-29" => {
                    Cell::Text("29 February 2024".to_owned())
                }
                _ => cell,
            })
        };
        COLUMNS.iter().map(cell).collect()
    }

    fn on_conflict(&self) -> OnConflict {
        OnConflict::UpdateProduced
    }
}

const TABLE: &str = "(id integer PRIMARY KEY, flag boolean, small smallint, big bigint, half double precision, raw bytea, \
     name varchar(40), at timestamptz, local timestamp(3), day date, doc jsonb, tag uuid)";

async fn world() -> World {
    let world = World::postgres().await;
    world
        .sql(&format!(
            "CREATE TABLE src {TABLE}; CREATE TABLE dst {TABLE}"
        ))
        .await;
    world
        .sql(
            "INSERT INTO src SELECT i, i % 2 = 0, i % 100, i * 10000000000, i / 3.0, decode(lpad(to_hex(i), 8, '0'), 'hex'), 'é\\N' || i, \
             timestamptz '2024-01-01 00:00:00.123456+00' + i * interval '90 minutes', timestamp '1999-12-31 23:59:59.999' + i * interval '1 day', \
             date '2024-01-31' + i, json_build_object('n', i), md5(i::text)::uuid FROM generate_series(1, 2000) AS i;
             INSERT INTO src (id) VALUES (5000);
             INSERT INTO src (id, at, local) VALUES (5001, 'infinity', '-infinity'), (5002, '0044-03-15 12:00:00.5 BC', '0001-01-01 BC'), \
             (5003, '294276-12-31 23:59:59.999999', '12345-06-07 08:09:10')",
        )
        .await;
    world
}

fn migrator(world: &World, transform: Same) -> DataMigrator {
    DataMigrator::builder(world.db.clone())
        .transforms(TransformRegistry::new().with("same", transform))
        .batch_size(300)
        .max_parallel(2)
        .verify(Verify::Off)
        .build()
}

/// How many sessions have a table for rows that did not go straight.
async fn staged(world: &World) -> serde_json::Value {
    world
        .query("SELECT count(*) AS n FROM pg_class WHERE relname LIKE '\\_etlrs\\_in\\_%'")
        .await
}

async fn differing(world: &World) -> serde_json::Value {
    world
        .query("SELECT count(*) AS n FROM src FULL JOIN dst USING (id) WHERE src::text IS DISTINCT FROM dst::text")
        .await
}

#[tokio::test]
async fn every_type_that_has_its_own_form_arrives_as_it_was() {
    let world = world().await;
    // Moments that only the server reads are not among them.
    world.sql("DELETE FROM src WHERE id > 5000").await;
    let counts = migrator(&world, Same { odd_day: false })
        .migrate("src", "dst", "rust:same")
        .await
        .unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((counts.read, counts.inserted), (2_001, 2_001));
    assert_eq!(differing(&world).await, json!(0));
    assert_eq!(staged(&world).await, json!(0), "all went straight");
}

#[tokio::test]
async fn what_has_no_form_that_goes_straight_is_cast_by_the_server() {
    let world = world().await;
    let counts = migrator(&world, Same { odd_day: true })
        .migrate("src", "dst", "rust:same")
        .await
        .unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((counts.read, counts.inserted), (2_004, 2_004));
    assert_eq!(differing(&world).await, json!(0));
    assert_ne!(staged(&world).await, json!(0), "some were cast");
}

#[tokio::test]
async fn a_row_that_the_target_refuses_is_named_as_by_every_other_way() {
    let world = world().await;
    world.sql("ALTER TABLE dst ADD CHECK (id <> 1234)").await;
    let error = migrator(&world, Same { odd_day: false })
        .migrate("src", "dst", "rust:same")
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("the row id=1234 of src"), "{error}");
    assert_eq!(world.query("SELECT count(*) AS n FROM dst").await, json!(0));
}

#[tokio::test]
async fn sums_are_those_of_what_stands_in_the_target() {
    let world = world().await;
    let copy = DataMigrator::builder(world.db.clone())
        .transforms(TransformRegistry::new().with("same", Same { odd_day: false }))
        .batch_size(300)
        .verify(Verify::Full)
        .build();
    copy.migrate("src", "dst", "rust:same")
        .await
        .unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(differing(&world).await, json!(0));
}

#[tokio::test]
async fn rows_cross_unopened_between_servers_into_the_limits_of_the_target() {
    let (from, to) = (World::postgres().await, World::postgres().await);
    from.sql("CREATE TABLE src (id bigint PRIMARY KEY, n numeric, c character(9), v varchar, span interval, host inet, at timestamptz); \
              INSERT INTO src SELECT i, i / 7.0, 'c' || i, 'v' || i, i * interval '1 hour', ('10.0.0.' || i % 250)::inet, now() FROM generate_series(1, 3000) AS i").await;
    to.sql("CREATE TABLE dst (id bigint PRIMARY KEY, n numeric(12, 2), c character(5), v varchar(5), span interval, host inet, at timestamptz(0))").await;
    let copy = |verify| {
        DataMigrator::builder(to.db.clone())
            .source(from.db.clone())
            .batch_size(500)
            .verify(verify)
            .build()
    };
    copy(Verify::Off)
        .migrate("src", "dst", "SELECT * FROM batch")
        .await
        .unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(staged(&to).await, json!(0), "all went straight");
    let sums = "SELECT count(*) AS a, sum(round(n, 2)) AS n, md5(string_agg(c, '' ORDER BY id)) AS c, md5(string_agg(v, '' ORDER BY id)) AS v, \
                sum(span)::text AS span, min(host)::text AS host, md5(string_agg(date_trunc('second', at + interval '0.5 seconds')::text, '' ORDER BY id)) AS at FROM ";
    assert_eq!(
        from.query(&format!("{sums} src")).await,
        to.query(&format!("{sums} dst")).await
    );

    // Longer than the target takes: it is an error, and not cut.
    from.sql("INSERT INTO src (id, v) VALUES (9000, 'far too long')")
        .await;
    to.sql("TRUNCATE dst").await;
    let error = copy(Verify::Off)
        .migrate("src", "dst", "SELECT * FROM batch")
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("the row id=9000 of src"), "{error}");
    assert!(!error.contains("far too"), "{error}");
}

#[tokio::test]
async fn tables_with_rules_or_row_security_get_their_rows_by_insert() {
    let world = world().await;
    world
        .sql(
            "DELETE FROM src WHERE id > 5000; CREATE TABLE seen (id integer); \
             CREATE RULE note AS ON INSERT TO dst DO ALSO INSERT INTO seen VALUES (new.id)",
        )
        .await;
    let made = Arc::new(migrator(&world, Same { odd_day: false }))
        .migrate("src", "dst", "rust:same")
        .await;
    assert!(made.is_ok(), "{}", made.unwrap_err());
    assert_eq!(
        world.query("SELECT count(*) AS n FROM seen").await,
        json!(2_001)
    );
}
