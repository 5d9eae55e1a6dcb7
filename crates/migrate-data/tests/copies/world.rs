//! A database of a test's own, and steps on it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use migrate_core::ports::Script;
use migrate_core::{
    Cancel, Event, Finding, MigrationPlan, Reporter, RunId, Scripts, Step, StepContext, StepKind,
    StepSite,
};
use migrate_data::{DataMigrationKind, TransformRegistry};
use migrate_schema::db::{Backend, ConnectOptions, CreateMode, Database, DatabaseUrl, pin};
use migrate_tests::postgres::TestDatabase;
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;
use tempfile::TempDir;

pub(crate) struct World {
    pub(crate) db: Database,
    _server: Option<TestDatabase<'static>>,
    _directory: Option<TempDir>,
}

/// Both databases, one after the other.
pub(crate) async fn both() -> [World; 2] {
    [World::sqlite().await, World::postgres().await]
}

impl World {
    pub(crate) async fn sqlite() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let url = DatabaseUrl::sqlite(directory.path().join("test.db"));
        let options = ConnectOptions {
            create: CreateMode::Create,
            ..ConnectOptions::default()
        };
        let db = Database::connect(&url, &options).await.unwrap();
        Self {
            db,
            _server: None,
            _directory: Some(directory),
        }
    }

    pub(crate) async fn postgres() -> Self {
        let server = TestDatabase::create();
        let name = server.name();
        // Far from UTC, and with dates written as few expect them.
        server.psql(&format!(
            "ALTER DATABASE {name} SET timezone = 'Asia/Kathmandu'; ALTER DATABASE {name} SET datestyle = 'SQL, DMY'"
        ));
        let url: DatabaseUrl = server.url().parse().unwrap();
        let db = Database::connect(&url, &ConnectOptions::default())
            .await
            .unwrap();
        Self {
            db,
            _server: Some(server),
            _directory: None,
        }
    }

    pub(crate) fn is_postgres(&self) -> bool {
        self.db.backend() == Backend::Postgres
    }

    /// One of two texts.
    pub(crate) fn pick<'a>(&self, postgres: &'a str, sqlite: &'a str) -> &'a str {
        if self.is_postgres() { postgres } else { sqlite }
    }

    pub(crate) async fn sql(&self, sql: &str) {
        let done = match &self.db {
            Database::Postgres(db) => {
                let mut session = db.acquire().await.unwrap();
                db.as_the_user(&mut session).await.unwrap();
                let done = sqlx::raw_sql(AssertSqlSafe(sql))
                    .execute(&mut *session)
                    .await;
                pin(&mut session).await.unwrap();
                done.map(drop)
            }
            Database::Sqlite(db) => sqlx::raw_sql(AssertSqlSafe(sql))
                .execute(db.pool())
                .await
                .map(drop),
        };
        done.unwrap_or_else(|error| panic!("{error}\n{sql}"));
    }

    pub(crate) async fn query(&self, sql: &str) -> Value {
        self.db
            .query_json(sql)
            .await
            .unwrap_or_else(|error| panic!("{error}\n{sql}"))
    }

    /// Everything in the database but ours.
    pub(crate) async fn fingerprint(&self) -> migrate_core::Fingerprint {
        migrate_schema::fingerprint::database(&self.db)
            .await
            .unwrap()
    }

    /// The guide's tables as 2.0 has them, without its trigger.
    pub(crate) async fn pipelines(&self) {
        let (moment, zoned) = (
            self.pick("timestamp", "text"),
            self.pick("timestamptz", "text"),
        );
        self.sql(&format!(
            "CREATE TABLE pipelines_old (id integer primary key, name text not null, config text, status text not null, created_at {zoned});
             CREATE TABLE pipelines (id integer primary key, name text not null, config text not null, status text not null,
                retry_attempts integer default 3, timeout_seconds integer default 300, created_at {moment}, updated_at {moment} default CURRENT_TIMESTAMP);"
        ))
        .await;
    }

    /// `count` ordinary rows from `first` on.
    pub(crate) async fn fill(&self, first: i64, count: i64) {
        let (series, stamp) = (
            self.pick(
                "generate_series({first}, {last}) AS i",
                "(WITH RECURSIVE n(i) AS (SELECT {first} UNION ALL SELECT i + 1 FROM n WHERE i < {last}) SELECT i FROM n)",
            ),
            self.pick("timestamptz '2024-01-01 00:00+00' + i * interval '1 minute'", "datetime('2024-01-01', i || ' minutes')"),
        );
        let series = series
            .replace("{first}", &first.to_string())
            .replace("{last}", &(first + count - 1).to_string());
        self.sql(&format!(
            "INSERT INTO pipelines_old SELECT i, 'pipeline ' || i, '{{\"batch_size\":' || i || ',\"log_level\":\"warn\"}}', 'active', {stamp} FROM {series}"
        ))
        .await;
    }

    /// `src` with 1,000 rows of a number and a text, and `dst`, its like, empty.
    pub(crate) async fn thousand(&self) {
        self.sql("CREATE TABLE src (id integer PRIMARY KEY, v text); CREATE TABLE dst (id integer PRIMARY KEY, v text)").await;
        let series = self.pick(
            "generate_series(1, 1000) AS i",
            "(WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000) SELECT i FROM n)",
        );
        self.sql(&format!("INSERT INTO src SELECT i, 'v' || i FROM {series}"))
            .await;
    }

    pub(crate) fn shipped_script(&self) -> &'static str {
        if self.is_postgres() {
            include_str!("../../../../migrations/transform_pipelines.sql")
        } else {
            include_str!("../../../../migrations/transform_pipelines.sqlite.sql")
        }
    }

    /// The guide's step.
    pub(crate) fn pipelines_step(&self, batch_size: usize) -> Box<dyn Step> {
        self.step(
            "pipelines_old",
            "pipelines",
            self.shipped_script(),
            batch_size,
        )
    }

    pub(crate) fn step(
        &self,
        source: &str,
        target: &str,
        script: &str,
        batch_size: usize,
    ) -> Box<dyn Step> {
        let transforms = TransformRegistry::shipped();
        self.build(
            &data(source, target, script, batch_size, 2),
            script,
            transforms,
        )
        .unwrap_or_else(|f| panic!("{f:?}"))
    }

    pub(crate) fn build(
        &self,
        data: &Value,
        script: &str,
        transforms: TransformRegistry,
    ) -> Result<Box<dyn Step>, Vec<Finding>> {
        let plan = json!({
            "from_version": "1.5.0", "to_version": "2.0.0", "migration_type": "MajorUpgrade",
            "steps": [{"id": "move", "step_type": "DataMigration", "data_migration": data}],
        });
        self.build_plan(plan, 0, &[("script.sql", script)], transforms)
    }

    pub(crate) fn build_plan(
        &self,
        plan: Value,
        index: usize,
        scripts: &[(&str, &str)],
        transforms: TransformRegistry,
    ) -> Result<Box<dyn Step>, Vec<Finding>> {
        let scripts = scripts
            .iter()
            .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
            .collect();
        let plan: MigrationPlan = serde_json::from_value(plan).unwrap();
        let kind = DataMigrationKind::new(self.db.clone(), Arc::new(Texts(scripts)), transforms);
        kind.build(&plan.steps[index], &StepSite::alone(&plan, index))
    }
}

