//! A rollback point brings everything back, on both databases, or changes nothing.

#![expect(clippy::unwrap_used, reason = "a test ends where it can not go on")]

mod hostile;

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use chrono::Utc;
use migrate_core::{
    Cancel, CancelCause, OnDifference, OtherWriters, RestoreOrder, RollbackPoints, RunId,
    ScopeObject, StepErrorKind, Version,
};
use migrate_rollback::signing::points::Signatures;
use migrate_rollback::{RollbackManager, TargetDatabase};
use migrate_schema::db::{ConnectOptions, CreateMode, Database, DatabaseUrl};
use migrate_schema::own;
use migrate_tests::postgres::TestDatabase;

const CONFIG: &[u8] = b"batch_size = 1\r\n# caf\xc3\xa9\n";

fn version() -> Version {
    "1.5.0".parse().unwrap()
}

async fn connect(url: &str) -> Database {
    let url: DatabaseUrl = url.parse().unwrap();
    let options = ConnectOptions {
        create: CreateMode::Create,
        ..ConnectOptions::default()
    };
    Database::connect(&url, &options).await.unwrap()
}

struct Deployment {
    dir: tempfile::TempDir,
    server: Option<TestDatabase<'static>>,
    database: Database,
}

impl Deployment {
    async fn sqlite() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", dir.path().join("x.db").display());
        Self::with(dir, None, connect(&url).await)
    }

    async fn postgres() -> Self {
        let server = TestDatabase::create();
        let database = connect(&server.url()).await;
        Self::with(tempfile::tempdir().unwrap(), Some(server), database)
    }

    fn with(
        dir: tempfile::TempDir,
        server: Option<TestDatabase<'static>>,
        database: Database,
    ) -> Self {
        fs::create_dir(dir.path().join("config")).unwrap();
        fs::write(dir.path().join("config/config.toml"), CONFIG).unwrap();
        Self {
            dir,
            server,
            database,
        }
    }

    fn root(&self) -> &Path {
        self.dir.path()
    }

    fn manager(&self) -> RollbackManager {
        RollbackManager::new(self.root(), self.database.clone())
    }

    async fn execute(&self, statements: &[&str]) {
        for statement in statements {
            self.database.execute(statement).await.unwrap();
        }
    }

    async fn simple(&self) {
        self.execute(&[
            "CREATE TABLE pipelines (id integer PRIMARY KEY, name text NOT NULL)",
            "INSERT INTO pipelines VALUES (1, 'a'), (2, 'it''s')",
            "CREATE TABLE schema_versions (version integer PRIMARY KEY, applied_at timestamp)",
            "INSERT INTO schema_versions (version) VALUES (1)",
        ])
        .await;
    }

    async fn sum(&self) -> migrate_core::Fingerprint {
        migrate_rollback::canonical::database(&self.database)
            .await
            .unwrap()
    }
}

async fn both() -> [Deployment; 2] {
    [Deployment::sqlite().await, Deployment::postgres().await]
}

#[tokio::test]
async fn a_point_is_complete_named_and_private() {
    for case in both().await {
        case.simple().await;
        let manager = case.manager();
        assert_eq!(manager.check().await.unwrap(), []);
        let point = manager.create_rollback_point(&version()).await.unwrap();
        assert_eq!(point.schema_version, 1);
        assert_eq!(
            point.config_backup.as_deref(),
            Some("backups/config_1.5.0.toml")
        );
        let file = case.root().join(&point.data_snapshot.file);
        let name = file.file_name().unwrap().to_str().unwrap();
        assert!(
            name.starts_with("etlrs_backup_2") && name.len() <= 34,
            "{name}"
        );
        for file in fs::read_dir(case.root().join("backups")).unwrap() {
            let file = file.unwrap();
            let name = file.file_name().into_string().unwrap();
            assert_eq!(
                file.metadata().unwrap().permissions().mode() & 0o777,
                0o600,
                "{name}"
            );
            assert!(!name.starts_with('.'), "{name} was left");
        }
        let history = manager.history().unwrap();
        assert_eq!(history.newest(&version()), Some(&point));
        let second = manager.create_rollback_point(&version()).await.unwrap();
        assert_ne!(second.id, point.id);
        assert_eq!(manager.history().unwrap().0[&version()].len(), 2);
        let text = fs::read_to_string(case.root().join("backups/rollback_history.json")).unwrap();
        assert!(!text.contains(migrate_tests::postgres::PASSWORD));
    }
}

