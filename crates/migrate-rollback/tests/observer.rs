//! What a deployment shows, and what a rollback of it would lose.

#![expect(clippy::unwrap_used, reason = "a test ends where it can not go on")]

use std::fs;
use std::sync::Arc;

use chrono::Utc;
use migrate_core::{
    DeploymentVersion, Fingerprint, Journal, MemoryJournal, Observer, OnDifference, Record,
    RunHeader, RunId, ScopeObject, Strategy,
};
use migrate_rollback::DeploymentObserver;
use migrate_schema::db::{ConnectOptions, CreateMode, Database, DatabaseUrl};
use migrate_tests::postgres::TestDatabase;

const V1: &str =
    "database_url = \"sqlite:x\"\nbatch_size = 1\nparallel_tasks = 1\nlog_level = \"info\"\n";

struct Case {
    root: tempfile::TempDir,
    _server: Option<TestDatabase<'static>>,
    database: Database,
    journal: Arc<MemoryJournal>,
}

async fn both() -> [Case; 2] {
    let server = TestDatabase::create();
    let root = tempfile::tempdir().unwrap();
    let lite = format!("sqlite:{}", root.path().join("x.db").display());
    let postgres = Case::new(tempfile::tempdir().unwrap(), &server.url(), None).await;
    [
        Case::new(root, &lite, None).await,
        Case {
            _server: Some(server),
            ..postgres
        },
    ]
}

impl Case {
    async fn new(
        root: tempfile::TempDir,
        url: &str,
        server: Option<TestDatabase<'static>>,
    ) -> Self {
        let url: DatabaseUrl = url.parse().unwrap();
        let options = ConnectOptions {
            create: CreateMode::Create,
            ..ConnectOptions::default()
        };
        fs::create_dir(root.path().join("config")).unwrap();
        Self {
            root,
            _server: server,
            database: Database::connect(&url, &options).await.unwrap(),
            journal: Arc::default(),
        }
    }

    fn observer(&self) -> DeploymentObserver {
        let journal: Arc<dyn Journal> = self.journal.clone();
        DeploymentObserver::new(self.root.path(), self.database.clone(), Some(journal))
    }

    async fn run(&self, statements: &[&str]) {
        for statement in statements {
            self.database.execute(statement).await.unwrap();
        }
    }

    fn config(&self, text: &str) {
        fs::write(self.root.path().join("config/config.toml"), text).unwrap();
    }

    async fn version(&self) -> DeploymentVersion {
        self.observer().version().await.unwrap()
    }

    /// A run that came to its commit point.
    async fn upgraded(&self, before: &Fingerprint, after: &Fingerprint) -> RunId {
        let run = RunId::new(Utc::now(), 1);
        let header = serde_json::json!({
            "format": 1, "run": run, "inputs": {}, "tool_version": "0", "host": "h", "pid": 1,
            "user": "u", "database": "d", "started_at": Utc::now(), "flags": [], "scope": [],
            "before": before,
            "plan": {"from_version": "1.5.0", "to_version": "2.0.0",
                     "migration_type": "MajorUpgrade", "steps": []},
        });
        let header: RunHeader = serde_json::from_value(header).unwrap();
        self.journal.open(&header).await.unwrap();
        let running = serde_json::json!([]);
        self.append(&run, Record::ServicesStopping { running })
            .await;
        for record in [
            Record::ServicesStopped,
            Record::PointSkipped,
            Record::Validated,
            Record::Committing {
                after: after.clone(),
                came_in: Vec::new(),
            },
            Record::ServicesStarted,
            Record::Completed,
        ] {
            self.append(&run, record).await;
        }
        run
    }

    async fn append(&self, run: &RunId, record: Record) {
        self.journal.append(run, Utc::now(), &record).await.unwrap();
    }
}

