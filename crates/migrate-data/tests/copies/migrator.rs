//! Copies without a plan.

use migrate_data::{Cell, DataMigrator, RowTransform, SourceRow, TransformRegistry};
use serde_json::json;

use crate::world::both;

struct Shout;

impl RowTransform for Shout {
    fn columns(&self) -> &[&str] {
        &["id", "name"]
    }

    fn transform(&self, row: &SourceRow<'_>) -> Result<Vec<Cell>, String> {
        match row.get("name")? {
            Cell::Text(name) if name == "bad" => Err("it is bad".to_owned()),
            Cell::Text(name) => Ok(vec![
                row.get("id")?.clone(),
                Cell::Text(name.to_uppercase()),
            ]),
            other => Ok(vec![row.get("id")?.clone(), other.clone()]),
        }
    }
}

#[tokio::test]
async fn the_guides_copy_runs_alone_and_leaves_nothing_behind() {
    for world in both().await {
        world.pipelines().await;
        world.fill(1, 500).await;
        let counts = DataMigrator::new(world.db.clone(), 64, 3)
            .migrate_pipeline_data()
            .await
            .unwrap();
        assert_eq!((counts.read, counts.inserted), (500, 500));
        assert!(!migrate_schema::own::exists(&world.db).await.unwrap());
    }
}

#[tokio::test]
async fn a_copy_that_fails_is_taken_back() {
    for world in both().await {
        world.sql("CREATE TABLE a (id integer PRIMARY KEY, name text); CREATE TABLE b (id integer PRIMARY KEY, name text)").await;
        world.sql("INSERT INTO a VALUES (1, 'x'), (2, NULL), (3, 'straße'), (4, 'bad'), (5, 'y'); INSERT INTO b VALUES (3, 'old')").await;
        let before = world.fingerprint().await;
        let migrator = DataMigrator::builder(world.db.clone())
            .batch_size(1)
            .max_parallel(2)
            .transforms(TransformRegistry::new().with("shout", Shout))
            .build();
        let error = migrator.migrate("a", "b", "rust:shout").await.unwrap_err();
        assert_eq!(error.message, "the row id=4 of a can't be moved into b");
        assert_eq!(error.causes[0], "it is bad");
        assert_eq!(
            before.differences(&world.fingerprint().await),
            Vec::<String>::new()
        );
        assert!(!migrate_schema::own::exists(&world.db).await.unwrap());
        world.sql("UPDATE a SET name = 'good' WHERE id = 4").await;
        migrator.migrate("a", "b", "rust:shout").await.unwrap();
        let rows = world.query("SELECT * FROM b ORDER BY id").await;
        assert_eq!(
            rows,
            json!([[1, "X"], [2, null], [3, "STRASSE"], [4, "GOOD"], [5, "Y"]])
        );
    }
}

#[tokio::test]
async fn wrong_requests_are_told_and_change_nothing() {
    for world in both().await {
        world
            .sql("CREATE TABLE a (id integer PRIMARY KEY); CREATE TABLE b (id integer PRIMARY KEY)")
            .await;
        let migrator = DataMigrator::builder(world.db.clone())
            .max_parallel(65)
            .build();
        let error = migrator
            .migrate("a", "", "x.sql")
            .await
            .unwrap_err()
            .to_string();
        for part in [
            "parallel_workers is 65",
            "target_table is empty",
            "there is no script x.sql",
        ] {
            assert!(error.contains(part), "{error}");
        }
        let migrator = DataMigrator::new(world.db.clone(), 10, 1);
        let error = migrator
            .migrate("nowhere", "b", "SELECT id FROM batch")
            .await
            .unwrap_err();
        assert_eq!(error.message, "there is no table nowhere");
        assert!(!migrate_schema::own::exists(&world.db).await.unwrap());
    }
}