#[tokio::test]
async fn rollback_brings_database_and_config_back() {
    for case in both().await {
        case.simple().await;
        let manager = case.manager();
        let before = case.sum().await;
        manager.create_rollback_point(&version()).await.unwrap();
        case.execute(&[
            "UPDATE pipelines SET name = 'changed'",
            "ALTER TABLE pipelines ADD COLUMN extra text",
            "CREATE TABLE new_one (id integer PRIMARY KEY)",
            "DROP TABLE schema_versions",
        ])
        .await;
        fs::write(case.root().join("config/config.toml"), "changed").unwrap();
        for _ in 0..2 {
            let said = manager.rollback_to(&version()).await.unwrap();
            assert!(said.contains("compared"), "{said}");
            assert_eq!(case.sum().await, before);
            assert_eq!(
                fs::read(case.root().join("config/config.toml")).unwrap(),
                CONFIG
            );
        }
        let other = manager
            .rollback_to(&"1.4.0".parse().unwrap())
            .await
            .unwrap_err();
        assert!(
            other.message.contains("1.4.0") && other.message.contains("1.5.0"),
            "{other}"
        );
    }
}

#[tokio::test]
async fn the_engines_port_covers_every_file_of_the_scope() {
    for case in both().await {
        case.simple().await;
        let points: &dyn RollbackPoints = &case.manager();
        fs::write(case.root().join("config/more.json"), "{}").unwrap();
        let scope = [
            ScopeObject::File("config/more.json".into()),
            ScopeObject::File("config/made.json".into()),
            ScopeObject::Catalog,
        ];
        let run = RunId::new(Utc::now(), 1);
        let point = points
            .create(
                &run,
                &version(),
                &scope,
                OtherWriters::Refused,
                &Cancel::new(),
            )
            .await
            .unwrap();
        assert!(points.describe(&point).contains("backups/etlrs_backup_"));
        fs::write(case.root().join("config/more.json"), "[]").unwrap();
        fs::write(case.root().join("config/made.json"), "[]").unwrap();
        points
            .restore(&point, &RestoreOrder::default())
            .await
            .unwrap();
        assert_eq!(
            fs::read(case.root().join("config/more.json")).unwrap(),
            b"{}"
        );
        assert!(!case.root().join("config/made.json").exists());
    }
}

#[tokio::test]
async fn a_damaged_or_foreign_backup_is_refused_before_anything_changes() {
    for case in both().await {
        case.simple().await;
        let manager = case.manager();
        let point = manager.create_rollback_point(&version()).await.unwrap();
        case.execute(&["UPDATE pipelines SET name = 'changed'"])
            .await;
        fs::write(case.root().join("config/config.toml"), "changed").unwrap();
        let now = case.sum().await;

        let mut other = point.clone();
        other.data_snapshot.database = "another".into();
        let refused = manager.restore_point(&other).await.unwrap_err();
        assert!(
            refused.message.contains("is a copy of another"),
            "{refused}"
        );

        for name in [
            &point.data_snapshot.file,
            &point.data_snapshot.fingerprint,
            point.config_backup.as_ref().unwrap(),
        ] {
            let file = case.root().join(name);
            let good = fs::read(&file).unwrap();
            let mut bad = good.clone();
            let middle = bad.len() / 2;
            bad[middle] ^= 1;
            for bytes in [Some(bad), Some(good[..good.len() - 1].to_vec()), None] {
                match bytes {
                    Some(bytes) => fs::write(&file, bytes).unwrap(),
                    None => fs::remove_file(&file).unwrap(),
                }
                manager.restore_point(&point).await.unwrap_err();
                assert_eq!(case.sum().await, now, "{name}");
                assert_eq!(
                    fs::read(case.root().join("config/config.toml")).unwrap(),
                    b"changed"
                );
            }
            fs::write(&file, good).unwrap();
        }
        manager.restore_point(&point).await.unwrap();
        let any = manager.restoring_into(TargetDatabase::Any);
        let refused = any.restore_point(&other).await.unwrap_err();
        assert!(refused.message.contains("signed"), "{refused}");
        let any = any.with_signatures(Signatures::NotAsked);
        any.restore_point(&other).await.unwrap();
    }
}

