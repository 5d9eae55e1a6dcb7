//! Keys of every kind.

use serde_json::json;

use crate::world::{both, context, run};

#[tokio::test]
async fn batches_follow_any_key() {
    for world in both().await {
        let postgres = world.is_postgres();
        let uuid = world.pick("uuid", "text");
        let series = world.pick(
            "generate_series(1, 100) AS i",
            "(WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100) SELECT i FROM n)",
        );
        let uuid_of = world.pick("md5(i::text)::uuid", "lower(hex(randomblob(16)))");
        let mut cases = vec![
            (
                "k text PRIMARY KEY NOT NULL",
                "'it''s ' || (i * 37 % 101) || ' é\"'".to_owned(),
                "k",
            ),
            (
                "k integer PRIMARY KEY",
                "(i - 50) * 1000003".to_owned(),
                "k",
            ),
            (
                "k bigint NOT NULL UNIQUE",
                "(i - 50) * 100000000000000000".to_owned(),
                "k",
            ),
            (
                "k double precision NOT NULL UNIQUE",
                "i / 7.0".to_owned(),
                "k",
            ),
            (
                "a text NOT NULL, b integer NOT NULL, PRIMARY KEY (a, b)",
                "'r' || (i % 3), i".to_owned(),
                "a, b",
            ),
            (
                "a integer NOT NULL, b text NOT NULL, c integer NOT NULL, PRIMARY KEY (b, c, a)",
                "i % 4, 'x' || (i % 5), i".to_owned(),
                "b, c, a",
            ),
        ];
        let uuids = format!("k {uuid} PRIMARY KEY NOT NULL");
        cases.push((&uuids, uuid_of.to_owned(), "k"));
        if postgres {
            cases.push((
                "k timestamptz PRIMARY KEY",
                "timestamptz '2024-01-31 12:00+00' + i * interval '1 day 1.5 seconds'".to_owned(),
                "k",
            ));
            cases.push((
                "k bytea PRIMARY KEY",
                "decode(md5(i::text), 'hex')".to_owned(),
                "k",
            ));
            cases.push(("k numeric PRIMARY KEY", "(i - 50) / 3.0".to_owned(), "k"));
        } else {
            cases.push((
                "k blob PRIMARY KEY NOT NULL",
                "randomblob(8)".to_owned(),
                "k",
            ));
            cases.push((
                "k PRIMARY KEY NOT NULL",
                "CASE i % 3 WHEN 0 THEN i WHEN 1 THEN 't' || i ELSE i + 0.5 END".to_owned(),
                "k",
            ));
        }
        for (columns, values, key) in cases {
            world.sql(&format!("CREATE TABLE src ({columns}); CREATE TABLE dst ({columns}); INSERT INTO src SELECT {values} FROM {series}")).await;
            for size in [1000, 9] {
                let before = world.fingerprint().await;
                let step = world.step("src", "dst", "SELECT * FROM batch", size);
                let cx = context();
                let (receipt, figures) = run(&*step, &cx).await;
                assert_eq!(figures, [100, 100, 0, 0], "{columns}");
                let ledger = migrate_schema::own::name(
                    world.db.backend(),
                    receipt.0["ledger"].as_str().unwrap(),
                );
                let sizes = world
                    .query(&format!("SELECT max(rows_read), count(*) FROM {ledger}"))
                    .await;
                assert_eq!(
                    sizes,
                    json!([size.min(100), 100_usize.div_ceil(size)]),
                    "{columns}"
                );
                let differing = format!(
                    "SELECT count(*) FROM (SELECT {key} FROM src EXCEPT SELECT {key} FROM dst) AS x"
                );
                assert_eq!(world.query(&differing).await, json!(0), "{columns}");
                step.undo(&cx, &receipt).await.unwrap();
                assert_eq!(
                    before.differences(&world.fingerprint().await),
                    Vec::<String>::new(),
                    "{columns}"
                );
            }
            world.sql("DROP TABLE src; DROP TABLE dst").await;
        }
    }
}

#[tokio::test]
async fn descending_indexes_and_odd_names_serve_too() {
    for world in both().await {
        world.sql("CREATE TABLE \"Odd src\" (\"K e\"\"y\" integer NOT NULL, v text); CREATE UNIQUE INDEX odd ON \"Odd src\" (\"K e\"\"y\" DESC)").await;
        world
            .sql("CREATE TABLE \"Dst.x\" (\"K e\"\"y\" integer NOT NULL UNIQUE, v text)")
            .await;
        world
            .sql("INSERT INTO \"Odd src\" VALUES (-1, NULL), (5, ''), (99, 'x'), (7, 'NULL')")
            .await;
        let step = world.step(
            "Odd src",
            "\"Dst.x\"",
            "SELECT v, \"K e\"\"y\" FROM batch",
            2,
        );
        let (_, figures) = run(&*step, &context()).await;
        assert_eq!(figures, [4, 4, 0, 0]);
        let rows = world.query("SELECT * FROM \"Dst.x\" ORDER BY 1").await;
        assert_eq!(rows, json!([[-1, null], [5, ""], [7, "NULL"], [99, "x"]]));
    }
}
