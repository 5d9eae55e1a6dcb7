//! What a service does when it starts: brings its schema up to date, with any number of
//! replicas at once.
//!
//! `cargo run -p migrate-schema --example apply_at_start -- DATABASE_URL DIRECTORY`

use std::path::Path;

use migrate_schema::apply::{Options, SchemaEngine, Target};
use migrate_schema::db::{ConnectOptions, Database};
use migrate_schema::layout::{Choice, MigrationSet};

#[tokio::main]
#[expect(clippy::print_stdout, reason = "an example shows what it did")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(url), Some(directory)) = (arguments.next(), arguments.next()) else {
        return Err("usage: apply_at_start DATABASE_URL DIRECTORY".into());
    };
    let db = Database::connect(&url.parse()?, &ConnectOptions::default()).await?;
    let choice = Choice::Auto { history: None };
    let set =
        MigrationSet::read(Path::new(&directory), choice, db.backend()).map_err(|findings| {
            let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
            lines.join("\n")
        })?;
    let done = SchemaEngine::new(db, Options::default())
        .apply(&set, &Target::Latest)
        .await?;
    println!("{}", done.migrations.join(", "));
    Ok(())
}
