//! Runs that end early, go on, or are taken back half-way.

use std::sync::Arc;

use migrate_core::{CancelCause, Event, Probe, Reporter, StepContext, StepErrorKind};
use serde_json::json;

use crate::world::{Watch, World, both, context, figures, run};

/// Asks for the end at the first news of progress beyond some rows.
pub(crate) struct StopAt(pub(crate) u64, pub(crate) migrate_core::Cancel);

impl Reporter for StopAt {
    fn event(&self, event: &Event) {
        if let Event::StepProgress { done, .. } = event
            && *done >= self.0
        {
            self.1.cancel(CancelCause::Signal(15));
        }
    }
}

/// Leaves a run half done: the row with the highest id can't be moved.
async fn half_done(
    world: &World,
    cx: &StepContext,
) -> (Box<dyn migrate_core::Step>, migrate_core::Receipt) {
    world.pipelines().await;
    world.fill(1, 1000).await;
    world.sql("INSERT INTO pipelines (id, name, config, status) SELECT id, 'stale', '{}', 'stale' FROM pipelines_old WHERE id % 10 = 0").await;
    world
        .sql("INSERT INTO pipelines_old VALUES (5000, 'n', 'broken', 's', NULL)")
        .await;
    let step = world.pipelines_step(50);
    let receipt = step.prepare(cx).await.unwrap();
    assert_eq!(step.probe(cx, &receipt).await.unwrap(), Probe::NotApplied);
    let error = step.run(cx, &receipt).await.unwrap_err();
    assert_eq!(error.kind, StepErrorKind::Failed);
    assert!(error.message.contains("id=5000"), "{error}");
    assert_eq!(step.probe(cx, &receipt).await.unwrap(), Probe::Partial);
    (step, receipt)
}

async fn ledger(world: &World, receipt: &migrate_core::Receipt) -> String {
    let name = receipt.0["ledger"].as_str().unwrap();
    let table = migrate_schema::own::name(world.db.backend(), name);
    assert!(
        world
            .query(&format!("SELECT count(*) FROM {table}"))
            .await
            .as_i64()
            .unwrap()
            > 0
    );
    table
}

#[tokio::test]
async fn a_half_done_run_goes_on_where_it_was() {
    for world in both().await {
        let cx = context();
        let (step, receipt) = half_done(&world, &cx).await;
        let table = ledger(&world, &receipt).await;
        // A range in the middle and the first one are open, as after parallel work that was cut off.
        let rest = world
            .query(&format!(
                "SELECT count(*), sum(rows_read) FROM {table} WHERE range NOT IN (1, 7) AND state = 'done'"
            ))
            .await;
        assert!(rest[0].as_i64().unwrap() > 2, "{rest}");
        for number in [1, 7] {
            let bound = |column: &str| {
                format!("SELECT coalesce({column}, '[0]') FROM {table} WHERE range = {number}")
            };
            let [after, upto] = [
                world.query(&bound("after_key")).await,
                world.query(&bound("upto_key")).await,
            ]
            .map(|key| key.as_str().unwrap().trim_matches(['[', ']']).to_owned());
            world
                .sql(&format!(
                    "DELETE FROM pipelines WHERE id > {after} AND id <= {upto} AND id % 10 <> 0"
                ))
                .await;
        }
        let before = receipt.0["before"].as_str().unwrap();
        let images = migrate_schema::own::name(world.db.backend(), before);
        let writers = world.pick(", writers = '{}'", "");
        world
            .sql(&format!(
                "UPDATE {table} SET state = 'todo', position = NULL, rows_read = 0, inserted = 0, updated = 0, \
                 unchanged = 0, batches = 0, sum0 = NULL, sum1 = NULL{writers} WHERE range IN (1, 7);
                 DELETE FROM {images} WHERE _etlrs_range IN (1, 7);
                 UPDATE {table} SET batches = 77 WHERE state = 'done'"
            ))
            .await;
        world
            .sql("UPDATE pipelines_old SET config = '{}' WHERE id = 5000")
            .await;
        let outcome = step.run(&cx, &receipt).await.unwrap();
        assert_eq!(figures(&outcome)[0], 1001);
        let untouched = world
            .query(&format!(
                "SELECT count(*), sum(rows_read) FROM {table} WHERE batches = 77"
            ))
            .await;
        assert_eq!(untouched, rest, "only the gaps were done again");
        assert!(matches!(
            step.probe(&cx, &receipt).await.unwrap(),
            Probe::Applied(_)
        ));
        // Once more changes nothing.
        let at_end = world.fingerprint().await;
        let again = step.run(&cx, &receipt).await.unwrap();
        assert_eq!(figures(&again), figures(&outcome));
        assert_eq!(
            at_end.differences(&world.fingerprint().await),
            Vec::<String>::new()
        );
    }
}

