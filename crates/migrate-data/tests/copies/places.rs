//! Sources without a key, sparse ones, and large ones, whose ranges are not walked but cut.

use serde_json::json;

use crate::world::{World, both, context, run};

fn ledger_of(world: &World, receipt: &migrate_core::Receipt) -> String {
    let name = receipt.0["ledger"].as_str().unwrap();
    migrate_schema::own::name(world.db.backend(), name)
}

#[tokio::test]
async fn rows_without_a_key_are_followed_by_their_places() {
    for world in both().await {
        let series = world.pick(
            "generate_series(1, 3000) AS i",
            "(WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000) SELECT i FROM n)",
        );
        world.sql("CREATE TABLE src (id integer, v text); CREATE TABLE dst (id integer PRIMARY KEY, v text)").await;
        world
            .sql(&format!(
                "INSERT INTO src SELECT i * 7 % 3001, 'v' || i FROM {series}; DELETE FROM src WHERE id % 5 = 0"
            ))
            .await;
        let before = world.fingerprint().await;
        let step = world.step("src", "dst", "SELECT id, v FROM batch", 100);
        let cx = context();
        let (receipt, figures) = run(&*step, &cx).await;
        assert_eq!(figures, [2400, 2400, 0, 0]);
        let differing =
            "SELECT count(*) FROM (SELECT id, v FROM src EXCEPT SELECT id, v FROM dst) AS x";
        assert_eq!(world.query(differing).await, json!(0));
        let ledger = ledger_of(&world, &receipt);
        let states = world
            .query(&format!(
                "SELECT count(*) FROM {ledger} WHERE state <> 'checked'"
            ))
            .await;
        assert_eq!(states, json!(0), "every range was compared");
        step.undo(&cx, &receipt).await.unwrap();
        assert_eq!(
            before.differences(&world.fingerprint().await),
            Vec::<String>::new()
        );
    }
}

#[tokio::test]
async fn large_sources_are_cut_into_similar_ranges_whatever_their_gaps() {
    for world in both().await {
        let series = world.pick(
            "generate_series(1, 130000) AS i",
            "(WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 130000) SELECT i FROM n)",
        );
        // A hole of two thousand million keys in the middle.
        world.sql("CREATE TABLE src (a integer NOT NULL, b integer NOT NULL, PRIMARY KEY (a, b)); CREATE TABLE dst (a integer NOT NULL, b integer NOT NULL, PRIMARY KEY (a, b))").await;
        world
            .sql(&format!(
                "INSERT INTO src SELECT CASE WHEN i < 65000 THEN i / 100 ELSE 2000000000 + i / 100 END, i FROM {series}"
            ))
            .await;
        let step = world.step("src", "dst", "SELECT a, b FROM batch", 1000);
        let (receipt, figures) = run(&*step, &context()).await;
        assert_eq!(figures, [130_000, 130_000, 0, 0]);
        let ledger = ledger_of(&world, &receipt);
        let shape = world
            .query(&format!(
                "SELECT count(*), max(rows_read), sum(rows_read), max(batches) FROM {ledger}"
            ))
            .await;
        let [ranges, most, all, batches] = [0, 1, 2, 3].map(|at| shape[at].as_i64().unwrap());
        assert_eq!(all, 130_000);
        assert!(ranges >= 16, "{shape}");
        assert!(
            most < 3 * 130_000 / ranges,
            "ranges of similar work: {shape}"
        );
        assert!(batches > 1, "{shape}");
    }
}

#[tokio::test]
async fn partitioned_tables_are_copied_into_partitioned_tables() {
    let world = World::postgres().await;
    for table in ["src", "dst"] {
        world
            .sql(&format!(
                "CREATE TABLE {table} (id integer NOT NULL, at date NOT NULL, v text, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
                 CREATE TABLE {table}_1 PARTITION OF {table} FOR VALUES FROM ('2024-01-01') TO ('2024-07-01');
                 CREATE TABLE {table}_2 PARTITION OF {table} FOR VALUES FROM ('2024-07-01') TO ('2025-01-01')"
            ))
            .await;
    }
    world.sql("INSERT INTO src SELECT i, date '2024-01-01' + i % 365, 'v' || i FROM generate_series(1, 5000) AS i; INSERT INTO dst SELECT id, at, 'old' FROM src WHERE id % 10 = 0").await;
    let before = world.fingerprint().await;
    let step = world.step("src", "dst", "SELECT * FROM batch", 300);
    let cx = context();
    let (receipt, figures) = run(&*step, &cx).await;
    assert_eq!(figures, [5000, 4500, 500, 0]);
    let differing = "SELECT count(*) FROM (SELECT * FROM src EXCEPT SELECT * FROM dst) AS x";
    assert_eq!(world.query(differing).await, json!(0));
    step.undo(&cx, &receipt).await.unwrap();
    assert_eq!(
        before.differences(&world.fingerprint().await),
        Vec::<String>::new()
    );
}
