//! The guide's own transform, in SQL of both databases and in Rust.

use migrate_data::transform_config;
use migrate_tests::hostile::{SourceRow, new_config, source_rows, target_rows};
use serde_json::{Value, json};

use crate::world::{World, both, context, run};

fn text(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}

async fn hostile(world: &World) -> Vec<SourceRow> {
    world.pipelines().await;
    let source = source_rows();
    for row in &source {
        let values =
            [&row.name, &row.config, &row.status, &row.created_at].map(|value| text(value));
        let stamp = if world.is_postgres() {
            // A moment without an offset is one at UTC.
            format!(
                "({}::timestamptz)",
                text(&if row.created_at.len() > 19 {
                    row.created_at.clone()
                } else {
                    format!("{}+00", row.created_at)
                })
                .replace("+00+00", "+00")
            )
        } else {
            values[3].clone()
        };
        let stamp = if row.created_at.ends_with('Z') && world.is_postgres() {
            format!("{}::timestamptz", values[3])
        } else {
            stamp
        };
        world
            .sql(&format!(
                "INSERT INTO pipelines_old VALUES ({}, {}, {}, {}, {stamp})",
                row.id, values[0], values[1], values[2]
            ))
            .await;
    }
    for row in target_rows(&source) {
        world
            .sql(&format!(
                "INSERT INTO pipelines (id, name, config, status) VALUES ({}, {}, {}, {})",
                row.id,
                text(&row.name),
                text(&row.config),
                text(&row.status)
            ))
            .await;
    }
    world.fill(100, 700).await;
    source
}

#[tokio::test]
async fn hostile_rows_arrive_whole_and_undo_brings_everything_back() {
    for world in both().await {
        let source = hostile(&world).await;
        let before = world.fingerprint().await;
        let mut results = Vec::new();
        for script in [world.shipped_script(), "rust:transform_config"] {
            let step = world.step("pipelines_old", "pipelines", script, 13);
            let cx = context();
            let (receipt, [read, inserted, updated, unchanged]) = run(&*step, &cx).await;
            assert_eq!(read, 700 + source.len() as u64);
            assert_eq!(read, inserted + updated + unchanged, "{script}");
            assert!(
                updated >= 8 && inserted >= 700,
                "{inserted} {updated} {unchanged}"
            );
            let rows = world.query("SELECT id, name, config, status, retry_attempts, timeout_seconds, created_at FROM pipelines ORDER BY id").await;
            must_hold(&rows, &source);
            results.push(rows);
            step.undo(&cx, &receipt).await.unwrap();
            let after = world.fingerprint().await;
            assert_eq!(before.differences(&after), Vec::<String>::new(), "{script}");
            step.forget(&cx, &receipt).await.unwrap();
        }
        assert_eq!(results[0], results[1], "SQL and Rust give the same rows");
    }
}

fn must_hold(rows: &Value, source: &[SourceRow]) {
    for row in source {
        let found = rows
            .as_array()
            .unwrap()
            .iter()
            .find(|r| r[0] == json!(row.id))
            .unwrap();
        assert_eq!(found[1], json!(row.name));
        assert_eq!(found[3], json!(row.status));
        assert_eq!(
            found[2],
            json!(transform_config(&row.config).unwrap()),
            "{}",
            row.config
        );
        let got: Value = serde_json::from_str(found[2].as_str().unwrap()).unwrap();
        assert_eq!(got, new_config(&row.config));
    }
}