#[tokio::test]
async fn undo_of_a_half_done_run_brings_everything_back() {
    for world in both().await {
        let cx = context();
        // The fingerprint of the same data, before.
        let (step, receipt) = half_done(&world, &cx).await;
        let report = step.undo(&cx, &receipt).await.unwrap();
        assert_eq!(report.left, Vec::<String>::new());
        let rows = world
            .query("SELECT count(*), min(name), max(status) FROM pipelines")
            .await;
        assert_eq!(rows, json!([100, "stale", "stale"]));
        assert_eq!(step.probe(&cx, &receipt).await.unwrap(), Probe::NotApplied);
        let again = step.undo(&cx, &receipt).await.unwrap();
        assert_eq!(again.message, "nothing had been copied");
        // And the whole thing can run afterwards with the same receipt.
        world.sql("DELETE FROM pipelines_old WHERE id = 5000").await;
        let outcome = step.run(&cx, &receipt).await.unwrap();
        assert_eq!(figures(&outcome), [1000, 900, 100, 0]);
        step.forget(&cx, &receipt).await.unwrap();
        step.forget(&cx, &receipt).await.unwrap();
        assert_eq!(step.probe(&cx, &receipt).await.unwrap(), Probe::NotApplied);
    }
}

#[tokio::test]
async fn a_run_that_is_cancelled_ends_and_goes_on_later() {
    for world in both().await {
        world.pipelines().await;
        world.fill(1, 4_000).await;
        let before = world.fingerprint().await;
        for at in [0, 1] {
            let cancel = migrate_core::Cancel::new();
            let cx = StepContext {
                cancel: cancel.clone(),
                reporter: Arc::new(StopAt(at, cancel)),
                ..context()
            };
            let step = world.pipelines_step(20);
            let receipt = step.prepare(&cx).await.unwrap();
            let error = step.run(&cx, &receipt).await.unwrap_err();
            assert_eq!(error.kind, StepErrorKind::Interrupted, "{error}");
            let cx = StepContext {
                cancel: migrate_core::Cancel::new(),
                reporter: Arc::new(migrate_core::event::Silent),
                ..cx
            };
            if at == 0 {
                step.undo(&cx, &receipt).await.unwrap();
                assert_eq!(
                    before.differences(&world.fingerprint().await),
                    Vec::<String>::new()
                );
            } else {
                let outcome = step.run(&cx, &receipt).await.unwrap();
                assert_eq!(figures(&outcome), [4_000, 4_000, 0, 0]);
            }
        }
    }
}

#[tokio::test]
async fn running_twice_is_running_once() {
    for world in both().await {
        world.pipelines().await;
        world.fill(-200, 1000).await;
        let first = run(&*world.pipelines_step(99), &context()).await.1;
        assert_eq!(first, [1000, 1000, 0, 0]);
        let after = world.fingerprint().await;
        let watch = Watch::new();
        let cx = StepContext {
            reporter: watch.clone(),
            ..context()
        };
        let second = run(&*world.pipelines_step(30), &cx).await.1;
        assert_eq!(
            second,
            [1000, 0, 0, 1000],
            "no row that is right is written"
        );
        assert_eq!(
            after.differences(&world.fingerprint().await),
            Vec::<String>::new()
        );
        let progress = watch.progress.lock().unwrap().clone();
        assert_eq!(progress.first(), Some(&(0, Some(1000))));
        assert_eq!(progress.last(), Some(&(1000, Some(1000))));
    }
}
