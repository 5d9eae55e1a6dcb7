//! Two runs at once: the second is refused and told who the first is.

#![expect(clippy::unwrap_used, reason = "a test ends where it can not go on")]

use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use migrate_core::{Journal, MemoryJournal, MigrationError, RunGuard, RunId};
use migrate_rollback::DeploymentGuard;
use migrate_schema::db::{ConnectOptions, CreateMode, Database, DatabaseUrl};
use migrate_schema::own;
use migrate_tests::postgres::TestDatabase;

fn run(salt: u16) -> RunId {
    RunId::new(Utc::now(), salt)
}

async fn connect(url: &str) -> Database {
    let options = ConnectOptions {
        create: CreateMode::Create,
        ..ConnectOptions::default()
    };
    let url: DatabaseUrl = url.parse().unwrap();
    Database::connect(&url, &options).await.unwrap()
}

async fn sqlite(dir: &std::path::Path) -> Database {
    connect(&format!("sqlite:{}", dir.join("x.db").display())).await
}

fn guard(root: &std::path::Path, database: &Database) -> DeploymentGuard {
    let journal: Arc<dyn Journal> = Arc::new(MemoryJournal::default());
    DeploymentGuard::new(root, database.clone(), journal).with_deadline(Duration::from_millis(250))
}

fn locked(result: Result<(), MigrationError>) -> String {
    match result {
        Err(MigrationError::Locked(holder)) => holder,
        other => panic!("expected a refusal, got {other:?}"),
    }
}

#[tokio::test]
async fn one_deployment_has_one_run() {
    let root = tempfile::tempdir().unwrap();
    let data = tempfile::tempdir().unwrap();
    let database = sqlite(data.path()).await;
    let (first, second) = (guard(root.path(), &database), guard(root.path(), &database));
    assert_eq!(DeploymentGuard::holder(root.path()), None);
    let (mine, other) = (run(1), run(2));
    first.acquire(&mine).await.unwrap();
    let holder = locked(second.acquire(&other).await);
    for part in [
        mine.as_str(),
        &format!("process {}", std::process::id()),
        "since 20",
    ] {
        assert!(holder.contains(part), "{part:?} is not in {holder:?}");
    }
    assert_eq!(
        DeploymentGuard::holder(root.path()).unwrap().0.run,
        mine.as_str()
    );
    first.release().await;
    second.acquire(&other).await.unwrap();
    drop(second);
    assert_eq!(DeploymentGuard::holder(root.path()), None);
    first.acquire(&mine).await.unwrap();
}

#[tokio::test]
async fn a_waiting_run_gets_the_lock_when_the_first_ends() {
    let root = tempfile::tempdir().unwrap();
    let data = tempfile::tempdir().unwrap();
    let database = sqlite(data.path()).await;
    let first = guard(root.path(), &database);
    first.acquire(&run(1)).await.unwrap();
    let second = guard(root.path(), &database).with_deadline(Duration::from_secs(20));
    let other = run(2);
    let (got, ()) = tokio::join!(second.acquire(&other), async {
        tokio::task::yield_now().await;
        first.release().await;
    });
    got.unwrap();
}

#[tokio::test]
async fn two_deployments_that_share_a_sqlite_file_are_kept_apart() {
    let roots = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let data = tempfile::tempdir().unwrap();
    let database = sqlite(data.path()).await;
    std::os::unix::fs::symlink(data.path().join("x.db"), roots[1].path().join("link.db")).unwrap();
    let linked = connect(&format!(
        "sqlite:{}",
        roots[1].path().join("link.db").display()
    ))
    .await;
    let first = guard(roots[0].path(), &database);
    let second = guard(roots[1].path(), &linked);
    first.acquire(&run(1)).await.unwrap();
    let holder = locked(second.acquire(&run(2)).await);
    assert!(
        holder.contains(&format!("process {}", std::process::id())),
        "{holder}"
    );
    assert_eq!(
        DeploymentGuard::holder(roots[1].path()),
        None,
        "a refusal keeps nothing"
    );
    first.release().await;
    second.acquire(&run(2)).await.unwrap();
}

#[tokio::test]
async fn two_deployments_that_share_a_postgres_database_are_kept_apart() {
    let roots = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let server = TestDatabase::create();
    let database = connect(&server.url()).await;
    let first = guard(roots[0].path(), &database);
    let second = guard(roots[1].path(), &connect(&server.url()).await);
    let mine = run(1);
    first.acquire(&mine).await.unwrap();
    let holder = locked(second.acquire(&run(2)).await);
    assert!(
        holder.contains(mine.as_str()) && holder.contains("role etlrs"),
        "{holder}"
    );
    let open = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                AND application_name LIKE 'etlrs-migrate run%' AND state <> 'idle'";
    assert_eq!(
        server.admin_psql(open),
        "0",
        "the lock's session has no open transaction"
    );
    drop(first);
    second
        .with_deadline(Duration::from_secs(20))
        .acquire(&run(2))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_killed_process_has_let_go() {
    let root = tempfile::tempdir().unwrap();
    let data = tempfile::tempdir().unwrap();
    let database = sqlite(data.path()).await;
    let state = root.path().join(".etlrs-migrate");
    std::fs::create_dir(&state).unwrap();
    // Another process with the same locks: flock(1) makes the same system call.
    let lock = state.join("lock");
    let text =
        r#"{"host":"elsewhere","pid":99,"user":"ann","since":"2026-01-01T00:00:00Z","run":"r1"}"#;
    std::fs::write(&lock, text).unwrap();
    let mut other = std::process::Command::new("flock")
        .args(["--no-fork", "--exclusive"])
        .arg(&lock)
        .args(["sh", "-c", "echo held; exec sleep 600"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = [0; 5];
    std::io::Read::read_exact(other.stdout.as_mut().unwrap(), &mut said).unwrap();
    let guard = guard(root.path(), &database);
    let holder = locked(guard.acquire(&run(2)).await);
    assert!(
        holder.contains("run r1 of ann@elsewhere, process 99"),
        "{holder}"
    );
    other.kill().unwrap();
    other.wait().unwrap();
    guard.acquire(&run(2)).await.unwrap();
}

#[tokio::test]
async fn our_objects_go_when_no_other_run_needs_them() {
    let server = TestDatabase::create();
    let data = tempfile::tempdir().unwrap();
    for database in [sqlite(data.path()).await, connect(&server.url()).await] {
        let root = tempfile::tempdir().unwrap();
        let guard = guard(root.path(), &database);
        let mine = run(1);
        assert!(guard.disarm().await.is_err(), "only the holder may");
        guard.acquire(&mine).await.unwrap();
        guard.arm(&mine).await.unwrap();
        assert_eq!(database.fence().unwrap().run, mine.as_str());
        let markers = own::name(database.backend(), "markers");
        let add = |run: &str| {
            format!("INSERT INTO {markers} (run, step, payload) VALUES ('{run}', 's', '')")
        };
        database.execute(&add(mine.as_str())).await.unwrap();
        database.execute(&add("another")).await.unwrap();
        guard.disarm().await.unwrap();
        assert_eq!(database.fence(), None);
        assert!(
            own::exists(&database).await.unwrap(),
            "another run's marker is there"
        );
        let left = database
            .query_json(&format!("SELECT run FROM {markers}"))
            .await
            .unwrap();
        assert_eq!(left, serde_json::json!("another"));
        database
            .execute(&format!("DELETE FROM {markers}"))
            .await
            .unwrap();
        guard.disarm().await.unwrap();
        assert!(!own::exists(&database).await.unwrap());
        guard.disarm().await.unwrap();
    }
}
