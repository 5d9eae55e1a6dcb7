//! Triggers, rows that others changed, and transforms that do not repeat.

use serde_json::json;

use crate::world::{World, both, context, run};

async fn with_trigger(world: &World) {
    world.pipelines().await;
    world
        .sql(world.pick(
            "CREATE FUNCTION touch() RETURNS trigger AS $$ BEGIN NEW.updated_at = CURRENT_TIMESTAMP; RETURN NEW; END; $$ LANGUAGE plpgsql;
             CREATE TRIGGER touch BEFORE UPDATE ON pipelines FOR EACH ROW EXECUTE FUNCTION touch();
             CREATE TRIGGER asleep BEFORE UPDATE ON pipelines FOR EACH ROW EXECUTE FUNCTION touch();
             ALTER TABLE pipelines DISABLE TRIGGER asleep;
             CREATE TRIGGER always BEFORE UPDATE ON pipelines FOR EACH ROW EXECUTE FUNCTION touch();
             ALTER TABLE pipelines ENABLE ALWAYS TRIGGER always;",
            "CREATE TRIGGER touch AFTER UPDATE OF name, config, status ON pipelines FOR EACH ROW
             BEGIN UPDATE pipelines SET updated_at = CURRENT_TIMESTAMP WHERE id = NEW.id; END;
             CREATE TRIGGER \"odd; name\" BEFORE DELETE ON pipelines BEGIN SELECT 'x;y'; END;",
        ))
        .await;
    world.fill(1, 60).await;
    world.sql("INSERT INTO pipelines (id, name, config, status, updated_at) SELECT id, 'stale', '{}', 'stale', '2001-02-03 04:05:06' FROM pipelines_old WHERE id <= 20").await;
}

#[tokio::test]
async fn undo_brings_images_back_exactly_in_spite_of_triggers() {
    for world in both().await {
        with_trigger(&world).await;
        let before = world.fingerprint().await;
        let step = world.pipelines_step(7);
        let cx = context();
        let (receipt, figures) = run(&*step, &cx).await;
        assert_eq!(figures, [60, 40, 20, 0]);
        // New rows keep the moment they were made at; updated ones get the present one.
        let new = world
            .query("SELECT count(*) FROM pipelines WHERE id > 20 AND updated_at = created_at")
            .await;
        assert_eq!(new, json!(40));
        let touched = world
            .query("SELECT count(*) FROM pipelines WHERE id <= 20 AND updated_at > '2020-01-01'")
            .await;
        assert_eq!(touched, json!(20));
        let report = step.undo(&cx, &receipt).await.unwrap();
        assert_eq!(
            report.message,
            "40 rows deleted from pipelines, 20 restored"
        );
        assert_eq!(
            before.differences(&world.fingerprint().await),
            Vec::<String>::new()
        );
    }
}

#[tokio::test]
async fn rows_that_others_changed_are_left_and_counted() {
    for world in both().await {
        with_trigger(&world).await;
        let step = world.pipelines_step(7);
        let cx = context();
        let (receipt, _) = run(&*step, &cx).await;
        world.sql("UPDATE pipelines SET status = 'mine' WHERE id IN (3, 33); DELETE FROM pipelines WHERE id IN (4, 44); INSERT INTO pipelines (id, name, config, status) VALUES (999, 'n', '{}', 'own')").await;
        let report = step.undo(&cx, &receipt).await.unwrap();
        assert_eq!(report.left.len(), 1, "{:?}", report.left);
        assert!(
            report.left[0]
                .starts_with("3 rows of pipelines were changed by others since and are left: "),
            "{:?}",
            report.left
        );
        for key in ["id=3", "id=33", "id=4"] {
            assert!(report.left[0].contains(key), "{:?}", report.left);
        }
        let rows = world
            .query("SELECT id, status FROM pipelines WHERE status <> 'stale' ORDER BY id")
            .await;
        assert_eq!(rows, json!([[3, "mine"], [33, "mine"], [999, "own"]]));
        assert_eq!(
            world
                .query("SELECT count(*) FROM pipelines WHERE status = 'stale'")
                .await,
            json!(18)
        );
    }
}