/// A copy that is not what its fingerprint says is found out before anything is committed, and
/// whoever accepts the difference is told it as objects and SQL.
#[tokio::test]
async fn a_copy_of_something_else_is_compared_before_the_commit() {
    for case in both().await {
        case.simple().await;
        // What is signed would be refused for its signature already.
        let manager = case.manager().with_signatures(Signatures::NotAsked);
        let forged = manager.create_rollback_point(&version()).await.unwrap();
        case.execute(&[
            "CREATE VIEW planted AS SELECT 1 AS one",
            "DELETE FROM pipelines WHERE id = 2",
        ])
        .await;
        let other = manager.create_rollback_point(&version()).await.unwrap();
        case.execute(&["INSERT INTO pipelines VALUES (3, 'written since')"])
            .await;
        let before = case.sum().await;
        let mut forged = forged.clone();
        forged.data_snapshot.file = other.data_snapshot.file.clone();
        forged.data_snapshot.sha256 = other.data_snapshot.sha256.clone();
        let refused = manager.restore_point(&forged).await.unwrap_err();
        let said = refused.to_string();
        for part in [
            "nothing was changed",
            "planted",
            "+ ",
            "1 rows",
            "there were 2",
        ] {
            assert!(said.contains(part), "no {part:?} in {said}");
        }
        assert_eq!(before.differences(&case.sum().await), [""; 0], "{said}");

        let points: &dyn RollbackPoints = &manager;
        let order = RestoreOrder {
            on_difference: OnDifference::Accept,
            ..RestoreOrder::default()
        };
        let accepted = points.restore(&forged.to_value(), &order).await.unwrap();
        assert_eq!(
            accepted.differences.len(),
            2 + usize::from(case.server.is_some())
        );
    }
}

/// `pg_restore` ends the transaction round large objects unless it is told not to.
#[tokio::test]
async fn large_objects_do_not_end_the_transaction() {
    let case = Deployment::postgres().await;
    case.simple().await;
    case.execute(&["SELECT lo_from_bytea(4711, '\\x00ff')"])
        .await;
    let manager = case.manager();
    let forged = manager.create_rollback_point(&version()).await.unwrap();
    case.execute(&["DELETE FROM pipelines"]).await;
    let other = manager.create_rollback_point(&version()).await.unwrap();
    case.execute(&["INSERT INTO pipelines VALUES (3, 'written since')"])
        .await;
    let before = case.sum().await;
    let mut forged = forged.clone();
    forged.data_snapshot.file = other.data_snapshot.file.clone();
    forged.data_snapshot.sha256 = other.data_snapshot.sha256.clone();
    manager.restore_point(&forged).await.unwrap_err();
    assert_eq!(before.differences(&case.sum().await), [""; 0]);
}

#[tokio::test]
async fn hostile_databases_come_back_whatever_happened() {
    for case in both().await {
        hostile::make(&case.database, case.server.as_ref());
        let manager = case.manager();
        let before = (
            case.sum().await,
            hostile::dump(&case.database, case.server.as_ref()),
        );
        manager.create_rollback_point(&version()).await.unwrap();
        for damage in hostile::damages(&case.database) {
            case.execute(damage).await;
            for _ in 0..2 {
                manager.rollback_to(&version()).await.unwrap();
                let after = (
                    case.sum().await,
                    hostile::dump(&case.database, case.server.as_ref()),
                );
                assert_eq!(before.0.differences(&after.0), [""; 0]);
                same(&before.1, &after.1);
            }
        }
    }
}

/// As `assert_eq`, with the lines that differ instead of two long texts.
#[track_caller]
fn same(before: &str, after: &str) {
    let lines = |text: &str| -> HashSet<String> { text.lines().map(str::to_owned).collect() };
    if before != after {
        let (old, new) = (lines(before), lines(after));
        let gone: Vec<_> = old.difference(&new).collect();
        let made: Vec<_> = new.difference(&old).collect();
        panic!("gone: {gone:#?}\nnew: {made:#?}");
    }
}

#[tokio::test]
async fn our_own_objects_are_neither_copied_back_nor_dropped() {
    for case in both().await {
        case.simple().await;
        own::ensure(&case.database).await.unwrap();
        let markers = own::name(case.database.backend(), "markers");
        let add = |run: &str| {
            format!("INSERT INTO {markers} (run, step, payload) VALUES ('{run}', 's', '')")
        };
        let manager = case.manager();
        case.execute(&[&add("before")]).await;
        manager.create_rollback_point(&version()).await.unwrap();
        case.execute(&[&add("after"), "DELETE FROM pipelines"])
            .await;
        let fence = own::raise_fence(&case.database, "r1").await.unwrap();
        case.database.set_fence(Some(fence));
        manager.rollback_to(&version()).await.unwrap();
        let left = format!("SELECT count(*) FROM {markers}");
        assert_eq!(case.database.query_json(&left).await.unwrap(), 2);
        own::raise_fence(&connect(case.database.url().unwrap().secret()).await, "r2")
            .await
            .unwrap();
        let lost = manager.rollback_to(&version()).await.unwrap_err();
        assert!(
            lost.to_string().contains("no longer holds the database"),
            "{lost}"
        );
    }
}

