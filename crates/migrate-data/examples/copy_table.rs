//! Copies a table inside a program of one's own: a pool of its own, no plan, no command line.
//!
//! `cargo run -p migrate-data --example copy_table`

use migrate_data::{Cell, DataMigrator, RowTransform, SourceRow, TransformRegistry};
use migrate_schema::db::Database;
use sqlx::SqlitePool;
use sqlx::sqlite::SqliteConnectOptions;

/// Keeps the domain of an address and hides the rest.
struct Hide;

impl RowTransform for Hide {
    fn columns(&self) -> &[&str] {
        &["id", "address"]
    }

    fn transform(&self, row: &SourceRow<'_>) -> Result<Vec<Cell>, String> {
        let Cell::Text(address) = row.get("address")? else {
            return Err("address is not text".to_owned());
        };
        let (_, domain) = address.split_once('@').ok_or("address has no @")?;
        Ok(vec![
            row.get("id")?.clone(),
            Cell::Text(format!("...@{domain}")),
        ])
    }
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "an example shows what it did")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = tempfile::tempdir()?;
    let options = SqliteConnectOptions::new()
        .filename(directory.path().join("example.db"))
        .create_if_missing(true);
    let pool = SqlitePool::connect_with(options).await?;
    sqlx::raw_sql(
        "CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT, address TEXT);
         CREATE TABLE names (id INTEGER PRIMARY KEY, name TEXT NOT NULL);
         CREATE TABLE domains (id INTEGER PRIMARY KEY, address TEXT NOT NULL);
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000)
         INSERT INTO people SELECT i, 'person ' || i, 'p' || i || '@example.org' FROM n;",
    )
    .execute(&pool)
    .await?;

    let migrator = DataMigrator::builder(Database::from_sqlite_pool(pool.clone()))
        .batch_size(500)
        .max_parallel(2)
        .transforms(TransformRegistry::new().with("hide", Hide))
        .build();
    let names = migrator
        .migrate(
            "people",
            "names",
            "SELECT id, upper(name) AS name FROM batch",
        )
        .await?;
    println!("names: {} read, {} inserted", names.read, names.inserted);
    let domains = migrator.migrate("people", "domains", "rust:hide").await?;
    println!(
        "domains: {} read, {} inserted",
        domains.read, domains.inserted
    );
    let again = migrator.migrate("people", "domains", "rust:hide").await?;
    println!("again: {} read, {} unchanged", again.read, again.unchanged);

    // A row that does not fit is named, and nothing stays of the copy that met it.
    sqlx::query("UPDATE people SET address = 'nowhere' WHERE id = 7777")
        .execute(&pool)
        .await?;
    if let Err(error) = migrator.migrate("people", "domains", "rust:hide").await {
        println!("refused: {error}");
    }
    Ok(())
}
