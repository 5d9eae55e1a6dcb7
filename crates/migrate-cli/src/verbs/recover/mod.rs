//! `restore` and `emergency-rollback`: a backup is brought back, whatever is there.

mod choose;
mod scene;

use clap::Args;
use migrate_core::{Cancel, MigrationError, OnDifference};
use migrate_rollback::Stored;
use migrate_rollback::recovery::{Order, SafetyCopy};

use crate::args::Global;
use crate::deployment::Deployment;
use crate::environment;
use crate::exit;
use crate::failure::Failure;
use crate::report::Output;
use crate::verbs::{backup, migrate, next};

use scene::Scene;

/// Which backup.
#[derive(Debug, Args)]
pub(crate) struct RestoreArgs {
    /// `YYYYMMDD_HHMMSS`, or a file's name in `backups/`; see `backup list`.
    backup: String,
    /// Agree that what is not in the backup is lost.
    #[arg(long)]
    accept_data_loss: bool,
    /// Keep a result that is not what the backup was made of, and report what differs.
    #[arg(long)]
    accept_difference: bool,
}

/// Where to go back to.
#[derive(Debug, Args)]
pub(crate) struct EmergencyArgs {
    /// The version to go back to.
    #[arg(long, value_name = "VERSION")]
    version: String,
    /// The backup to restore; the newest of the version without this.
    #[arg(long, value_name = "YYYYMMDD_HHMMSS")]
    backup_date: Option<String>,
    /// Keep a result that is not what the backup was made of, and report what differs.
    #[arg(long)]
    accept_difference: bool,
}

/// `restore BACKUP`.
pub(crate) async fn restore(
    global: &Global,
    args: &RestoreArgs,
    output: &Output,
) -> Result<u8, Failure> {
    let deployment = Deployment::open(global)?;
    let inventory = backup::read(&deployment)?;
    let stored = inventory
        .find(&args.backup)
        .ok_or_else(|| backup::unknown(&args.backup, &inventory))?;
    let order = Order {
        backup: stored.clone(),
        version: None,
        safety: safety(global),
        on_difference: on_difference(args.accept_difference),
        signatures: crate::wire::signatures(global),
        copies: crate::wire::copies(global),
        command: next::line(
            global,
            &format!(
                "restore {} --accept-data-loss{}{}",
                args.backup,
                if args.accept_difference {
                    ACCEPT_DIFFERENCE
                } else {
                    ""
                },
                skipped(global)
            ),
        ),
    };
    let scene = Scene::look(global, deployment, order).await?;
    output.scene(&scene.told("RESTORE"));
    if scene.loses_something() && !args.accept_data_loss {
        let lost = scene.lost.clone().unwrap_or_default();
        let failure = Failure::refused(
            "refused: this restore would lose what is in the database and not in the backup",
        );
        return Err(Failure {
            findings: lost,
            ..failure.hint("agree with --accept-data-loss")
        });
    }
    environment::confirm(global, output, &format!("restoring {}", args.backup))?;
    carry_out(global, output, scene).await
}

/// `emergency-rollback --version V`.
pub(crate) async fn emergency(
    global: &Global,
    args: &EmergencyArgs,
    output: &Output,
) -> Result<u8, Failure> {
    let version = migrate::version(&args.version, "--version")?;
    let deployment = Deployment::open(global)?;
    let inventory = backup::read(&deployment)?;
    let (stored, note) = choose::backup(&inventory, &version, args.backup_date.as_deref())?;
    let mut line = format!(
        "emergency-rollback --version {version} --backup-date {}",
        stored.id()
    );
    if args.accept_difference {
        line.push_str(ACCEPT_DIFFERENCE);
    }
    line.push_str(&skipped(global));
    let order = Order {
        backup: stored.clone(),
        version: Some(version.clone()),
        safety: safety(global),
        on_difference: on_difference(args.accept_difference),
        signatures: crate::wire::signatures(global),
        copies: crate::wire::copies(global),
        command: next::line(global, &line),
    };
    let mut scene = Scene::look(global, deployment, order)
        .await
        .map_err(|failure| choose::with_others(failure, &inventory, stored))?;
    scene.notes.extend(note);
    output.scene(&scene.told(&format!("EMERGENCY ROLLBACK to {version}")));
    environment::confirm(global, output, &format!("going back to {version}"))?;
    if !global.yes {
        output.typed_word(
            "this replaces the database and the config file",
            &version.to_string(),
        )?;
    }
    carry_out(global, output, scene).await
}

