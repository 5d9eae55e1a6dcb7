//! What a restore is made of: it works also where there is no database.

use std::sync::Arc;

use migrate_core::Reporter;
use migrate_rollback::Recovery;
use migrate_rollback::recovery::Place;
use migrate_schema::db::DatabaseUrl;

use crate::args::Global;
use crate::deployment::Deployment;
use crate::failure::Failure;

/// Everything but the database, which the restore makes where it is gone.
pub(crate) fn recovery(
    global: &Global,
    deployment: &Deployment,
    url: &DatabaseUrl,
    place: &Place,
    reporter: Arc<dyn Reporter>,
) -> Result<Recovery, Failure> {
    let db = match place {
        Place::Open(database) => Some(database.clone()),
        Place::Missing(_) | Place::Broken(_) => None,
    };
    let services = super::services(global, deployment, url, db)?;
    Ok(Recovery::new(
        &deployment.root,
        url.clone(),
        Arc::new(services),
        reporter,
        deployment.settings.backup.jobs,
    ))
}
