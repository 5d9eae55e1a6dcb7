//! A scratch database for checks: made, used, removed. What a killed run left is removed by the
//! next one: a database by the comment on it, a directory by the number in its name.

use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use clap::Args;
use migrate_core::{Cancel, StepError};
use migrate_rollback::ScratchCopy;
use migrate_schema::apply::FreshDatabase;
use migrate_schema::db::{Backend, ConnectOptions, CreateMode, Database, DatabaseUrl};
use migrate_schema::layout::{Choice, Layout, MigrationSet, SharedStatement, SourceFile};
use migrate_schema::script::split;
use serde_json::Value;

use crate::failure::Failure;
use crate::report::Output;

const DIRECTORY: &str = "etlrs-scratch-";

/// A scratch database.
pub(super) struct Scratch {
    server: Database,
    directory: PathBuf,
    made: Option<(ScratchCopy, Database)>,
    cancel: Cancel,
    /// What runs in each before the migrations.
    prelude: Vec<String>,
    /// What the server's databases shared before.
    shared: Value,
}

/// What a server's databases share, as far as its role may see: a text that changes with it.
const SHARED: &str = "select md5(string_agg(line, ' ' order by line)) from ( \
     select row_to_json(r)::text as line from pg_catalog.pg_roles r \
     union all select row_to_json(m)::text from pg_catalog.pg_auth_members m \
     union all select row_to_json(s)::text from pg_catalog.pg_db_role_setting s \
     union all select row_to_json(t)::text from pg_catalog.pg_tablespace t \
     union all select json_build_array(d.datname, d.datdba, d.datacl::text, d.datconnlimit)::text \
         from pg_catalog.pg_database d where d.datname = current_database()) l";

async fn shared(server: &Database) -> Result<Value, StepError> {
    if server.backend() == Backend::Sqlite {
        return Ok(Value::Null);
    }
    server
        .query_ours(SHARED)
        .await
        .map_err(|error| error.into_step_error("what the server's databases share can't be read"))
}

/// What a scratch database is made of, and where.
#[derive(Debug, Args)]
pub(super) struct ScratchArgs {
    /// A database on whose server the scratch database is made, instead of the live one's.
    #[arg(long, value_name = "URL")]
    scratch_url: Option<String>,
    /// Leave out statements on what the server's databases share (roles, databases, ...).
    #[arg(long)]
    skip_shared: bool,
    /// SQL that each scratch database begins with: extensions and schemas that the migrations expect.
    #[arg(long, value_name = "FILE")]
    prelude: Option<PathBuf>,
}

impl ScratchArgs {
    /// The server that was named instead of the live one.
    pub(super) fn url(&self) -> Result<Option<DatabaseUrl>, Failure> {
        let url = self.scratch_url.as_deref().map(str::parse).transpose();
        url.map_err(|error| Failure::usage(format!("--scratch-url: {error}")))
    }

    /// The statements of the prelude.
    fn prelude(&self, backend: Backend, output: &Output) -> Result<Vec<String>, Failure> {
        let Some(file) = &self.prelude else {
            return Ok(Vec::new());
        };
        let text = migrate_config::atomic::read_regular_text(file).map_err(|error| {
            Failure::unchanged(format!("--prelude {}: {error}", file.display()))
        })?;
        let named = SourceFile::new("0_prelude.sql", &text);
        let set = MigrationSet::of_files(&[named], Choice::Named(Layout::Sqlx), backend)
            .map_err(|findings| Failure::findings("the prelude can't be used", findings))?;
        let set = self.confined(set, output)?;
        let sql: String = set.migrations.iter().map(|one| one.up.sql()).collect();
        Ok(split(backend, &sql)
            .into_iter()
            .map(|range| sql[range].to_owned())
            .collect())
    }

    /// The migrations without what would change the server that the scratch database shares with
    /// others: refused, or left out and named.
    pub(super) fn confined(
        &self,
        set: MigrationSet,
        output: &Output,
    ) -> Result<MigrationSet, Failure> {
        let found = set.shared_statements();
        if found.is_empty() {
            return Ok(set);
        }
        if !self.skip_shared {
            return Err(Failure::findings(
                "the migrations would change the server of the scratch database; nothing was run",
                found.iter().map(SharedStatement::finding).collect(),
            ));
        }
        for one in &found {
            output.note(&format!(
                "left out at {}: it changes {}",
                one.place, one.what
            ));
        }
        Ok(set.without_shared_statements())
    }
}

impl Scratch {
    /// Makes an empty one on the server of `server`, or as a temporary file.
    pub(super) async fn make(
        server: &Database,
        args: &ScratchArgs,
        output: &Output,
    ) -> Result<Self, Failure> {
        let prelude = args.prelude(server.backend(), output)?;
        let shared = shared(server).await?;
        let directory = directory()?;
        let cancel = Cancel::new();
        crate::signals::watch(&cancel)
            .map_err(|error| Failure::unchanged(format!("signals can't be watched: {error}")))?;
        let mut this = Self {
            server: server.clone(),
            directory,
            made: None,
            cancel,
            prelude,
            shared,
        };
        match this.fresh().await {
            Ok(_) => Ok(this),
            Err(error) => {
                let _ = this.remove().await;
                Err(Failure::from(error).hint("--scratch-url names another server"))
            }
        }
    }