#[tokio::test]
async fn what_a_clock_or_dice_wrote_is_taken_back_too() {
    for world in both().await {
        world.sql("CREATE TABLE src (id integer PRIMARY KEY, v text); CREATE TABLE dst (id integer PRIMARY KEY, v text, r text, at text)").await;
        world.sql("INSERT INTO src VALUES (1, 'a'), (2, 'b'), (3, 'c'), (4, 'd'); INSERT INTO dst VALUES (2, 'old', 'r', 't')").await;
        let before = world.fingerprint().await;
        let script = "SELECT id, v, CAST(random() AS text) AS r, CAST(CURRENT_TIMESTAMP AS text) AS at FROM batch";
        let step = world.step("src", "dst", script, 3);
        let cx = context();
        let (receipt, figures) = run(&*step, &cx).await;
        assert_eq!(figures, [4, 3, 1, 0]);
        world.sql("UPDATE dst SET v = 'mine' WHERE id = 3").await;
        // Undo needs the source no more.
        world.sql("DROP TABLE src").await;
        let report = step.undo(&cx, &receipt).await.unwrap();
        assert_eq!(report.left.len(), 1);
        assert!(report.left[0].contains("id=3"), "{:?}", report.left);
        world.sql("DELETE FROM dst WHERE id = 3; CREATE TABLE src (id integer PRIMARY KEY, v text); INSERT INTO src VALUES (1, 'a'), (2, 'b'), (3, 'c'), (4, 'd')").await;
        assert_eq!(
            before.differences(&world.fingerprint().await),
            Vec::<String>::new()
        );
    }
}

#[tokio::test]
async fn an_undo_that_would_break_rows_of_others_says_whose() {
    for world in both().await {
        world.pipelines().await;
        world.sql("CREATE TABLE metrics (id integer PRIMARY KEY, pipeline_id integer REFERENCES pipelines(id))").await;
        world.fill(1, 30).await;
        let step = world.pipelines_step(10);
        let cx = context();
        let (receipt, _) = run(&*step, &cx).await;
        world.sql("INSERT INTO metrics VALUES (1, 25)").await;
        let error = step.undo(&cx, &receipt).await.unwrap_err();
        assert!(error.to_string().contains("metrics"), "{error}");
        assert_eq!(
            world.query("SELECT count(*) FROM pipelines").await,
            json!(30),
            "nothing of the range was taken back"
        );
        world.sql("DELETE FROM metrics").await;
        step.undo(&cx, &receipt).await.unwrap();
        assert_eq!(
            world.query("SELECT count(*) FROM pipelines").await,
            json!(0)
        );
    }
}

#[tokio::test]
async fn a_source_that_is_gone_or_smaller_is_told() {
    for world in both().await {
        world.pipelines().await;
        world.fill(1, 30).await;
        let step = world.pipelines_step(10);
        let cx = context();
        let (receipt, _) = run(&*step, &cx).await;
        world
            .sql("ALTER TABLE pipelines_old RENAME TO elsewhere")
            .await;
        let error = step.undo(&cx, &receipt).await.unwrap_err();
        assert!(error.message.contains("pipelines_old is gone"), "{error}");
        world.sql("ALTER TABLE elsewhere RENAME TO pipelines_old; DELETE FROM pipelines_old WHERE id = 12").await;
        let report = step.undo(&cx, &receipt).await.unwrap();
        assert_eq!(
            report.left,
            [
                "1 rows are gone from pipelines_old; what had been copied from them is left in pipelines"
            ]
        );
        assert_eq!(world.query("SELECT id FROM pipelines").await, json!(12));
    }
}

#[tokio::test]
async fn keys_that_exist_can_be_refused() {
    for world in both().await {
        world.pipelines().await;
        world.fill(1, 30).await;
        world
            .sql("INSERT INTO pipelines (id, name, config, status) VALUES (17, 'n', '{}', 's')")
            .await;
        let script = "-- on-conflict: fail\nSELECT id, name, config, status FROM batch";
        let step = world.step("pipelines_old", "pipelines", script, 10);
        let cx = context();
        let receipt = step.prepare(&cx).await.unwrap();
        let error = step.run(&cx, &receipt).await.unwrap_err();
        assert!(
            error.message.contains("the row id=17 of pipelines_old"),
            "{error}"
        );
        step.undo(&cx, &receipt).await.unwrap();
        assert_eq!(
            world.query("SELECT count(*) FROM pipelines").await,
            json!(1)
        );
    }
}

#[tokio::test]
async fn a_script_that_loses_or_doubles_rows_is_refused() {
    for world in both().await {
        world.pipelines().await;
        world.fill(1, 30).await;
        world.sql("INSERT INTO pipelines (id, name, config, status) VALUES (0, 'n', '{}', 's'), (5, 'n', '{}', 's')").await;
        let before = world.fingerprint().await;
        for (script, found) in [
            (
                "SELECT id, name, config, status FROM batch WHERE id <> 13",
                "the row id=13 of",
            ),
            (
                "SELECT id / 2 AS id, name, config, status FROM batch WHERE id > 0",
                "together",
            ),
        ] {
            let step = world.step("pipelines_old", "pipelines", script, 30);
            let cx = context();
            let receipt = step.prepare(&cx).await.unwrap();
            let error = step.run(&cx, &receipt).await.unwrap_err();
            assert!(error.message.contains(found), "{error}");
            step.undo(&cx, &receipt).await.unwrap();
            assert_eq!(
                before.differences(&world.fingerprint().await),
                Vec::<String>::new()
            );
        }
    }
}
