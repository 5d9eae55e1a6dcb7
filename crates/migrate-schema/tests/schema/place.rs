//! Databases and steps for tests.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use migrate_core::ports::Script;
use migrate_core::{
    Cancel, CancelCause, Event, Finding, Fingerprint, MigrationPlan, Outcome, Preview, Probe,
    Readiness, Receipt, Reporter, RunId, Step, StepContext, StepError, StepKind, StepSite,
    UndoReport,
};
use migrate_schema::db::{ConnectOptions, CreateMode, Database, DatabaseUrl};
use migrate_schema::fingerprint;
use migrate_schema::kind::SchemaUpdateKind;
use migrate_tests::postgres::{TestDatabase, shared};
use serde_json::{Value, json};
use tempfile::TempDir;

/// The tables of a deployment at 1.5.0, with a few rows.
pub(crate) const V1: &str = "
create table pipelines (id integer primary key, name text not null, config text not null, status text not null);
insert into pipelines values (1, 'it''s', '{}', 'on'), (-5, '', 'null', 'off'), (70, 'é', '{\"a\":1}', 'on');
create table pipelines_old (id integer primary key, name text, config text, status text, created_at text);
insert into pipelines_old values (1, 'a', '{}', 'x', null);
";

/// The fingerprint of the whole database.
pub(crate) async fn before(place: &Place) -> Fingerprint {
    fingerprint::database(&place.db).await.unwrap()
}

/// What a query finds.
pub(crate) async fn value(db: &Database, sql: &str) -> Value {
    db.query_json(sql).await.unwrap()
}

/// An empty database and a handle on it; gone with its value.
pub(crate) struct Place {
    pub(crate) db: Database,
    home: Home,
}

enum Home {
    Postgres(TestDatabase<'static>),
    Sqlite(TempDir),
}

impl Place {
    pub(crate) async fn postgres() -> Self {
        let home = TestDatabase::create();
        let db = Database::connect(&home.url().parse().unwrap(), &ConnectOptions::default())
            .await
            .unwrap();
        Self {
            db,
            home: Home::Postgres(home),
        }
    }

    pub(crate) async fn sqlite() -> Self {
        let home = TempDir::new().unwrap();
        let url = DatabaseUrl::sqlite(home.path().join("x.db"));
        let options = ConnectOptions {
            create: CreateMode::Create,
            ..ConnectOptions::default()
        };
        let db = Database::connect(&url, &options).await.unwrap();
        Self {
            db,
            home: Home::Sqlite(home),
        }
    }

    /// What `pg_dump` says of the schema, in any order, without the lines that are never the same.
    #[track_caller]
    pub(crate) fn schema_dump(&self) -> String {
        match &self.home {
            Home::Postgres(home) => home.server().schema_sorted(home.name()),
            Home::Sqlite(home) => migrate_tests::sqlite::run(&home.path().join("x.db"), ".schema"),
        }
    }

    /// Runs SQL through psql or sqlite3, which know nothing of our driver.
    #[track_caller]
    pub(crate) fn sql(&self, sql: &str) -> String {
        match &self.home {
            Home::Postgres(home) => home.psql(sql),
            Home::Sqlite(home) => migrate_tests::sqlite::run(&home.path().join("x.db"), sql),
        }
    }

    /// Runs SQL as the superuser of the throwaway server.
    #[track_caller]
    pub(crate) fn admin_sql(&self, sql: &str) -> String {
        match &self.home {
            Home::Postgres(home) => home.admin_psql(sql),
            Home::Sqlite(_) => panic!("this is for PostgreSQL"),
        }
    }

    /// Makes everything that is hard to read from this release's catalog.
    #[track_caller]
    pub(crate) fn everything_hard(&self) {
        self.sql(super::catalog::EVERYTHING);
        self.sql(&shared().fitted(super::snapshot::HARD));
        if self.major() >= 18 {
            self.sql(super::since_18::SINCE_18);
        }
    }

    /// The release of the server, such as 15.
    pub(crate) fn major(&self) -> u32 {
        match &self.home {
            Home::Postgres(home) => home.server().major(),
            Home::Sqlite(_) => panic!("this is for PostgreSQL"),
        }
    }

    /// A handle with the rights of the throwaway server's superuser.
    pub(crate) async fn connect_as_admin(&self) -> Database {
        let Home::Postgres(home) = &self.home else {
            panic!("this is for PostgreSQL")
        };
        let url = home.admin_url().parse().unwrap();
        Database::connect(&url, &ConnectOptions::default())
            .await
            .unwrap()
    }

