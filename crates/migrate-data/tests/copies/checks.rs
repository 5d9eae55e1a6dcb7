//! What is found before anything runs.

use migrate_core::{Readiness, ScopeObject, Undoable};
use migrate_data::TransformRegistry;
use serde_json::json;

use crate::world::{World, both, context, data};

fn findings(world: &World, data: &serde_json::Value, script: &str) -> Vec<(String, String)> {
    let built = world.build(data, script, TransformRegistry::shipped());
    let findings = built.err().expect("it has findings");
    findings
        .into_iter()
        .map(|f| (f.pointer, f.message))
        .collect()
}

#[tokio::test]
async fn a_step_that_can_not_work_is_refused_with_every_reason() {
    let world = World::sqlite().await;
    let found = findings(&world, &data("", "t", "rust:nope", 0, 0), "");
    let pointers: Vec<&str> = found.iter().map(|(pointer, _)| pointer.as_str()).collect();
    assert_eq!(
        pointers,
        [
            "/data_migration/batch_size",
            "/data_migration/parallel_workers",
            "/data_migration/source_table",
            "/data_migration/transformation_script"
        ]
    );
    for (script, message) in [
        ("missing.sql", "there is no script missing.sql"),
        (
            "DELETE FROM x",
            "script.sql is not a transformation: it begins with DELETE and not with SELECT",
        ),
        (
            "SELECT 1; SELECT 2",
            "script.sql is not a transformation: there is more than one statement in it",
        ),
    ] {
        assert_eq!(
            findings(&world, &data("s", "t", script, 1, 1), script)[0].1,
            message
        );
    }
    assert_eq!(
        findings(
            &world,
            &data("s", "s", "SELECT * FROM batch", 1, 1),
            "SELECT * FROM batch"
        )[0]
        .1,
        "s is both source and target"
    );
}

async fn blocked(world: &World, source: &str, target: &str, script: &str) -> Vec<String> {
    match world
        .step(source, target, script, 10)
        .check(&context())
        .await
        .unwrap()
    {
        Readiness::Blocked(findings) => findings
            .into_iter()
            .map(|finding| finding.message)
            .collect(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn tables_and_scripts_that_do_not_fit_are_told_before_anything_runs() {
    for world in both().await {
        world.sql("CREATE TABLE s (id integer PRIMARY KEY, v text); CREATE TABLE keyless (id integer, v text)").await;
        world.sql("CREATE VIEW seen AS SELECT * FROM keyless").await;
        world.sql("CREATE TABLE t (id integer PRIMARY KEY, v text NOT NULL, n integer NOT NULL, d integer NOT NULL DEFAULT 1)").await;
        let before = world.fingerprint().await;
        assert_eq!(
            blocked(&world, "x", "y", "SELECT id FROM batch").await,
            ["there is no table x", "there is no table y"]
        );
        assert_eq!(
            blocked(
                &world,
                "s",
                "t",
                "SELECT id, v, 1 AS n, 2 AS wrong FROM batch"
            )
            .await,
            ["t has no column \"wrong\", which the transform gives"]
        );
        assert_eq!(
            blocked(&world, "s", "t", "SELECT id, 1 AS n FROM batch").await,
            ["t.v is NOT NULL without a default, and the transform does not give it"]
        );
        assert_eq!(
            blocked(&world, "seen", "t", "SELECT id, v, 1 AS n FROM batch").await,
            ["seen has no key that batches could follow"]
        );
        assert_eq!(
            blocked(&world, "s", "keyless", "SELECT id, v FROM batch").await,
            ["the transform gives no key of keyless whole"]
        );
        assert!(
            blocked(&world, "s", "t", "SELECT id, nope AS v, 1 AS n FROM batch").await[0]
                .contains("nope")
        );
        assert_eq!(
            blocked(
                &world,
                "s",
                "t",
                "-- on-conflict: update zzz; set q = 1\nSELECT id, v, 1 AS n FROM batch"
            )
            .await,
            [
                "on-conflict updates \"zzz\", which the transform does not give",
                "on-conflict sets \"q\", which t does not have"
            ]
        );
        let step = world.step("s", "t", "SELECT id, v, 1 AS n FROM batch", 10);
        assert_eq!(step.check(&context()).await.unwrap(), Readiness::Ready);
        let described = step.describe();
        assert_eq!(described.scope, [ScopeObject::Table("t".to_owned())]);
        assert_eq!(described.undo, Undoable::Yes);
        assert_eq!(
            described.inputs,
            [(
                "script.sql".to_owned(),
                "SELECT id, v, 1 AS n FROM batch".to_owned()
            )]
        );
        world
            .sql("INSERT INTO s VALUES (1, 'a'), (2, 'b'); INSERT INTO t VALUES (2, 'b', 1, 1)")
            .await;
        let preview = step.preview(&context()).await.unwrap();
        assert_eq!(preview.rows, Some(2));
        assert!(
            preview.notes[0].starts_with("1 rows of t have a key"),
            "{:?}",
            preview.notes
        );
        let range = world.pick(
            r#""id" OPERATOR("pg_catalog".>) :after AND "id" OPERATOR("pg_catalog".<=) :upto"#,
            r#""id" > :after AND "id" <= :upto"#,
        );
        assert!(preview.actions[0].contains(range), "{:?}", preview.actions);
        world.sql("DELETE FROM s; DELETE FROM t").await;
        assert_eq!(
            before.differences(&world.fingerprint().await),
            Vec::<String>::new()
        );
        assert!(!migrate_schema::own::exists(&world.db).await.unwrap());
    }
}

#[tokio::test]
async fn what_an_earlier_step_may_put_right_is_awaited() {
    for world in both().await {
        world.sql("CREATE TABLE s (id integer PRIMARY KEY, v text); CREATE TABLE t (id integer PRIMARY KEY)").await;
        let plan = |source: &str| {
            json!({
                "from_version": "1.5.0", "to_version": "2.0.0", "migration_type": "MajorUpgrade",
                "steps": [
                    {"id": "schema", "step_type": "SchemaUpdate", "command": "alter.sql"},
                    {"id": "move", "step_type": "DataMigration", "data_migration": data(source, "t", "script.sql", 10, 1)},
                ],
            })
        };
        let scripts = [
            ("alter.sql", "ALTER TABLE t ADD COLUMN v text"),
            ("script.sql", "SELECT id, v FROM batch"),
        ];
        let step = world
            .build_plan(plan("s"), 1, &scripts, TransformRegistry::new())
            .unwrap_or_else(|f| panic!("{f:?}"));
        match step.check(&context()).await.unwrap() {
            Readiness::After(why) => assert_eq!(
                why,
                "step schema: t has no column \"v\", which the transform gives"
            ),
            other => panic!("{other:?}"),
        }
        let error = step.prepare(&context()).await.unwrap_err();
        assert_eq!(
            error.message,
            "t has no column \"v\", which the transform gives"
        );
        // No earlier step mentions the source.
        let step = world
            .build_plan(plan("gone"), 1, &scripts, TransformRegistry::new())
            .unwrap_or_else(|f| panic!("{f:?}"));
        assert!(matches!(
            step.check(&context()).await.unwrap(),
            Readiness::Blocked(_)
        ));
        world.sql(scripts[0].1).await;
        let step = world
            .build_plan(plan("s"), 1, &scripts, TransformRegistry::new())
            .unwrap_or_else(|f| panic!("{f:?}"));
        assert_eq!(step.check(&context()).await.unwrap(), Readiness::Ready);
    }
}
