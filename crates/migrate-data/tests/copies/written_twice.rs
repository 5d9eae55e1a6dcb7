//! Rows of the target that a copy writes more than once, in whatever order, come back exactly.

use migrate_core::{Receipt, Step, StepContext};
use migrate_data::{Cell, RowTransform, SourceRow, TransformRegistry};
use serde_json::json;

use crate::world::{World, both, context, data};

/// `id % 990`, as a script and in Rust.
const SCRIPT: &str = "SELECT id % 990 AS id, v FROM batch";

struct Folded;

impl RowTransform for Folded {
    fn columns(&self) -> &[&str] {
        &["id", "v"]
    }

    fn transform(&self, row: &SourceRow<'_>) -> Result<Vec<Cell>, String> {
        let Cell::Integer(id) = row.get("id")? else {
            return Err("id is no number".to_owned());
        };
        Ok(vec![Cell::Integer(id % 990), row.get("v")?.clone()])
    }
}

fn step(world: &World, script: &str) -> Box<dyn Step> {
    let transforms = TransformRegistry::new().with("folded", Folded);
    let mut fields = data("src", "dst", script, 100, 1);
    fields["verify"] = json!("off");
    world
        .build(&fields, script, transforms)
        .unwrap_or_else(|f| panic!("{f:?}"))
}

/// Enters ranges: number, above which id, up to which.
async fn ranges(world: &World, receipt: &Receipt, ranges: &[(i64, Option<i64>, Option<i64>)]) {
    let name = receipt.0["ledger"].as_str().unwrap();
    let ledger = migrate_schema::own::name(world.db.backend(), name);
    let key = |id: &Option<i64>| id.map_or("NULL".to_owned(), |id| format!("'[{id}]'"));
    for (number, after, upto) in ranges {
        world
            .sql(&format!(
                "INSERT INTO {ledger} (range, after_key, upto_key) VALUES ({number}, {}, {})",
                key(after),
                key(upto)
            ))
            .await;
    }
}

/// Writes ranges one after another, whatever their numbers are.
async fn written_in_order(
    world: &World,
    (step, cx, receipt): (&dyn Step, &StepContext, &Receipt),
    order: &[(i64, Option<i64>, Option<i64>)],
) {
    for range in order {
        ranges(world, receipt, &[*range]).await;
        step.run(cx, receipt)
            .await
            .unwrap_or_else(|error| panic!("{error}"));
        // As if nobody knew of these batches: the next would be refused.
        if world.is_postgres() {
            let name = receipt.0["ledger"].as_str().unwrap();
            let ledger = migrate_schema::own::name(world.db.backend(), name);
            world
                .sql(&format!("UPDATE {ledger} SET writers = '{{}}'"))
                .await;
        }
    }
}

#[tokio::test]
async fn ranges_that_write_the_same_rows_are_taken_back_whatever_their_order() {
    let lower = (1, None, Some(500));
    let upper = (2, Some(500), None);
    let whole = (1, None, None);
    for order in [vec![lower, upper], vec![upper, lower], vec![whole]] {
        for script in [SCRIPT, "rust:folded"] {
            for world in both().await {
                world.thousand().await;
                world.sql("INSERT INTO dst VALUES (3, 'old'), (4, 'v4'), (5, 'v995'), (7, 'older'), (2000, 'own')").await;
                let before = world.fingerprint().await;
                let step = step(&world, script);
                let cx = context();
                let receipt = step.prepare(&cx).await.unwrap();
                if world.is_postgres() && order == [whole] {
                    // Its batches know of each other: the last one is refused.
                    ranges(&world, &receipt, &order).await;
                    step.run(&cx, &receipt).await.unwrap_err();
                } else {
                    written_in_order(&world, (&*step, &cx, &receipt), &order).await;
                    assert_eq!(
                        world.query("SELECT count(*) FROM dst").await,
                        json!(991),
                        "990 keys and the row that nothing gives"
                    );
                }
                let report = step.undo(&cx, &receipt).await.unwrap();
                assert_eq!(
                    before.differences(&world.fingerprint().await),
                    Vec::<String>::new(),
                    "{order:?} {script}"
                );
                assert_eq!(report.left, Vec::<String>::new(), "{order:?} {script}");
            }
        }
    }
}

#[tokio::test]
async fn what_others_wrote_between_two_writes_of_ours_comes_back() {
    for world in both().await {
        world.thousand().await;
        world
            .sql("INSERT INTO dst VALUES (3, 'old'), (4, 'old')")
            .await;
        let step = step(&world, SCRIPT);
        let cx = context();
        let receipt = step.prepare(&cx).await.unwrap();
        let parts = (&*step, &cx, &receipt);
        written_in_order(&world, parts, &[(2, Some(500), None)]).await;
        world.sql("UPDATE dst SET v = 'mine' WHERE id = 3").await;
        written_in_order(&world, parts, &[(1, None, Some(500))]).await;
        let report = step.undo(&cx, &receipt).await.unwrap();
        assert_eq!(
            world.query("SELECT id, v FROM dst ORDER BY id").await,
            json!([[3, "mine"], [4, "old"]])
        );
        assert_eq!(report.left.len(), 1, "{:?}", report.left);
        assert!(report.left[0].contains("id=3"), "{:?}", report.left);
    }
}
