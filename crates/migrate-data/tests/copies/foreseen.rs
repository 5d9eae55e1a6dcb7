//! Rows that the target would refuse, found before anything is changed.

use migrate_core::{Finding, Severity};
use migrate_data::TransformRegistry;
use serde_json::json;

use crate::world::{World, both, context, data};

/// What must not show anywhere.
const SECRET: &str = "topsecret";

/// 1,000 good rows, and a target that is strict about them.
async fn strict(world: &World) {
    let series = world.pick(
        "generate_series(1, 1000) AS i",
        "(WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000) SELECT i FROM n)",
    );
    let (text, end) = (world.pick("varchar(40)", "text"), world.pick("", " STRICT"));
    world
        .sql(&format!(
            "CREATE TABLE src (id integer PRIMARY KEY, v text, n text, mail text);
             CREATE TABLE dst (id integer PRIMARY KEY, v {text} NOT NULL, n integer, mail text UNIQUE, free integer,
                CONSTRAINT short CHECK (length(v) < 30), CHECK (free IS NULL OR n > 0)){end};
             INSERT INTO src SELECT i, 'value ' || i, i, 'mail ' || i FROM {series}"
        ))
        .await;
}

fn script(world: &World) -> String {
    let number = world.pick("CAST(n AS integer)", "n");
    format!(
        "SELECT CASE WHEN v LIKE 'twin%' THEN id - 1 ELSE id END AS id, v, {number} AS n, mail FROM batch \
         WHERE v IS NULL OR v <> 'left out'"
    )
}

async fn foreseen(world: &World, bad_rows: &str) -> Vec<Finding> {
    let script = script(world);
    let mut fields = data("src", "dst", &script, 100, 2);
    fields["bad_rows"] = json!(bad_rows);
    let step = world.build(&fields, &script, TransformRegistry::new());
    let step = step.unwrap_or_else(|found| panic!("{found:?}"));
    step.foresee(&context()).await.unwrap()
}

/// What is wrong with row 777 and two more, and what has to be said of it.
struct Wrong {
    rows: &'static str,
    postgres: &'static [&'static str],
    sqlite: &'static [&'static str],
    code: &'static str,
}

const WRONG: [Wrong; 7] = [
    Wrong {
        rows: "v = NULL WHERE id IN (5, 777, 778, 900)",
        postgres: &[
            "4 rows of src would have NULL in dst.v, which is NOT NULL: id=5; id=777; id=778, ...",
        ],
        sqlite: &[
            "4 rows of src would have NULL in dst.v, which is NOT NULL: id=5; id=777; id=778, ...",
        ],
        code: "rows.null",
    },
    Wrong {
        rows: "n = 'topsecret' WHERE id IN (777, 9)",
        postgres: &[
            "the row id=9 of src can't be moved into dst: column n: invalid input syntax for type integer",
            "the row id=777 of src can't",
        ],
        sqlite: &[
            "2 rows of src would have a value in dst.n that INTEGER can't hold: id=9; id=777",
        ],
        code: "rows.failing rows.value",
    },
    Wrong {
        rows: "v = 'topsecret, and longer than thirty letters' WHERE id = 777",
        postgres: &[
            "1 row of src would have a value in dst.v that character varying(40) can't hold: id=777",
            "1 row of src would break the CHECK short of dst: id=777",
        ],
        sqlite: &["1 row of src would break the CHECK short of dst: id=777"],
        code: "rows.check rows.value",
    },
    Wrong {
        rows: "v = 'twin topsecret' WHERE id = 777",
        postgres: &[
            "2 rows of src give 1 key more than once that dst_pkey (id) takes once: id=776",
        ],
        sqlite: &["2 rows of src give 1 key more than once that dst (id) takes once: id=776"],
        code: "rows.twin",
    },
    Wrong {
        rows: "mail = 'topsecret' WHERE id IN (5, 6, 777)",
        postgres: &[
            "3 rows of src give 1 key more than once that dst_mail_key (mail) takes once: id=5; id=6; id=777",
        ],
        sqlite: &[
            "3 rows of src give 1 key more than once that sqlite_autoindex_dst_1 (mail) takes once: id=5; id=6; id=777",
        ],
        code: "rows.twin",
    },
    Wrong {
        rows: "v = 'left out' WHERE id = 777",
        postgres: &[
            "the row id=777 of src can't be moved into dst: the transform gives 0 rows for it, and should give one",
        ],
        sqlite: &[
            "the row id=777 of src can't be moved into dst: the transform gives 0 rows for it, and should give one",
        ],
        code: "rows.failing",
    },
    Wrong {
        rows: "mail = NULL, n = NULL WHERE id < 500",
        postgres: &[],
        sqlite: &[],
        code: "",
    },
];