#[tokio::test]
async fn the_version_is_told_by_shape_and_then_by_the_journal() {
    for case in both().await {
        assert_eq!(case.version().await, DeploymentVersion::Unknown);
        case.run(&["CREATE TABLE pipelines (id integer PRIMARY KEY)"])
            .await;
        case.config(V1);
        assert!(matches!(
            case.version().await,
            DeploymentVersion::Major(1, _)
        ));
        case.run(&[
            "CREATE TABLE schema_versions (version integer)",
            "INSERT INTO schema_versions VALUES (2)",
        ])
        .await;
        let DeploymentVersion::Mixed(why) = case.version().await else {
            panic!("the config is of 1.x and the schema of 2.0")
        };
        assert!(
            why[0].contains("config.toml") && why[1].contains("says 2"),
            "{why:?}"
        );

        let nothing = Fingerprint::default();
        let run = case.upgraded(&nothing, &nothing).await;
        assert!(matches!(case.version().await,
            DeploymentVersion::Exact(version, why) if version.to_string() == "2.0.0" && why.contains(run.as_str())));
        for record in [
            Record::RollbackStarted {
                strategy: Strategy::Reverse,
                requested: true,
                cleared: false,
                loses: Vec::new(),
                on_difference: OnDifference::RollBack,
            },
            Record::Reverted { left: Vec::new() },
            Record::RolledBack,
        ] {
            case.append(&run, record).await;
        }
        assert!(matches!(case.version().await,
            DeploymentVersion::Exact(version, _) if version.to_string() == "1.5.0"));
    }
}

#[tokio::test]
async fn a_scope_sees_what_is_in_it_and_nothing_else() {
    for case in both().await {
        case.run(&[
            "CREATE TABLE a (id integer PRIMARY KEY, t text)",
            "CREATE TABLE b (id integer PRIMARY KEY)",
            "INSERT INTO a VALUES (1, 'x')",
        ])
        .await;
        case.config(V1);
        let narrow = [
            ScopeObject::File("config/config.toml".into()),
            ScopeObject::File("config/none.toml".into()),
            ScopeObject::Table("a".into()),
            ScopeObject::Table("missing".into()),
        ];
        let whole = [ScopeObject::Catalog, ScopeObject::Table("a".into())];
        let observer = case.observer();
        let run = RunId::new(Utc::now(), 1);
        let narrow_before = observer.fingerprint(&narrow).await.unwrap();
        let whole_before = observer.fingerprint(&whole).await.unwrap();
        assert_eq!(narrow_before.0["file config/none.toml"], "absent");
        assert_eq!(narrow_before.0["rows missing"], "absent");
        assert!(narrow_before.0["rows a"].starts_with("1 "));
        assert!(
            whole_before
                .0
                .keys()
                .any(|name| name.starts_with("catalog "))
        );

        case.run(&["INSERT INTO b VALUES (1)"]).await;
        assert_eq!(observer.fingerprint(&narrow).await.unwrap(), narrow_before);
        let losses = observer.losses(&run, &whole_before, &whole).await.unwrap();
        assert_eq!(losses.len(), 1, "{losses:?}");
        assert_eq!(losses[0].rows, Some(1));

        case.run(&[
            "UPDATE a SET t = 'y'",
            "INSERT INTO a VALUES (2, NULL), (3, NULL)",
        ])
        .await;
        case.config("changed = true\n");
        let losses = observer
            .losses(&run, &narrow_before, &narrow)
            .await
            .unwrap();
        let texts: Vec<String> = losses.iter().map(ToString::to_string).collect();
        assert_eq!(texts.len(), 2, "{texts:?}");
        assert!(texts[0].contains("file config/config.toml"), "{texts:?}");
        assert!(
            texts[1].contains("table a: at least 2 rows inserted"),
            "{texts:?}"
        );
        case.run(&["ALTER TABLE a ADD COLUMN z integer"]).await;
        let now = observer.fingerprint(&narrow).await.unwrap();
        assert_ne!(now.0["table a"], narrow_before.0["table a"]);
    }
}

#[tokio::test]
async fn a_reverse_loses_rows_of_others_in_new_tables_and_not_the_runs_own() {
    for case in both().await {
        let scope = [ScopeObject::Catalog];
        let observer = case.observer();
        case.run(&["CREATE TABLE old (id integer)"]).await;
        let before = observer.fingerprint(&scope).await.unwrap();
        case.run(&[
            "CREATE TABLE schema_versions (version integer)",
            "INSERT INTO schema_versions VALUES (2)",
            "CREATE TABLE metrics (id integer)",
            "INSERT INTO old VALUES (1)",
        ])
        .await;
        let after = observer.fingerprint(&scope).await.unwrap();
        case.upgraded(&before, &after).await;
        assert_eq!(observer.losses_of_reverse(&before).await.unwrap(), []);
        case.run(&[
            "INSERT INTO metrics VALUES (1), (2), (3)",
            "INSERT INTO old VALUES (2)",
        ])
        .await;
        let losses = observer.losses_of_reverse(&before).await.unwrap();
        assert_eq!(losses.len(), 1, "{losses:?}");
        assert!(losses[0].object.contains("metrics"));
        assert_eq!(losses[0].rows, Some(3));
    }
}

