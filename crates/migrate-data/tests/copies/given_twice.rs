//! Two batches that give the same key into a table that had rows before, with nothing compared afterwards.

use migrate_core::Step;
use migrate_data::{Cell, RowTransform, SourceRow, TransformRegistry};
use serde_json::json;

use crate::world::{World, both, context, data};

/// Row 900 gives the key of row 10; both are in no batch together.
const SCRIPT: &str = "SELECT CASE WHEN id = 900 THEN 10 ELSE id END AS id, v FROM batch";

struct Twin;

impl RowTransform for Twin {
    fn columns(&self) -> &[&str] {
        &["id", "v"]
    }

    fn transform(&self, row: &SourceRow<'_>) -> Result<Vec<Cell>, String> {
        let id = match row.get("id")? {
            Cell::Integer(900) => Cell::Integer(10),
            id => id.clone(),
        };
        Ok(vec![id, row.get("v")?.clone()])
    }
}

/// Half of the rows are there already, with another content; `kind` is the type of one more column.
async fn half(world: &World, kind: &str, there: &str) {
    world.thousand().await;
    world
        .sql(&format!(
            "ALTER TABLE dst ADD COLUMN more {kind}; INSERT INTO dst (id, v) SELECT id, 'stale' FROM src WHERE {there}"
        ))
        .await;
}

fn step(world: &World, script: &str, bad_rows: &str) -> Box<dyn Step> {
    let mut fields = data("src", "dst", script, 50, 1);
    fields["verify"] = json!("off");
    fields["bad_rows"] = json!(bad_rows);
    let transforms = TransformRegistry::new().with("twin", Twin);
    world
        .build(&fields, script, transforms)
        .unwrap_or_else(|found| panic!("{found:?}"))
}

#[tokio::test]
async fn the_second_of_two_batches_is_refused_and_everything_comes_back() {
    for (kind, there) in [
        ("integer", "id % 2 = 0"),
        ("real", "id % 2 = 0"),
        ("integer", "id % 2 = 1"),
    ] {
        for script in [SCRIPT, "rust:twin"] {
            for world in both().await {
                if !world.is_postgres() && script != SCRIPT {
                    // Nobody tells there what a batch wrote; what is compared afterwards finds it.
                    continue;
                }
                half(&world, kind, there).await;
                let before = world.fingerprint().await;
                let (step, cx) = (step(&world, script, "fail"), context());
                let receipt = step.prepare(&cx).await.unwrap();
                let error = step.run(&cx, &receipt).await.unwrap_err().to_string();
                let said = world.pick(
                    "the row id=900 of src can't be moved into dst",
                    "rows of src can't be moved into dst together",
                );
                assert!(error.contains(said), "{kind}, {there}: {error}");
                let why = world.pick(
                    "given by another row already",
                    "the transform gives the key id=10 twice",
                );
                assert!(error.contains(why), "{kind}, {there}: {error}");
                step.undo(&cx, &receipt).await.unwrap();
                assert!(before.differences(&world.fingerprint().await).is_empty());
            }
        }
    }
}

#[tokio::test]
async fn one_of_them_can_be_kept_aside() {
    let world = World::postgres().await;
    half(&world, "integer", "id % 2 = 0").await;
    let (step, cx) = (step(&world, SCRIPT, "quarantine 1"), context());
    let receipt = step.prepare(&cx).await.unwrap();
    let outcome = step
        .run(&cx, &receipt)
        .await
        .unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(outcome.figures["rows_quarantined"], 1);
    assert_eq!(
        world
            .query(
                "SELECT count(*), count(*) FILTER (WHERE v = 'v' || id) FROM dst WHERE id <> 900"
            )
            .await,
        json!([999, 999])
    );
    assert_eq!(
        world.query("SELECT v FROM dst WHERE id = 900").await,
        json!("stale")
    );
}

#[tokio::test]
async fn what_others_write_meanwhile_is_no_twin() {
    for world in both().await {
        half(&world, "integer", "id % 2 = 0").await;
        let (step, cx) = (step(&world, "SELECT id, v FROM batch", "fail"), context());
        let receipt = step.prepare(&cx).await.unwrap();
        world.sql("UPDATE dst SET v = 'fresh' WHERE id < 100; INSERT INTO dst (id, v) VALUES (1, 'fresh')").await;
        step.run(&cx, &receipt)
            .await
            .unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(
            world
                .query("SELECT count(*) FROM dst JOIN src ON src.id = dst.id AND src.v = dst.v")
                .await,
            json!(1000)
        );
    }
}
