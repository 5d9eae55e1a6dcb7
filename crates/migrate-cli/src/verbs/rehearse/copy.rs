//! The copy that a rehearsal is played on: the files in scope, and a scratch database.

use std::path::{Path, PathBuf};

use migrate_config::Root;
use migrate_core::Cancel;
use migrate_rollback::{ScratchCopy, state_dir};
use migrate_schema::db::{Backend, ConnectOptions, Database, DatabaseUrl};

use super::{Into, into_of, mark};
use crate::args::Global;
use crate::failure::Failure;
use crate::plan_file::Contract;
use crate::wire::Wired;

/// A deployment of its own, without the services of the real one.
pub(super) struct Copy {
    root: PathBuf,
    database: ScratchCopy,
    /// What a command line on the copy would say.
    pub(super) global: Global,
}

impl Copy {
    /// Copies what the contract touches.
    pub(super) async fn make(
        global: &Global,
        wired: &Wired,
        contract: &Contract,
        into: Option<&str>,
        cancel: &Cancel,
    ) -> Result<Self, Failure> {
        let (directory, server) = place(wired, into).await?;
        mark::remove_leftovers(&directory);
        let root = directory.join(format!("{}{}", mark::PREFIX, std::process::id()));
        mark::make_private(&root)?;
        let made = async {
            copy_files(wired, contract, &root)?;
            ScratchCopy::make(&wired.db, &root, &contract.from, &server, cancel)
                .await
                .map_err(Failure::from)
        };
        match made.await {
            Ok(database) => Ok(Self {
                global: global_of(global, wired, &root, database.url()),
                root,
                database,
            }),
            Err(failure) => {
                let _ = std::fs::remove_dir_all(&root);
                Err(failure)
            }
        }
    }

    /// Removes all of it.
    pub(super) async fn remove(self) -> Result<(), Failure> {
        let dropped = self.database.remove().await;
        std::fs::remove_dir_all(&self.root).map_err(|error| {
            Failure::unchanged(format!(
                "the rehearsal's copy {} can't be removed: {error}",
                self.root.display()
            ))
        })?;
        Ok(dropped?)
    }
}

/// The directory that the copy is made in, and the server of its database.
async fn place(wired: &Wired, into: Option<&str>) -> Result<(PathBuf, Database), Failure> {
    let beside = || {
        state_dir::ensure(&wired.deployment.root)
            .map_err(|error| Failure::unchanged(format!("the state directory: {error}")))
    };
    match (into.map(into_of), wired.db.backend()) {
        (None, _) => Ok((beside()?, wired.db.clone())),
        (Some(Into::Directory(dir)), Backend::Sqlite) => {
            let dir = dir.canonicalize().map_err(|error| {
                Failure::unchanged(format!("--into {}: {error}", dir.display()))
            })?;
            Ok((dir, wired.db.clone()))
        }
        (Some(Into::Server(url)), Backend::Postgres) => Ok((beside()?, connect(&url).await?)),
        (Some(Into::Directory(_)), Backend::Postgres) => Err(Failure::usage(
            "--into must be a URL: this deployment is on PostgreSQL",
        )),
        (Some(Into::Server(_)), Backend::Sqlite) => Err(Failure::usage(
            "--into must be a directory: this deployment is on SQLite",
        )),
    }
}

async fn connect(url: &str) -> Result<Database, Failure> {
    let url: DatabaseUrl = url
        .parse()
        .map_err(|error| Failure::usage(format!("--into: {error}")))?;
    if url.backend() != Backend::Postgres {
        return Err(Failure::usage("--into must be a PostgreSQL URL"));
    }
    Database::connect(&url, &ConnectOptions::default())
        .await
        .map_err(|error| Failure::from(error.into_step_error(format!("--into {url}"))))
}

fn copy_files(wired: &Wired, contract: &Contract, root: &Path) -> Result<(), Failure> {
    let target = Root::open(root).map_err(|error| Failure::unchanged(error.to_string()))?;
    for path in contract.config.keys() {
        if let Some(bytes) = wired.read_file(path)? {
            migrate_config::atomic::write_atomic(&target, Path::new(path), &bytes)
                .map_err(|error| Failure::unchanged(error.to_string()))?;
        }
    }
    Ok(())
}

/// The copy has no settings of its own: no services, no environment, the same plans.
fn global_of(global: &Global, wired: &Wired, root: &Path, url: &DatabaseUrl) -> Global {
    let own = wired.deployment.root.join("migrations");
    let given = global.migrations.as_ref();
    let migrations = given.map(|dir| wired.deployment.root.join(dir));
    Global {
        root: root.to_owned(),
        database_url: Some(url.secret().to_owned()),
        migrations: migrations.or_else(|| own.is_dir().then_some(own)),
        env: None,
        environment: None,
        yes: true,
        allow_commands: wired.commands_allowed(),
        ..global.clone()
    }
}