#[tokio::test]
async fn what_others_did_is_counted_row_by_row_where_marks_were_kept() {
    for case in both().await {
        case.run(&[
            "CREATE TABLE keyed (id integer PRIMARY KEY, t text)",
            "CREATE TABLE plain (t text)",
            "CREATE TABLE still (id integer PRIMARY KEY)",
            "INSERT INTO keyed VALUES (1, 'a'), (2, 'b'), (3, 'c'), (4, NULL), (5, 'e')",
            "INSERT INTO plain VALUES ('x'), ('x'), ('y')",
            "INSERT INTO still VALUES (1)",
        ])
        .await;
        let scope = [ScopeObject::Catalog];
        let observer = case.observer();
        let run = RunId::new(Utc::now(), 7);
        let after = observer.fingerprint(&scope).await.unwrap();
        observer.mark(&run, &scope, &after).await.unwrap();
        // Once more, as after a crash.
        observer.mark(&run, &scope, &after).await.unwrap();
        assert_eq!(observer.fingerprint(&scope).await.unwrap(), after);
        assert_eq!(observer.losses(&run, &after, &scope).await.unwrap(), []);
        case.run(&[
            "DELETE FROM keyed WHERE id = 1",
            "UPDATE keyed SET t = 'other' WHERE id = 2",
            "UPDATE keyed SET t = NULL WHERE id = 3",
            "INSERT INTO keyed VALUES (6, 'f'), (7, 'g'), (8, 'h')",
            "DELETE FROM plain WHERE t = 'y'",
            "INSERT INTO plain VALUES ('x')",
        ])
        .await;
        let losses = observer.losses(&run, &after, &scope).await.unwrap();
        let told: Vec<String> = losses.iter().map(ToString::to_string).collect();
        let wanted = [
            "keyed: 3 rows inserted, 2 rows updated, 1 row deleted since the upgrade",
            "plain: 1 row inserted, 1 row deleted since the upgrade",
        ];
        assert_eq!(told.len(), 2, "{told:?}");
        for (told, wanted) in told.iter().zip(wanted) {
            assert!(told.contains(wanted), "{told}");
        }
        let changes = losses[0].changes.unwrap();
        assert_eq!(changes.counted, migrate_core::Counted::Exact);
        assert_eq!(losses[0].rows, Some(6));
        observer.unmark(&run).await.unwrap();
        observer.unmark(&run).await.unwrap();
        let losses = observer.losses(&run, &after, &scope).await.unwrap();
        assert!(
            losses[0].to_string().contains("at least 2 rows inserted"),
            "{losses:?}"
        );
    }
}

#[tokio::test]
async fn a_table_too_large_for_marks_says_what_it_knows() {
    for case in both().await {
        let rows = migrate_schema::marks::MOST_ROWS + 1;
        let fill = format!(
            "INSERT INTO large WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows}) \
             SELECT i, 'x' FROM n"
        );
        case.run(&["CREATE TABLE large (id integer PRIMARY KEY, t text)", &fill])
            .await;
        let scope = [ScopeObject::Catalog];
        let observer = case.observer();
        let run = RunId::new(Utc::now(), 8);
        let after = observer.fingerprint(&scope).await.unwrap();
        observer.mark(&run, &scope, &after).await.unwrap();
        case.run(&[
            "UPDATE large SET t = 'y' WHERE id <= 10",
            "DELETE FROM large WHERE id > 10 AND id <= 13",
        ])
        .await;
        let losses = observer.losses(&run, &after, &scope).await.unwrap();
        let told = losses[0].to_string();
        assert!(told.contains("at least"), "{told}");
        let changes = losses[0].changes.unwrap();
        assert_eq!(changes.counted, migrate_core::Counted::AtLeast);
        assert_eq!(changes.deleted, 3);
        if told.contains("public.") {
            assert!(told.contains("10 rows inserted or updated"), "{told}");
            assert_eq!(changes.written, Some(10));
        }
        // A table whose rows can be carried back is marked whatever its size.
        let scope = [ScopeObject::Catalog, ScopeObject::Rows("large".into())];
        let after = observer.fingerprint(&scope).await.unwrap();
        observer.mark(&run, &scope, &after).await.unwrap();
        case.run(&["UPDATE large SET t = 'z' WHERE id <= 4"]).await;
        let losses = observer.losses(&run, &after, &scope).await.unwrap();
        assert!(
            losses[0].to_string().contains("4 rows updated since"),
            "{losses:?}"
        );
    }
}