#[tokio::test]
async fn configs_are_byte_for_byte_the_same_in_all_three() {
    let values = [
        "1e3",
        "1.0",
        "-0",
        "-0.0",
        "1E400",
        "123456789012345678901234567890",
        "0.10",
        "null",
        "true",
        r#""""#,
        r#""\u00e9\ud83d\ude80""#,
        r#""a\/b\"\\\n""#,
        r#""🚀 ' -- $1""#,
        r#""NULL""#,
        "[]",
        "{}",
        "[ 1 ,\t2\n]",
        r#"{ "a" : { "b c" : " \" x " } , "d":[ ] }"#,
        r#"[[ "\u0041 b", 1e3 ]]"#,
    ];
    let mut configs: Vec<String> = Vec::new();
    for (at, value) in values.iter().enumerate() {
        let other = values[(at * 7 + 3) % values.len()];
        configs.push(format!(r#"{{"batch_size":{value},"parallel_tasks":{other},"database_url":{value},"log_level":{other}}}"#));
        configs.push(format!("{{\"log_level\" :\n {value}  ,\"x\":{other}}}"));
        configs.push((*value).to_owned());
        configs.push(format!(" [{value}] "));
    }
    configs.extend([
        r#"{"batch_size":1,"batch_size":2}"#.to_owned(),
        r#"{"batch_size":1,"batch_size":{"batch_size":3},"batch_size":null,"log_level":"a","log_level":"b"}"#.to_owned(),
        r#"{"x":1,"x":2,"batch_size":5}"#.to_owned(),
        r#"{"batch\u005fsize":7,"log_level":[1, "] ,"]}"#.to_owned(),
        r#"{"batch_size":1,"batch\u005fsize":7}"#.to_owned(),
        r#"{"Batch_Size":7,"":"","batch_size ":8}"#.to_owned(),
        " {} ".to_owned(),
        format!("{}1{}", "[".repeat(200), "]".repeat(200)),
    ]);
    for world in both().await {
        world.pipelines().await;
        for (id, config) in configs.iter().enumerate() {
            world
                .sql(&format!(
                    "INSERT INTO pipelines_old VALUES ({id}, 'n', {}, 's', NULL)",
                    text(config)
                ))
                .await;
        }
        run(&*world.pipelines_step(7), &context()).await;
        let rows = world
            .query("SELECT config, created_at FROM pipelines ORDER BY id")
            .await;
        for (row, config) in rows.as_array().unwrap().iter().zip(&configs) {
            assert_eq!(
                row[0],
                json!(transform_config(config).unwrap()),
                "{:?}: {config}",
                world.db.backend()
            );
            assert_eq!(row[1], Value::Null);
        }
        assert_eq!(rows.as_array().unwrap().len(), configs.len());
    }
}

#[tokio::test]
async fn what_is_not_json_fails_the_row_in_all_three() {
    for world in both().await {
        world.pipelines().await;
        for config in [
            "",
            " ",
            "{",
            "nope",
            "{a:1}",
            "{'a':1}",
            "[1,]",
            "{\"a\":1,}",
            "01",
            "+1",
            ".5",
            "5.",
            "NaN",
            "Infinity",
            "0x1f",
            "{} x",
            "\"a\tb\"",
            "/* c */ {}",
            "{} -- c",
            "\u{feff}{}",
            "\"\\x41\"",
            "\"\\u12\"",
            "tru",
        ] {
            world.sql("DELETE FROM pipelines_old").await;
            world.sql(&format!("INSERT INTO pipelines_old VALUES (-4, 'n', {}, 's', NULL), (3, 'n', '{{}}', 's', NULL)", text(config))).await;
            for script in [world.shipped_script(), "rust:transform_config"] {
                let step = world.step("pipelines_old", "pipelines", script, 100);
                let cx = context();
                let receipt = step.prepare(&cx).await.unwrap();
                let error = step.run(&cx, &receipt).await.expect_err(config);
                assert!(
                    error.message.contains("the row id=-4 of pipelines_old"),
                    "{config:?}: {error}"
                );
                step.undo(&cx, &receipt).await.unwrap();
            }
        }
    }
}

#[tokio::test]
async fn a_null_config_is_named_with_its_reason() {
    for world in both().await {
        world.pipelines().await;
        world.fill(1, 50).await;
        world
            .sql("UPDATE pipelines_old SET config = NULL WHERE id = 37")
            .await;
        let before = world.fingerprint().await;
        for script in [world.shipped_script(), "rust:transform_config"] {
            let step = world.step("pipelines_old", "pipelines", script, 20);
            let cx = context();
            let receipt = step.prepare(&cx).await.unwrap();
            let error = step.run(&cx, &receipt).await.unwrap_err();
            assert_eq!(
                error.message,
                "the row id=37 of pipelines_old can't be moved into pipelines"
            );
            assert_eq!(error.causes, ["config is NULL"]);
            assert!(!error.to_string().contains("warn"), "{error}");
            step.undo(&cx, &receipt).await.unwrap();
            assert_eq!(
                before.differences(&world.fingerprint().await),
                Vec::<String>::new()
            );
        }
    }
}

#[tokio::test]
async fn moments_are_read_as_sqlite_reads_them() {
    let world = World::sqlite().await;
    world.pipelines().await;
    let mut moments: Vec<String> = [
        "2024-01-02",
        "2024-01-02 ",
        "2024-01-02T",
        "2024-01-02 03:04",
        "2024-01-02T03:04:05",
        "2024-01-02   03:04:05.5",
        "2024-01-02 03:04:05.",
        "2024-01-02 03:04:05.1234",
        "2024-01-02 03:04:05.9996",
        "2024-01-02 03:04:59.99999",
        "2024-01-02 03:04:05Z",
        "2024-01-02 03:04:05 z ",
        "2024-01-02 03:04:05+05:30",
        "2024-01-02 03:04:05 -14:59",
        "2024-01-02 03:04:05+15:00",
        "2024-02-31",
        "2023-02-29 24:00",
        "2024-01-02 24:59:59",
        "2024-01-02 25:00",
        "2024-13-01",
        "2024-00-10",
        "2024-01-00",
        "2024-01-32",
        "2024-1-2",
        "20240102",
        "now",
        "12:00",
        "2460000.5",
        "",
        "2024-01-02x",
        "2024-01-02 03",
        "2024-01-02 03:04:60",
        "2024-01-02 03:04:05+0530",
        "2024-01-02 03:04:05 UTC",
        "2024-01-02TT03:04",
        "0000-01-01",
        "0000-01-01 00:00+00:01",
        "9999-12-31 23:59:59.999",
        "9999-12-31 23:59-00:01",
        "2024-01-02\t03:04:05.25\n",
        "2024-01-02 03:04:05.0004",
        "2024-01-02 03:04:05.0005",
        "1582-10-10",
        "1969-12-31 23:59:59.999",
        "2024-01-02 03:04Z5",
    ]
    .map(str::to_owned)
    .to_vec();
    moments.extend((0..1000).map(|ms| format!("2024-01-02 03:04:05.{ms:03}")));
    for (id, moment) in moments.iter().enumerate() {
        world
            .sql(&format!(
                "INSERT INTO pipelines_old VALUES ({id}, 'n', '{{}}', 's', {})",
                text(moment)
            ))
            .await;
    }
    let mut good = 0;
    for (id, moment) in moments.iter().enumerate().take(45) {
        // One row at a time, as some of them fail.
        world.sql(&format!("CREATE TABLE one AS SELECT * FROM pipelines_old WHERE id = {id}; CREATE UNIQUE INDEX one_id ON one (id)")).await;
        world.sql("DROP TABLE one; CREATE TABLE one (id integer primary key, name text, config text, status text, created_at text)").await;
        world
            .sql(&format!(
                "INSERT INTO one SELECT * FROM pipelines_old WHERE id = {id}"
            ))
            .await;
        let mut results = Vec::new();
        for script in [world.shipped_script(), "rust:transform_config"] {
            let step = world.step("one", "pipelines", script, 1);
            let cx = context();
            let receipt = step.prepare(&cx).await.unwrap();
            let ran = step.run(&cx, &receipt).await.map_err(|error| error.causes);
            results.push(match ran {
                Ok(_) => Ok(world
                    .query("SELECT created_at, updated_at FROM pipelines")
                    .await),
                Err(causes) => Err(causes),
            });
            step.undo(&cx, &receipt).await.unwrap();
        }
        assert_eq!(results[0], results[1], "{moment:?}");
        good += usize::from(results[0].is_ok());
        if let Err(causes) = &results[0] {
            assert_eq!(causes, &["created_at is not a date or time"], "{moment:?}");
        }
        world.sql("DROP TABLE one").await;
    }
    assert!(good > 20, "{good}");
    world.sql("DELETE FROM pipelines_old WHERE id < 45").await;
    let mut rows = Vec::new();
    for script in [world.shipped_script(), "rust:transform_config"] {
        let cx = context();
        let step = world.step("pipelines_old", "pipelines", script, 300);
        let (receipt, _) = run(&*step, &cx).await;
        rows.push(
            world
                .query("SELECT id, created_at FROM pipelines ORDER BY id")
                .await,
        );
        step.undo(&cx, &receipt).await.unwrap();
    }
    assert_eq!(rows[0], rows[1]);
}