#[tokio::test]
async fn a_session_in_the_way_is_named_and_nothing_changes() {
    let case = Deployment::postgres().await;
    case.simple().await;
    let manager = case.manager();
    manager.create_rollback_point(&version()).await.unwrap();
    case.execute(&["DELETE FROM pipelines"]).await;
    let now = case.sum().await;
    let Database::Postgres(postgres) = &case.database else {
        unreachable!("a PostgreSQL deployment")
    };
    let mut other = postgres.pool().begin().await.unwrap();
    sqlx::raw_sql("SET application_name = 'reporting'; SELECT * FROM public.pipelines")
        .execute(&mut *other)
        .await
        .unwrap();
    let error = manager
        .rollback_to(&version())
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("reporting") && error.contains("pipelines"),
        "{error}"
    );
    other.rollback().await.unwrap();
    assert_eq!(case.sum().await, now);
    manager.rollback_to(&version()).await.unwrap();
}

#[tokio::test]
async fn a_missing_or_old_pg_dump_is_told_before_anything_is_done() {
    let case = Deployment::postgres().await;
    case.simple().await;
    let bin = tempfile::tempdir().unwrap();
    let manager = case
        .manager()
        .with_postgres_programs(vec![bin.path().to_owned()]);
    let findings = manager.check().await.unwrap();
    assert_eq!(findings[0].code, "backup.no-pg-dump");
    for name in ["pg_dump", "pg_restore", "psql"] {
        let file = bin.path().join(name);
        fs::write(&file, "#!/bin/sh\necho 'x (PostgreSQL) 13.1'\n").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let findings = manager.check().await.unwrap();
    assert_eq!(findings[0].code, "backup.pg-dump-too-old");
    assert!(
        findings[0]
            .hint
            .as_ref()
            .unwrap()
            .contains("postgresql-client-")
    );
    let refused = manager.create_rollback_point(&version()).await.unwrap_err();
    assert!(refused.message.contains("13"), "{refused}");
    assert!(manager.history().unwrap().0.is_empty());
}

#[tokio::test]
async fn the_password_is_in_no_argument_and_no_file_is_left() {
    let case = Deployment::postgres().await;
    case.simple().await;
    // Programs that note how they were called, and then do what the real ones do.
    let bin = tempfile::tempdir().unwrap();
    let log = bin.path().join("log");
    let real = std::process::Command::new("pg_config")
        .arg("--bindir")
        .output()
        .unwrap();
    let real = String::from_utf8(real.stdout).unwrap();
    for name in ["pg_dump", "pg_restore", "psql"] {
        let file = bin.path().join(name);
        let text = format!(
            "#!/bin/sh\nprintf '%s ' {name} \"$@\" >>'{log}'\nenv >>'{log}'\nexec {real}/{name} \"$@\"\n",
            log = log.display(),
            real = real.trim()
        );
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let manager = case
        .manager()
        .with_postgres_programs(vec![bin.path().to_owned()]);
    manager.create_rollback_point(&version()).await.unwrap();
    manager.rollback_to(&version()).await.unwrap();
    let log = fs::read_to_string(log).unwrap();
    assert!(
        log.contains("pg_dump --format=custom") && log.contains("psql --no-psqlrc"),
        "{log}"
    );
    assert!(log.contains("PGPASSFILE="), "{log}");
    assert!(!log.contains(migrate_tests::postgres::PASSWORD));
    let mut left: Vec<_> = fs::read_dir(case.root().join(".etlrs-migrate"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    left.sort();
    let keys = ["former_keys.pub", "key", "unsigned_backups.json"];
    assert_eq!(left, keys);
}

#[tokio::test]
async fn a_backup_that_is_stopped_leaves_nothing() {
    for case in both().await {
        case.simple().await;
        let cancel = Cancel::new();
        cancel.cancel(CancelCause::Signal(15));
        let run = RunId::new(Utc::now(), 1);
        let stopped = case
            .manager()
            .create(&run, &version(), &[], OtherWriters::Refused, &cancel)
            .await
            .unwrap_err();
        assert_eq!(stopped.kind, StepErrorKind::Interrupted);
        assert_eq!(
            fs::read_dir(case.root().join("backups")).unwrap().count(),
            0
        );
        assert!(case.manager().history().unwrap().0.is_empty());
    }
}
