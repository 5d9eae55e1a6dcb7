//! Deployments without a database: a client's crate whose `Cargo.toml` is raised has files alone.
//!
//! Runs keep their fence and their rollback point in a database, so such a deployment gets one
//! of its own in its state directory, on the first run of a plan that changes files only.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use migrate_core::MigrationPlan;
use migrate_rollback::state_dir;

use crate::args::Global;
use crate::deployment::{CONFIG_FILE, Deployment};
use crate::failure::Failure;
use crate::plans::LoadedPlan;
use crate::wire::Wired;

/// The kinds of steps that need no database of the deployment's.
const KINDS: [&str; 3] = ["ConfigUpdate", "Command", "Cleanup"];

/// Where its own one is.
pub(crate) fn database(root: &Path) -> PathBuf {
    state_dir::path(root).join("files-only.db")
}

/// Opens the deployment's database, or the one of a deployment that has none for plans that
/// change files only. A dry run works on one that is gone afterwards.
pub(crate) async fn open(
    global: &Global,
    deployment: &Deployment,
    plans: &[LoadedPlan],
    dry_run: bool,
) -> Result<(Wired, Option<tempfile::TempDir>), Failure> {
    let named = deployment.url(global).is_ok() || deployment.root.join(CONFIG_FILE).exists();
    if named || !plans.iter().all(|loaded| changes_files_only(&loaded.plan)) {
        return Ok((Wired::open(global).await?, None));
    }
    let failed = |error: std::io::Error| {
        Failure::unchanged(format!("{} can't be made: {error}", state_dir::STATE_DIR))
    };
    if dry_run {
        let aside = tempfile::tempdir().map_err(failed)?;
        let file = aside.path().join("files-only.db");
        make(&file).map_err(failed)?;
        let global = Global {
            database_url: Some(format!("sqlite:{}", file.display())),
            ..global.clone()
        };
        return Ok((Wired::open(&global).await?, Some(aside)));
    }
    state_dir::ensure(&deployment.root).map_err(failed)?;
    make(&database(&deployment.root)).map_err(failed)?;
    Ok((Wired::open(global).await?, None))
}

/// A file without a byte is a database without tables.
fn make(file: &Path) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    let options = options.write(true).create(true).truncate(false).mode(0o600);
    options.open(file).map(drop)
}

fn changes_files_only(plan: &MigrationPlan) -> bool {
    let steps = plan.steps.iter().chain(&plan.rollback_steps);
    plan.validation_checks.is_empty()
        && steps
            .into_iter()
            .all(|step| KINDS.contains(&step.step_type.name()))
}
