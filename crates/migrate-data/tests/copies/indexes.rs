//! Secondary indexes of an empty target, which are put aside while a large copy loads it.

use migrate_core::{Step, StepContext};
use serde_json::Value;

use crate::resume::StopAt;
use crate::world::{World, both, context, data};

const ROWS: u64 = 1_000_000;

/// A million rows, a target with indexes of every kind, and the step.
async fn large(world: &World) -> Box<dyn Step> {
    world
        .sql("CREATE TABLE src (id integer PRIMARY KEY, n integer, t text)")
        .await;
    world
        .sql(world.pick(
            "INSERT INTO src SELECT i, i::bigint * 7919 % 1000003, md5(i::text) FROM generate_series(1, 1000000) AS i",
            "INSERT INTO src WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000) SELECT i, i * 7919 % 1000003, hex(i) FROM n",
        ))
        .await;
    world
        .sql(
            "CREATE TABLE dst (id integer PRIMARY KEY, n integer, t text UNIQUE, CHECK (n >= 0)); \
             CREATE INDEX plain ON dst (n); CREATE INDEX \"Part \"\"q\" ON dst (t DESC) WHERE n > 5; \
             CREATE INDEX expression ON dst (lower(t), n); CREATE UNIQUE INDEX single ON dst (t, id)",
        )
        .await;
    if world.is_postgres() {
        world
            .sql(
                // A vacuum that comes along keeps its lock on the table, and the indexes stay.
                "ALTER TABLE dst SET (autovacuum_enabled = off); \
                 CREATE INDEX loose ON dst (n) WITH (fillfactor = 60); CREATE INDEX told ON dst (n, id); COMMENT ON INDEX told IS 'mine'; \
                 CREATE INDEX measured ON dst ((n + 1)); ALTER INDEX measured ALTER COLUMN 1 SET STATISTICS 500; \
                 CREATE INDEX hashed ON dst USING hash (n); CREATE INDEX ordered ON dst (n, t); CLUSTER dst USING ordered",
            )
            .await;
    }
    let script = "SELECT id, n, t FROM batch";
    world
        .build(
            &data("src", "dst", script, 50_000, 2),
            script,
            migrate_data::TransformRegistry::new(),
        )
        .unwrap_or_else(|found| panic!("{found:?}"))
}

/// Everything that the catalog says of the indexes, but their numbers and sizes.
async fn catalog(world: &World) -> Value {
    world
        .query(world.pick(
            "SELECT json_agg(json_build_array(c.relname, pg_get_indexdef(c.oid), c.relowner, c.reltablespace, c.reloptions, i.indisunique, i.indisvalid, \
             i.indisclustered, i.indisreplident, obj_description(c.oid), (SELECT json_agg(a.attstattarget) FROM pg_attribute AS a WHERE a.attrelid = c.oid), \
             (SELECT json_agg(conname) FROM pg_constraint WHERE conindid = c.oid)) ORDER BY c.relname) FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid WHERE i.indrelid = 'dst'::regclass",
            "SELECT group_concat(name || coalesce(sql, ''), ';') FROM (SELECT * FROM sqlite_master WHERE type = 'index' AND tbl_name = 'dst' ORDER BY name)",
        ))
        .await
}

async fn number_of_indexes(world: &World) -> i64 {
    let count = world.pick(
        "SELECT count(*) FROM pg_indexes WHERE tablename = 'dst'",
        "SELECT count(*) FROM sqlite_master WHERE type = 'index' AND tbl_name = 'dst'",
    );
    world.query(count).await.as_i64().unwrap()
}

/// Stops a run in the middle of its rows.
async fn half_done(step: &dyn Step, cx: &StepContext) -> migrate_core::Receipt {
    let receipt = step
        .prepare(cx)
        .await
        .unwrap_or_else(|error| panic!("{error}"));
    let mut stopped = cx.clone();
    stopped.cancel = migrate_core::Cancel::new();
    stopped.reporter = std::sync::Arc::new(StopAt(ROWS / 4, stopped.cancel.clone()));
    step.run(&stopped, &receipt).await.unwrap_err();
    receipt
}

#[tokio::test]
async fn indexes_are_put_aside_and_come_back_the_same_after_a_stop_a_resume_and_an_undo() {
    for world in both().await {
        let step = large(&world).await;
        let (before, all) = (catalog(&world).await, number_of_indexes(&world).await);
        let cx = context();
        let receipt = half_done(&*step, &cx).await;
        assert!(
            number_of_indexes(&world).await < all,
            "some are aside while rows are written"
        );
        step.run(&cx, &receipt)
            .await
            .unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(catalog(&world).await, before, "after a resume");
        assert_eq!(world.query("SELECT count(*) FROM dst").await, ROWS);
        step.undo(&cx, &receipt)
            .await
            .unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(catalog(&world).await, before, "after an undo");

        let cx = context();
        let receipt = half_done(&*step, &cx).await;
        assert!(number_of_indexes(&world).await < all);
        step.undo(&cx, &receipt)
            .await
            .unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(catalog(&world).await, before, "after an undo half-way");
        assert_eq!(world.query("SELECT count(*) FROM dst").await, 0);
    }
}

#[tokio::test]
async fn indexes_stay_where_somebody_is_at_the_table() {
    let world = World::postgres().await;
    let step = large(&world).await;
    let all = number_of_indexes(&world).await;
    let cx = context();
    let receipt = step
        .prepare(&cx)
        .await
        .unwrap_or_else(|error| panic!("{error}"));
    let migrate_schema::db::Database::Postgres(db) = &world.db else {
        unreachable!("it is PostgreSQL");
    };
    let mut reader = db.pool().begin().await.unwrap();
    sqlx::raw_sql("SELECT count(*) FROM public.dst")
        .execute(&mut *reader)
        .await
        .unwrap();
    let mut stopped = cx.clone();
    stopped.cancel = migrate_core::Cancel::new();
    stopped.reporter = std::sync::Arc::new(StopAt(ROWS / 20, stopped.cancel.clone()));
    step.run(&stopped, &receipt).await.unwrap_err();
    assert_eq!(number_of_indexes(&world).await, all);
    drop(reader);
    step.undo(&cx, &receipt)
        .await
        .unwrap_or_else(|error| panic!("{error}"));
}