#[tokio::test]
async fn rows_that_the_target_refuses_are_named_before_anything_changes() {
    for wrong in &WRONG {
        for world in both().await {
            strict(&world).await;
            world.sql(&format!("UPDATE src SET {}", wrong.rows)).await;
            let before = world.fingerprint().await;
            let found = foreseen(&world, "fail").await;
            let said = if world.is_postgres() {
                wrong.postgres
            } else {
                wrong.sqlite
            };
            assert_eq!(found.len(), said.len(), "{}: {found:?}", wrong.rows);
            for (finding, words) in found.iter().zip(said) {
                assert!(finding.message.starts_with(words), "{found:?}");
                assert!(wrong.code.contains(&finding.code), "{found:?}");
                assert_eq!(finding.severity, Severity::Error);
                assert!(!finding.to_string().contains(SECRET), "{finding}");
            }
            // What may be kept aside stops nothing.
            for finding in foreseen(&world, "quarantine 50%").await {
                assert_eq!(finding.severity, Severity::Warning, "{finding}");
                assert!(finding.message.contains("bad_rows allows 500"), "{finding}");
            }
            assert!(before.differences(&world.fingerprint().await).is_empty());
            assert!(!migrate_schema::own::exists(&world.db).await.unwrap());
        }
    }
}

#[tokio::test]
async fn more_bad_rows_than_may_be_kept_aside_refuse_the_copy() {
    for world in both().await {
        strict(&world).await;
        world.sql("UPDATE src SET v = NULL WHERE id % 100 = 0; UPDATE src SET mail = 'one' WHERE id < 5").await;
        let found = foreseen(&world, "quarantine 9").await;
        let errors: Vec<&Finding> = found
            .iter()
            .filter(|f| f.severity == Severity::Error)
            .collect();
        let [error] = errors[..] else {
            panic!("{found:?}");
        };
        assert_eq!(error.code, "rows.over-budget");
        assert!(
            error
                .message
                .starts_with("at least 10 rows of src can't be moved, and bad_rows allows 9"),
            "{error}"
        );
        let enough = foreseen(&world, "quarantine 13").await;
        assert!(
            enough.iter().all(|f| f.severity == Severity::Warning),
            "{enough:?}"
        );
    }
}

#[tokio::test]
async fn what_a_step_before_the_copy_may_put_right_is_no_error() {
    for world in both().await {
        strict(&world).await;
        world.sql("UPDATE src SET v = NULL WHERE id = 777").await;
        let plan = json!({
            "from_version": "1.5.0", "to_version": "2.0.0", "migration_type": "MajorUpgrade",
            "steps": [
                {"id": "mend", "step_type": "SchemaUpdate", "command": "mend.sql"},
                {"id": "move", "step_type": "DataMigration", "data_migration": data("src", "dst", "script.sql", 10, 1)},
            ],
        });
        for (mend, severity) in [
            ("UPDATE src SET v = '' WHERE v IS NULL", Severity::Warning),
            ("UPDATE other SET v = ''", Severity::Error),
        ] {
            let scripts = [
                ("mend.sql", mend),
                ("script.sql", "SELECT id, v FROM batch"),
            ];
            let step = world.build_plan(plan.clone(), 1, &scripts, TransformRegistry::new());
            let step = step.unwrap_or_else(|found| panic!("{found:?}"));
            let found = step.foresee(&context()).await.unwrap();
            assert_eq!(found.len(), 1, "{found:?}");
            assert_eq!(found[0].severity, severity);
            assert!(found[0].message.contains("id=777"), "{found:?}");
        }
    }
}

#[tokio::test]
async fn what_is_not_looked_at_is_said() {
    for world in both().await {
        strict(&world).await;
        let rust = world.step("src", "dst", "rust:transform_config", 10);
        // It reads other columns, which is another finding; its rows are not looked at.
        let found = rust.foresee(&context()).await.unwrap();
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(
            found[0]
                .message
                .contains("were not looked at before the copy: a transform in Rust"),
            "{found:?}"
        );
        world.sql("CREATE TABLE odd (id integer PRIMARY KEY, v text, k integer NOT NULL DEFAULT (1 + 1), CHECK (length(v) > k))").await;
        let step = world.step("src", "odd", "SELECT id, v FROM batch", 10);
        let found = step.foresee(&context()).await.unwrap();
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].severity, Severity::Warning);
        assert!(found[0].message.contains("the CHECK"), "{found:?}");
    }
}

#[tokio::test]
async fn a_look_that_takes_too_long_is_cut_short_and_says_so() {
    let slow = [
        "SELECT id, v || CASE WHEN pg_sleep(0.02) IS NULL THEN '' ELSE '' END AS v FROM batch",
        "SELECT id, v || substr((WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200000 + length(batch.v)) \
         SELECT max(i) FROM n), 1, 0) AS v FROM batch",
    ];
    let worlds = both().await;
    let looks = worlds.iter().map(|world| async {
        strict(world).await;
        let script = world.pick(slow[0], slow[1]);
        let began = std::time::Instant::now();
        let found = world
            .step("src", "dst", script, 10)
            .foresee(&context())
            .await
            .unwrap();
        assert!(began.elapsed().as_secs() < 15, "{:?}", began.elapsed());
        let said: Vec<&str> = found
            .iter()
            .map(|finding| finding.message.as_str())
            .collect();
        assert!(
            said[0]
                .starts_with("0 of about 1000 of src were looked at before 10 seconds were over"),
            "{said:?}"
        );
        assert!(
            said.len() <= 2
                && said[1..].iter().all(|more| more
                    .starts_with("whether rows of src give a key twice was not looked at")),
            "{said:?}"
        );
        // Nothing of it goes on, and the connection is as it was.
        world.sql("UPDATE src SET v = 'x' WHERE id = 1").await;
    });
    futures_util::future::join_all(looks).await;
}
