//! Backups apart from a run: make, list, verify.

use clap::{Args, Subcommand};
use migrate_core::{Cancel, DeploymentVersion, RunGuard as _, RunId, Version};
use migrate_rollback::{Inventory, Purpose, RollbackManager, Stored};
use serde_json::{Value, json};

use crate::args::Global;
use crate::deployment::Deployment;
use crate::exit;
use crate::failure::Failure;
use crate::report::Output;
use crate::verbs::migrate;
use crate::wire::{Access, Wired};

/// `backup` makes one; its verbs look at those that there are.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct BackupArgs {
    #[command(subcommand)]
    verb: Option<BackupVerb>,
    /// The version that the deployment is at; needed where no run of this tool tells.
    #[arg(long, value_name = "VERSION")]
    version: Option<String>,
}

/// What can be done with backups.
#[derive(Debug, Subcommand)]
enum BackupVerb {
    /// Every backup in `backups/`, oldest first.
    List,
    /// Restore a backup into a scratch database or file, and compare it with what it was made of.
    Verify {
        /// `YYYYMMDD_HHMMSS`, or a file's name in `backups/`; the newest without this.
        backup: Option<String>,
    },
}

/// `backup [list | verify]`.
pub(crate) async fn run(
    global: &Global,
    args: &BackupArgs,
    output: &Output,
) -> Result<u8, Failure> {
    match &args.verb {
        None => make(global, args.version.as_deref(), output).await,
        Some(BackupVerb::List) => list(global, output),
        Some(BackupVerb::Verify { backup }) => verify(global, backup.as_deref(), output).await,
    }
}

async fn make(global: &Global, version: Option<&str>, output: &Output) -> Result<u8, Failure> {
    let cancel = Cancel::new();
    crate::signals::watch(&cancel)
        .map_err(|error| Failure::unchanged(format!("signals can't be watched: {error}")))?;
    let wired = Wired::open(global).await?;
    output.database(&wired);
    let version = match version {
        Some(text) => migrate::version(text, "--version")?,
        None => known_version(&wired).await?,
    };
    let journal = wired.journal(Access::Write).await?;
    let guard = wired.guard(&journal);
    guard.acquire(&RunId::fresh(chrono::Utc::now())).await?;
    let manager = wired.manager();
    let made = manager
        .create_copy(&version, Purpose::GoBack, &cancel)
        .await;
    let removed = match &made {
        Ok(_) => prune(&wired, &manager).await,
        Err(_) => Ok(Vec::new()),
    };
    guard.release().await;
    let point = made?;
    output.backup_made(&Stored::Point(Box::new(point)), &removed?);
    Ok(exit::DONE)
}

/// Removes what the settings keep no longer; the files that went.
pub(crate) async fn prune(
    wired: &Wired,
    manager: &RollbackManager,
) -> Result<Vec<String>, Failure> {
    let runs = crate::wire::runs(&wired.deployment).await?;
    let needed = migrate_rollback::retention::needed_by(&runs);
    let retention = wired.deployment.settings.backup.retention();
    Ok(manager.remove_old(&retention, &needed)?)
}

/// The same after a migration, which is done whether or not this works.
pub(crate) async fn forget_old(output: &Output, wired: &Wired) {
    match prune(wired, &wired.manager()).await {
        Ok(files) => {
            for file in files {
                output.note(&format!("      {file} is kept no longer"));
            }
        }
        Err(failure) => output.note(&format!("      old backups were not removed: {failure}")),
    }
}

async fn known_version(wired: &Wired) -> Result<Version, Failure> {
    let looks_like = match wired.version().await? {
        DeploymentVersion::Exact(version, _) => return Ok(version),
        DeploymentVersion::Major(major, why) => format!("it looks like {major}.x: {why}"),
        DeploymentVersion::Mixed(why) => format!("parts of it differ: {}", why.join("; ")),
        DeploymentVersion::Unknown => "nothing tells it".to_owned(),
    };
    Err(Failure::usage(format!(
        "the deployment's version is not known from a run of this tool ({looks_like})"
    ))
    .hint("say which version this is a backup of: `etlrs-migrate backup --version 1.5.0`"))
}

fn list(global: &Global, output: &Output) -> Result<u8, Failure> {
    let deployment = Deployment::open(global)?;
    let inventory = read(&deployment)?;
    let rows: Vec<Value> = inventory
        .backups
        .iter()
        .map(|stored| row(&deployment, stored))
        .collect();
    output.backups(&rows, &inventory.problems);
    Ok(exit::DONE)
}

/// All backups of a deployment.
pub(crate) fn read(deployment: &Deployment) -> Result<Inventory, Failure> {
    let root = migrate_config::Root::open(&deployment.root)
        .map_err(|error| Failure::unchanged(error.to_string()))?;
    Ok(Inventory::read(&root)?)
}

fn row(deployment: &Deployment, stored: &Stored) -> Value {
    let there = deployment.root.join(stored.file()).exists();
    let kind = match stored {
        _ if stored.is_safety_copy() => "safety",
        Stored::Point(point) if point.run.is_some() => "rollback-point",
        Stored::Point(_) => "backup",
        Stored::Bare(_) => "file",
    };
    let before = match stored {
        Stored::Point(point) if stored.is_safety_copy() => Some(point.version.to_string()),
        _ => None,
    };
    json!({
        "id": stored.id(),
        "version": stored.version(),
        "kind": kind,
        "before_going_back_to": before,
        "made_at": stored.made().to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
        "bytes": stored.bytes(),
        "file": stored.file(),
        "there": there,
    })
}

async fn verify(global: &Global, name: Option<&str>, output: &Output) -> Result<u8, Failure> {
    let deployment = Deployment::open(global)?;
    let inventory = read(&deployment)?;
    let stored = match name {
        Some(name) => inventory
            .find(name)
            .ok_or_else(|| unknown(name, &inventory))?,
        None => inventory
            .backups
            .iter()
            .max_by_key(|stored| (stored.made(), stored.id()))
            .ok_or_else(none_at_all)?,
    };
    let wired = Wired::open(global).await?;
    output.database(&wired);
    output.note(&format!(
        "restoring {} into a scratch database",
        stored.file()
    ));
    match wired.manager().verify_stored(stored).await {
        Ok(message) => {
            output.verified(stored, &message);
            Ok(exit::DONE)
        }
        Err(error) => Err(Failure {
            code: exit::DIFFERENT,
            ..Failure::from(error)
        }),
    }
}

fn none_at_all() -> Failure {
    Failure::unchanged("there is no backup in backups/")
        .hint("make one with `etlrs-migrate backup --version VERSION`")
}

/// The failure of a name that no backup has; those that there are.
pub(crate) fn unknown(name: &str, inventory: &Inventory) -> Failure {
    if inventory.backups.is_empty() {
        return none_at_all();
    }
    let ids: Vec<&str> = inventory.backups.iter().map(Stored::id).collect();
    Failure::unchanged(format!("there is no backup {name} in backups/"))
        .hint(format!("there are: {}", ids.join(", ")))
}