/// The fields of a data step; a script with blanks in it stands for the file that holds it.
pub(crate) fn data(
    source: &str,
    target: &str,
    script: &str,
    batch_size: usize,
    workers: usize,
) -> Value {
    let name = if script.contains(' ') {
        "script.sql"
    } else {
        script
    };
    json!({
        "source_table": source, "target_table": target, "transformation_script": name,
        "batch_size": batch_size, "parallel_workers": workers,
    })
}

struct Texts(BTreeMap<String, String>);

impl Scripts for Texts {
    fn read(&self, name: &str) -> Result<Script, Finding> {
        match self.0.get(name) {
            Some(text) => Ok(Script {
                origin: name.to_owned(),
                text: text.clone(),
            }),
            None => Err(Finding::error(
                "scripts.missing",
                format!("there is no script {name}"),
            )),
        }
    }

    fn names(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }
}

/// A context of a run of its own.
pub(crate) fn context() -> StepContext {
    static SALT: AtomicU16 = AtomicU16::new(0);
    StepContext {
        run: RunId::new(chrono::Utc::now(), SALT.fetch_add(1, Ordering::Relaxed)),
        step: "move.Rows".parse().unwrap(),
        attempt: 1,
        timeout: Duration::from_mins(1),
        cancel: Cancel::new(),
        reporter: Arc::new(migrate_core::event::Silent),
        drops: [].into(),
    }
}

/// Keeps events, and asks for the end once so many rows are done.
pub(crate) struct Watch {
    pub(crate) progress: Mutex<Vec<(u64, Option<u64>)>>,
}

impl Watch {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            progress: Mutex::default(),
        })
    }
}

impl Reporter for Watch {
    fn event(&self, event: &Event) {
        if let Event::StepProgress { done, total, .. } = event {
            self.progress.lock().unwrap().push((*done, *total));
        }
    }
}

/// Prepares and runs; the receipt and the figures come back.
pub(crate) async fn run(step: &dyn Step, cx: &StepContext) -> (migrate_core::Receipt, [u64; 4]) {
    let receipt = step
        .prepare(cx)
        .await
        .unwrap_or_else(|error| panic!("{error}"));
    let outcome = step
        .run(cx, &receipt)
        .await
        .unwrap_or_else(|error| panic!("{error}"));
    (receipt, figures(&outcome))
}

pub(crate) fn figures(outcome: &migrate_core::Outcome) -> [u64; 4] {
    [
        "rows_read",
        "rows_inserted",
        "rows_updated",
        "rows_unchanged",
    ]
    .map(|name| outcome.figures[name].as_u64().unwrap())
}
