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

/// Values of SQLite that are easily taken for others: empty, with NUL bytes and marks of the form
/// in which rows cross, real numbers at their ends, and moments in every form.
const ODD: &str = "CREATE TABLE src (id integer PRIMARY KEY, t text, b blob, r real, n integer, at text); \
    INSERT INTO src VALUES (1, '', x'', 0.1, -9223372036854775808, '2024-02-29 12:00:00'), \
    (2, 't5:;n', x'00ff3b3a', 1e308, 9223372036854775807, '2024-02-29T12:00:00Z'), \
    (3, 'é' || char(10) || '\\N', x'742d', -0.0, 0, '2024-02-29 14:00:00+02:00'), \
    (4, NULL, NULL, 9e999, NULL, '2024-02-29 12:00:00.5+00'), \
    (5, '日本', zeroblob(70000), 1.7976931348623157e308, 1, '29 Feb 2024 12:00 UTC'), \
    (6, 'x', x'01', 2.2250738585072014e-308, 2, NULL)";

#[tokio::test]
async fn odd_values_of_sqlite_arrive_as_they_are_in_every_encoding() {
    for encoding in ["UTF-8", "UTF-16le"] {
        let (from, to) = (World::sqlite().await, World::postgres().await);
        // The encoding is the file's once there is a table.
        from.sql(&format!("PRAGMA encoding = '{encoding}'; {ODD}"))
            .await;
        to.sql(
            "CREATE TABLE dst (id integer PRIMARY KEY, t text, b bytea, r double precision, n bigint, at timestamptz)",
        )
        .await;
        migrator(&from, &to)
            .migrate("src", "dst", "SELECT * FROM batch")
            .await
            .unwrap_or_else(|error| panic!("{encoding}: {error}"));
        let there = to
            .query(
                "SELECT string_agg(concat_ws('|', id, t, encode(substr(b, 1, 8), 'hex'), length(b), r, n, \
                 to_char(at AT TIME ZONE 'UTC', 'DD HH24:MI:SS.MS')), E'\\x01' ORDER BY id) FROM dst",
            )
            .await;
        let expected = [
            "1|||0|0.1|-9223372036854775808|29 12:00:00.000",
            "2|t5:;n|00ff3b3a|4|1e+308|9223372036854775807|29 12:00:00.000",
            "3|é\n\\N|742d|2|0|0|29 12:00:00.000",
            "4|Infinity|29 12:00:00.500",
            "5|日本|0000000000000000|70000|1.7976931348623157e+308|1|29 12:00:00.000",
            "6|x|01|1|2.2250738585072014e-308|2",
        ];
        assert_eq!(there, json!(expected.join("\u{1}")), "{encoding}");
    }
}

#[tokio::test]
async fn a_text_that_is_not_utf_8_is_about_its_row() {
    let (from, to) = (World::sqlite().await, World::postgres().await);
    from.sql("CREATE TABLE src (id integer PRIMARY KEY, t text); INSERT INTO src WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 400) SELECT i, 'x' FROM n; \
              UPDATE src SET t = CAST(x'c328' AS text) WHERE id = 333").await;
    to.sql("CREATE TABLE dst (id integer PRIMARY KEY, t text)")
        .await;
    let error = migrator(&from, &to)
        .migrate("src", "dst", "SELECT * FROM batch")
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("the row id=333 of src"), "{error}");
    assert!(error.contains("a text is not UTF-8"), "{error}");
}

#[tokio::test]
async fn tables_with_many_columns_cross_too() {
    let (from, to) = (World::sqlite().await, World::postgres().await);
    let columns = |kind: &str| {
        let all: Vec<String> = (1..=130).map(|at| format!("c{at} {kind}")).collect();
        format!("(id integer PRIMARY KEY, {})", all.join(", "))
    };
    let values: Vec<String> = (1..=130).map(|at| format!("'v{at}'")).collect();
    from.sql(&format!(
        "CREATE TABLE src {}; INSERT INTO src VALUES (1, {})",
        columns("text"),
        values.join(", ")
    ))
    .await;
    to.sql(&format!("CREATE TABLE dst {}", columns("text")))
        .await;
    let counts = migrator(&from, &to)
        .migrate("src", "dst", "SELECT * FROM batch")
        .await
        .unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(counts.inserted, 1);
    let query = "SELECT c1, c40, c41, c130 FROM ";
    assert_eq!(
        from.query(&format!("{query} src")).await,
        to.query(&format!("{query} dst")).await
    );
}

/// SQLite writes a number that is very large or very small so that another reader takes it for the
/// number beside; nothing compares it by another way.
#[tokio::test]
async fn real_numbers_of_sqlite_arrive_to_the_last_bit() {
    use migrate_schema::db::Database;
    let (from, to) = (World::sqlite().await, World::postgres().await);
    from.sql("CREATE TABLE src (id integer PRIMARY KEY, r real)")
        .await;
    to.sql("CREATE TABLE dst (id integer PRIMARY KEY, r double precision)")
        .await;
    let (Database::Sqlite(lite), Database::Postgres(pg)) = (&from.db, &to.db) else {
        panic!("these are the databases that were asked for");
    };
    let mut tx = lite.pool().begin().await.unwrap();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut sent: Vec<(i32, u64)> = Vec::new();
    // Of every exponent some; a part of the ids has ordinary numbers only, and goes the fast way.
    for id in 1..=4_000_i32 {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let mut number = f64::from_bits(state);
        if !number.is_finite() || number == 0.0 || id > 3_000 {
            number = f64::from(id) / 7.0;
        }
        sqlx::query("INSERT INTO src VALUES (?, ?)")
            .bind(id)
            .bind(number)
            .execute(&mut *tx)
            .await
            .unwrap();
        sent.push((id, number.to_bits()));
    }
    tx.commit().await.unwrap();
    migrator(&from, &to)
        .migrate("src", "dst", "SELECT * FROM batch")
        .await
        .unwrap_or_else(|error| panic!("{error}"));
    let rows: Vec<(i32, f64)> = sqlx::query_as("SELECT id, r FROM public.dst ORDER BY id")
        .fetch_all(pg.pool())
        .await
        .unwrap();
    let arrived: Vec<(i32, u64)> = rows
        .into_iter()
        .map(|(id, number)| (id, number.to_bits()))
        .collect();
    assert!(
        arrived == sent,
        "{:?}",
        arrived.iter().zip(&sent).find(|(a, b)| a != b)
    );
}

/// Names of ours must not hide those of the user.
#[tokio::test]
async fn tables_may_have_any_name() {
    for name in ["rows", "next", "last", "made", "measured"] {
        let (from, to) = (World::sqlite().await, World::postgres().await);
        from.sql(&format!("CREATE TABLE {name} (a integer, b text, PRIMARY KEY (a, b)) WITHOUT ROWID; INSERT INTO {name} VALUES (1, 'x'), (1, 'y'), (2, 'x')")).await;
        to.sql("CREATE TABLE dst (a integer, b text, PRIMARY KEY (a, b))")
            .await;
        let counts = migrator(&from, &to)
            .migrate(name, "dst", "SELECT a, b FROM batch")
            .await
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(counts.inserted, 3, "{name}");
    }
}
