//! Verification finds what is wrong: one row of many, in whatever way, in both directions.

use migrate_core::{Receipt, Step, StepContext};
use serde_json::json;

use crate::world::{World, both, context, run};

/// A finished copy whose ranges are to be compared again.
async fn copied(world: &World, rows: i64, there: bool) -> (Box<dyn Step>, StepContext, Receipt) {
    world.pipelines().await;
    world.fill(1, rows).await;
    if there {
        world.sql("INSERT INTO pipelines (id, name, config, status) SELECT id, 'stale', '{}', 'stale' FROM pipelines_old WHERE id % 10 = 0; INSERT INTO pipelines (id, name, config, status) VALUES (-5, 'n', '{}', 'own')").await;
    }
    let step = world.pipelines_step(200);
    let cx = context();
    let (receipt, _) = run(&*step, &cx).await;
    again(world, &receipt).await;
    (step, cx, receipt)
}

async fn again(world: &World, receipt: &Receipt) {
    let name = receipt.0["ledger"].as_str().unwrap();
    let ledger = migrate_schema::own::name(world.db.backend(), name);
    world
        .sql(&format!(
            "UPDATE {ledger} SET state = 'done' WHERE state = 'checked'"
        ))
        .await;
}

#[tokio::test]
async fn one_row_that_is_changed_dropped_doubled_or_swapped_is_found_and_named() {
    for there in [false, true] {
        for world in both().await {
            let (step, cx, receipt) = copied(&world, 2_000, there).await;
            step.run(&cx, &receipt).await.unwrap();
            for (mutation, mend, named) in [
                (
                    "UPDATE pipelines SET status = 'Active' WHERE id = 1777",
                    "UPDATE pipelines SET status = 'active' WHERE id = 1777",
                    vec!["id=1777 of pipelines is different"],
                ),
                (
                    "UPDATE pipelines SET retry_attempts = NULL WHERE id = 1",
                    "UPDATE pipelines SET retry_attempts = 3 WHERE id = 1",
                    vec!["id=1 of pipelines is different"],
                ),
                (
                    "CREATE TABLE aside AS SELECT * FROM pipelines WHERE id = 1999; DELETE FROM pipelines WHERE id = 1999",
                    "INSERT INTO pipelines SELECT * FROM aside; DROP TABLE aside",
                    vec!["id=1999 of pipelines is missing"],
                ),
                (
                    "INSERT INTO pipelines SELECT id + 1000000, name, config, status, retry_attempts, timeout_seconds, created_at, updated_at FROM pipelines WHERE id = 3",
                    "DELETE FROM pipelines WHERE id > 1000000",
                    if there {
                        vec!["rows and should have"]
                    } else {
                        vec!["id=1000003 of pipelines is extra"]
                    },
                ),
                (
                    "UPDATE pipelines SET name = CASE id WHEN 7 THEN 'pipeline 8' ELSE 'pipeline 7' END WHERE id IN (7, 8)",
                    "UPDATE pipelines SET name = 'pipeline ' || id WHERE id IN (7, 8)",
                    vec![
                        "id=7 of pipelines is different",
                        "id=8 of pipelines is different",
                    ],
                ),
                (
                    "UPDATE pipelines SET id = 5000000 WHERE id = 12",
                    "UPDATE pipelines SET id = 12 WHERE id = 5000000",
                    vec!["id=12 of pipelines is missing"],
                ),
            ] {
                world.sql(mutation).await;
                again(&world, &receipt).await;
                let error = step
                    .run(&cx, &receipt)
                    .await
                    .expect_err(mutation)
                    .to_string();
                assert!(
                    error.contains("does not hold what the transform gives"),
                    "{error}"
                );
                for name in named {
                    assert!(error.contains(name), "{mutation}: {error}");
                }
                // Whoever only runs again is told the same.
                step.run(&cx, &receipt).await.expect_err(mutation);
                world.sql(mend).await;
                again(&world, &receipt).await;
                step.run(&cx, &receipt)
                    .await
                    .unwrap_or_else(|error| panic!("{mend}: {error}"));
            }
        }
    }
}

#[tokio::test]
async fn rows_that_two_ranges_give_the_same_key_are_found() {
    for world in both().await {
        world.thousand().await;
        let before = world.fingerprint().await;
        let step = world.step("src", "dst", "SELECT id % 990 AS id, v FROM batch", 100);
        let cx = context();
        let receipt = step.prepare(&cx).await.unwrap();
        let error = step.run(&cx, &receipt).await.unwrap_err().to_string();
        assert!(
            error.contains("of src can't be moved into dst") && error.contains("in dst already"),
            "{error}"
        );
        step.undo(&cx, &receipt).await.unwrap();
        assert_eq!(
            before.differences(&world.fingerprint().await),
            Vec::<String>::new()
        );
    }
}

#[tokio::test]
async fn keys_that_the_transform_shifts_are_right() {
    for world in both().await {
        world.pipelines().await;
        world.fill(1, 1_000).await;
        let script = "SELECT id + 400 AS id, name, config, status FROM batch";
        let step = world.step("pipelines_old", "pipelines", script, 100);
        let (_, figures) = run(&*step, &context()).await;
        assert_eq!(figures, [1_000, 1_000, 0, 0]);
        assert_eq!(
            world.query("SELECT min(id), max(id) FROM pipelines").await,
            json!([401, 1_400])
        );
    }
}