    /// The database.
    pub(super) fn db(&self) -> Database {
        let made = self.made.as_ref();
        made.map_or_else(|| self.server.clone(), |(_, db)| db.clone())
    }

    /// Does something with it and removes it, also when a signal ends that.
    pub(super) async fn with<T>(
        mut self,
        work: impl AsyncFnOnce(&mut Self) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let cancel = self.cancel.clone();
        let done = tokio::select! {
            biased;
            cause = cancel.cancelled() => Err(stopped(cause)),
            done = work(&mut self) => done,
        };
        let removed = self.remove().await;
        let value = done?;
        removed?;
        if shared(&self.server).await? != self.shared {
            let mut failure = Failure::unchanged(
                "while the migrations ran on the scratch database, what all databases of its server share \
                 has changed: roles, their settings or memberships, tablespaces, or the settings of its database",
            );
            failure.code = crate::exit::STUCK;
            return Err(failure
                .hint("look at it now; run this with --scratch-url on a server that nobody uses"));
        }
        Ok(value)
    }

    async fn remove(&mut self) -> Result<(), Failure> {
        let dropped = self.drop_made().await;
        std::fs::remove_dir_all(&self.directory).map_err(|error| {
            Failure::unchanged(format!(
                "the scratch directory {} can't be removed: {error}",
                self.directory.display()
            ))
        })?;
        Ok(dropped?)
    }

    async fn drop_made(&mut self) -> Result<(), StepError> {
        match self.made.take() {
            None => Ok(()),
            Some((copy, db)) => {
                if db.backend() == Backend::Sqlite {
                    db.close().await;
                }
                let file = copy.url().sqlite_path();
                copy.remove().await?;
                for path in file.iter().flat_map(|file| with_journals(file)) {
                    let _ = std::fs::remove_file(path);
                }
                Ok(())
            }
        }
    }
}

#[async_trait]
impl FreshDatabase for Scratch {
    async fn fresh(&mut self) -> Result<Database, StepError> {
        self.drop_made().await?;
        let copy = ScratchCopy::empty(&self.directory, &self.server).await?;
        let options = ConnectOptions {
            create: CreateMode::Create,
            ..ConnectOptions::default()
        };
        let db = Database::connect(copy.url(), &options)
            .await
            .map_err(|error| error.into_step_error("can't open the scratch database"));
        match db {
            Ok(db) => {
                self.made = Some((copy, db.clone()));
                for statement in &self.prelude {
                    db.execute(statement)
                        .await
                        .map_err(|error| error.into_step_error("the prelude failed"))?;
                }
                Ok(db)
            }
            Err(error) => {
                let _ = copy.remove().await;
                Err(error)
            }
        }
    }
}

/// The server that `--scratch-url` names.
pub(super) async fn server(url: &DatabaseUrl) -> Result<Database, Failure> {
    if url.backend() == Backend::Sqlite {
        return Ok(Database::unconnected(url, &ConnectOptions::default())
            .map_err(|error| error.into_step_error(format!("--scratch-url {url}")))?);
    }
    Database::connect(url, &ConnectOptions::default())
        .await
        .map_err(|error| Failure::from(error.into_step_error(format!("--scratch-url {url}"))))
}

fn stopped(cause: migrate_core::CancelCause) -> Failure {
    let mut failure = Failure::unchanged("stopped; the scratch database is removed");
    if let migrate_core::CancelCause::Signal(number) = cause {
        failure.code = u8::try_from(128 + number).unwrap_or(u8::MAX);
    }
    failure
}

fn with_journals(file: &Path) -> Vec<PathBuf> {
    ["", "-wal", "-shm", "-journal"]
        .iter()
        .map(|end| {
            let mut name = file.as_os_str().to_owned();
            name.push(end);
            PathBuf::from(name)
        })
        .collect()
}

/// A private directory of this process.
fn directory() -> Result<PathBuf, Failure> {
    let parent = std::env::temp_dir();
    remove_leftovers(&parent);
    let path = parent.join(format!("{DIRECTORY}{}", std::process::id()));
    std::fs::DirBuilder::new()
        .mode(0o700)
        .create(&path)
        .map_err(|error| Failure::unchanged(format!("{}: {error}", path.display())))?;
    Ok(path)
}

/// What killed runs of this host left.
fn remove_leftovers(parent: &Path) {
    for entry in std::fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid = name
            .to_str()
            .and_then(|name| name.strip_prefix(DIRECTORY))
            .and_then(|pid| pid.parse::<i32>().ok());
        if pid.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}
