//! The first command a newcomer runs.

use std::path::Path;

use migrate_tests::binary::{Run, Tool};
use migrate_tests::postgres::TestDatabase;
use migrate_tests::snapshot::{files, files_differing};
use migrate_tests::sqlite;
use tempfile::TempDir;

fn demo(directory: &Path, more: &[&str]) -> Run {
    let mut arguments = vec![
        "demo",
        "--dir",
        directory.to_str().unwrap(),
        "--rows",
        "300",
    ];
    arguments.extend(more);
    Tool::new(&arguments).run()
}

fn on(directory: &Path, arguments: &[&str]) -> Run {
    let mut all = vec!["-C", directory.to_str().unwrap()];
    all.extend(arguments);
    Tool::new(&all).run()
}

fn database_of(directory: &Path) -> std::path::PathBuf {
    let config = std::fs::read_to_string(directory.join("config/config.toml")).unwrap();
    let config: toml_edit::DocumentMut = config.parse().unwrap();
    let url = config["database"]["url"].as_str().unwrap();
    let name = url.strip_prefix("sqlite:").expect("the demo is on SQLite");
    directory.join(name.trim_start_matches("//"))
}

#[test]
fn it_makes_a_deployment_and_takes_it_to_2_0_0() {
    let temp = TempDir::new().unwrap();
    let directory = temp.path().join("new/demo");
    demo(&directory, &[])
        .expect(0)
        .says(&["2.0.0", "--rollback --to 1.5.0"]);
    let database = database_of(&directory);
    assert_eq!(
        sqlite::run(&database, "SELECT count(*) FROM pipelines_old"),
        "300"
    );
    let missing = "SELECT count(*) FROM pipelines_old o LEFT JOIN pipelines p USING (id)
                   WHERE p.name IS NOT o.name OR p.status IS NOT o.status OR p.retry_attempts <> 3";
    assert_eq!(sqlite::run(&database, missing), "0");
    on(&directory, &["status"]).expect(0).says(&["2.0.0"]);
    on(&directory, &["--rollback", "--to", "1.5.0", "--yes"]).expect(0);
    on(&directory, &["status"]).expect(0).says(&["1.5.0"]);
    on(
        &directory,
        &["--from", "1.5.0", "--to", "2.0.0", "--dry-run"],
    )
    .expect(0);
}

#[test]
fn it_refuses_a_directory_that_is_not_its_own() {
    let temp = TempDir::new().unwrap();
    std::fs::write(temp.path().join("precious"), "data").unwrap();
    let before = files(temp.path(), |_| true);
    demo(temp.path(), &[]).expect(1).says(&["empty"]);
    assert_eq!(files_differing(&before, &files(temp.path(), |_| true)), "");
}

#[test]
fn it_takes_a_directory_that_it_made() {
    let temp = TempDir::new().unwrap();
    let directory = temp.path().join("demo");
    demo(&directory, &[]).expect(0);
    demo(&directory, &[]).expect(0);
    on(&directory, &["status"]).expect(0).says(&["2.0.0"]);
}

#[test]
fn it_works_on_an_empty_postgresql_database() {
    let temp = TempDir::new().unwrap();
    let directory = temp.path().join("demo");
    let database = TestDatabase::create();
    demo(&directory, &["--database-url", &database.url()]).expect(0);
    assert_eq!(database.psql("SELECT count(*) FROM pipelines_old"), "300");
    on(&directory, &["--rollback", "--to", "1.5.0", "--yes"]).expect(0);
    let columns = "SELECT count(*) FROM information_schema.columns WHERE table_name = 'pipelines'";
    assert_eq!(database.psql(columns), "4");
}

#[test]
fn it_refuses_a_database_that_is_not_empty() {
    let temp = TempDir::new().unwrap();
    let directory = temp.path().join("demo");
    let database = TestDatabase::create();
    database.psql("CREATE TABLE precious (a integer); INSERT INTO precious VALUES (1)");
    let before = database.dump_sorted();
    demo(&directory, &["--database-url", &database.url()])
        .expect(1)
        .says(&["empty"]);
    assert_eq!(database.dump_sorted(), before);
    assert!(!directory.join("config").exists());
}

#[test]
fn it_ignores_the_url_in_the_environment() {
    let temp = TempDir::new().unwrap();
    let directory = temp.path().join("demo");
    let database = TestDatabase::create();
    let before = database.dump_sorted();
    Tool::new(&["demo", "--dir", directory.to_str().unwrap(), "--rows", "50"])
        .env("DATABASE_URL", database.url())
        .run()
        .expect(0);
    assert_eq!(database.dump_sorted(), before);
    assert!(database_of(&directory).is_file());
}

#[test]
fn help_tells_the_exit_codes() {
    Tool::new(&["--help"])
        .run()
        .expect(0)
        .says(&["129", "143", "resume", "demo", "--dry-run"]);
}