/// As it is printed in a command that repeats what was asked for.
const ACCEPT_DIFFERENCE: &str = " --accept-difference";

fn on_difference(accepted: bool) -> OnDifference {
    if accepted {
        OnDifference::Accept
    } else {
        OnDifference::RollBack
    }
}

fn safety(global: &Global) -> SafetyCopy {
    if skips(global, "safety-copy") {
        SafetyCopy::Skip
    } else {
        SafetyCopy::Make
    }
}

fn skipped(global: &Global) -> String {
    let names = global.skip_check.iter();
    let flags: Vec<String> = names.map(|name| format!(" --skip-check {name}")).collect();
    flags.concat()
}

fn skips(global: &Global, name: &str) -> bool {
    global.skip_check.iter().any(|skipped| skipped == name)
}

async fn carry_out(global: &Global, output: &Output, scene: Scene) -> Result<u8, Failure> {
    let recovery = crate::wire::recovery(
        global,
        &scene.deployment,
        &scene.url,
        &scene.place,
        output.reporter(),
    )?;
    let Scene { place, order, .. } = scene;
    let done = Box::pin(recovery.run(place, &order, &Cancel::new())).await;
    output.done_with_progress();
    match done {
        Ok(done) => {
            output.recovered(&order, &done, global);
            Ok(exit::DONE)
        }
        Err(error) => {
            let stuck = matches!(error, MigrationError::Stuck { .. });
            let mut failure = Failure::of(error, None);
            if stuck {
                failure.hint = Some(format!(
                    "mend what failed, then the same again completes it: {}",
                    order.command
                ));
            } else if failure.code == exit::UNCHANGED {
                failure.message.push_str("\nnothing was changed");
            }
            Err(failure)
        }
    }
}

/// How `status` and every run hear of one that is not finished.
pub(crate) fn unfinished(
    deployment: &Deployment,
) -> Result<Option<migrate_rollback::recovery::Unfinished>, Failure> {
    let root = migrate_config::Root::open(&deployment.root)
        .map_err(|error| Failure::unchanged(error.to_string()))?;
    Ok(migrate_rollback::recovery::Unfinished::read(&root)?)
}

/// Nothing else may begin before it is completed.
pub(crate) fn refuse_unfinished(deployment: &Deployment) -> Result<(), Failure> {
    match unfinished(deployment)? {
        None => Ok(()),
        Some(record) => Err(Failure {
            code: exit::OPEN_RUN,
            ..Failure::unchanged(format!(
                "a restore of backup {} began {} and is not finished",
                record.backup,
                record.started_at.format("%Y-%m-%d %H:%M:%S UTC")
            ))
            .hint(format!("next: {}", record.command))
        }),
    }
}

/// A line about a backup.
pub(crate) fn about(stored: &Stored) -> String {
    let version = match stored.version() {
        Some(version) => format!("of {version}"),
        None if stored.is_safety_copy() => "a safety copy".to_owned(),
        None => "its version is not recorded".to_owned(),
    };
    let age = chrono::Utc::now() - stored.made();
    let age = migrate_core::duration::human(age.to_std().unwrap_or_default());
    format!(
        "{} ({version}), made {}, {age} ago, {}: {}",
        stored.id(),
        stored.made().format("%Y-%m-%d %H:%M:%S UTC"),
        migrate_rollback::backup::human_bytes(stored.bytes()),
        stored.file()
    )
}