    /// Another handle, as another program has it.
    pub(crate) async fn connect(&self) -> Database {
        let url = self.db.url().unwrap().clone();
        Database::connect(&url, &ConnectOptions::default())
            .await
            .unwrap()
    }
}

/// One of each database.
pub(crate) async fn both() -> [Place; 2] {
    [Place::sqlite().await, Place::postgres().await]
}

/// Scripts by name.
#[derive(Clone)]
pub(crate) struct Scripts(BTreeMap<String, String>);

impl<const N: usize> From<[(&str, &str); N]> for Scripts {
    fn from(scripts: [(&str, &str); N]) -> Self {
        Self(
            scripts
                .into_iter()
                .map(|(name, text)| (name.to_owned(), text.to_owned()))
                .collect(),
        )
    }
}

impl Scripts {
    /// Those of the repository.
    pub(crate) fn shipped() -> Self {
        Self::from([
            (
                "001_v2_schema_updates.sql",
                include_str!("../../../../migrations/001_v2_schema_updates.sql"),
            ),
            (
                "001_v2_schema_updates.down.sql",
                include_str!("../../../../migrations/001_v2_schema_updates.down.sql"),
            ),
            (
                "001_v2_schema_updates.sqlite.sql",
                include_str!("../../../../migrations/001_v2_schema_updates.sqlite.sql"),
            ),
        ])
    }
}

impl migrate_core::Scripts for Scripts {
    fn read(&self, name: &str) -> Result<Script, Finding> {
        match self.0.get(name) {
            Some(text) => Ok(Script {
                origin: format!("scripts/{name}"),
                text: text.clone(),
            }),
            None => Err(Finding::error(
                "script.missing",
                format!("no script {name}"),
            )),
        }
    }

    fn names(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }
}

/// Keeps warnings.
#[derive(Default)]
struct Warnings(Mutex<Vec<String>>);

impl Reporter for Warnings {
    fn event(&self, event: &Event) {
        if let Event::Warning { message, .. } = event {
            self.0.lock().unwrap().push(message.clone());
        }
    }
}

/// A schema step and what the engine would call it with.
pub(crate) struct Update {
    pub(crate) step: Box<dyn Step>,
    pub(crate) cx: StepContext,
    warnings: Arc<Warnings>,
}

impl Update {
    pub(crate) fn shipped(place: &Place) -> Self {
        let fields = json!({"command": "001_v2_schema_updates.sql"});
        Self::new(place, Scripts::shipped(), &fields).unwrap()
    }

    pub(crate) fn new(
        place: &Place,
        scripts: Scripts,
        fields: &Value,
    ) -> Result<Self, Vec<Finding>> {
        Self::after(place, scripts, fields, &[])
    }

    /// As a step after these.
    pub(crate) fn after(
        place: &Place,
        scripts: Scripts,
        fields: &Value,
        before: &[Value],
    ) -> Result<Self, Vec<Finding>> {
        let named = |id: String, fields: &Value| {
            let mut step = json!({"id": id, "step_type": "SchemaUpdate"});
            step.as_object_mut()
                .unwrap()
                .extend(fields.as_object().unwrap().clone());
            step
        };
        let index = before.len();
        let mut steps: Vec<Value> = before
            .iter()
            .enumerate()
            .map(|(at, fields)| named(format!("before{at}"), fields))
            .collect();
        steps.push(named("schema".to_owned(), fields));
        let plan: MigrationPlan = serde_json::from_value(json!({
            "from_version": "1.5.0", "to_version": "2.0.0", "migration_type": "MajorUpgrade",
            "steps": steps,
        }))
        .unwrap();
        let kind = SchemaUpdateKind::new(place.db.clone(), Arc::new(scripts));
        let site = StepSite::alone(&plan, index);
        let step = kind.build(&plan.steps[index], &site)?;
        let warnings = Arc::new(Warnings::default());
        let cx = StepContext {
            run: RunId::new(chrono::Utc::now(), 7),
            step: "schema".parse().unwrap(),
            attempt: 1,
            timeout: Duration::from_mins(1),
            cancel: Cancel::new(),
            reporter: warnings.clone(),
            drops: [].into(),
        };
        Ok(Self { step, cx, warnings })
    }

    pub(crate) fn warnings(&self) -> Vec<String> {
        self.warnings.0.lock().unwrap().clone()
    }

    pub(crate) async fn check(&self) -> Readiness {
        self.step.check(&self.cx).await.unwrap()
    }

    pub(crate) async fn preview(&self) -> Preview {
        self.step.preview(&self.cx).await.unwrap()
    }

    pub(crate) async fn prepare(&self) -> Receipt {
        self.step.prepare(&self.cx).await.unwrap()
    }

    pub(crate) async fn probe(&self, receipt: &Receipt) -> Probe {
        self.step.probe(&self.cx, receipt).await.unwrap()
    }

    pub(crate) async fn run(&self, receipt: &Receipt) -> Result<Outcome, StepError> {
        self.step.run(&self.cx, receipt).await
    }

    pub(crate) async fn undo(&self, receipt: &Receipt) -> Result<UndoReport, StepError> {
        self.step.undo(&self.cx, receipt).await
    }
}

/// Asks for the end in a moment.
pub(crate) fn cancel_soon(cancel: &Cancel) {
    let cancel = cancel.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(400)).await;
        cancel.cancel(CancelCause::Timeout);
    });
}
