//! Which version a deployment is at.

use std::path::Path;

use migrate_config::atomic::{self, FileError, Root};
use migrate_config::{Shape, detect};
use migrate_core::{DeploymentVersion, Phase, RunLog, RunState, StepError};
use migrate_schema::catalog;
use migrate_schema::db::{Database, DbError};
use migrate_schema::quote::TableName;

use crate::backup::files::CONFIG_FILE;

/// What the last run that came to an end left behind.
pub(super) fn by_journal(logs: &[RunLog]) -> Option<DeploymentVersion> {
    let ended = |log: &RunLog| {
        log.records
            .last()
            .map_or(log.header.started_at, |(at, _)| *at)
    };
    // Of a chain that is taken back, the run that began first ends last.
    let mut logs: Vec<&RunLog> = logs.iter().collect();
    logs.sort_by_key(|log| ended(log));
    logs.into_iter().rev().find_map(|log| {
        let plan = &log.header.plan;
        let phase = RunState::replay(log).ok()?.phase;
        let (version, how) = match phase {
            Phase::Completed => (&plan.to_version, "completed"),
            Phase::RolledBack => (&plan.from_version, "was rolled back"),
            _ => return None,
        };
        let when = ended(log);
        let why = format!(
            "run {} {how} at {}",
            log.header.run,
            when.format("%Y-%m-%d %H:%M:%S UTC")
        );
        Some(DeploymentVersion::Exact(version.clone(), why))
    })
}

/// What config and schema look like.
pub(super) async fn by_shape(
    root: &Root,
    database: &Database,
) -> Result<DeploymentVersion, StepError> {
    let config = config_shape(root)?;
    let schema = schema_shape(database)
        .await
        .map_err(|error| error.into_step_error("can't look at the schema's version"))?;
    Ok(combine(config.into_iter().chain(schema).collect()))
}

fn combine(parts: Vec<(u64, String)>) -> DeploymentVersion {
    let Some(&(major, _)) = parts.first() else {
        return DeploymentVersion::Unknown;
    };
    let one_version = parts.iter().all(|(other, _)| *other == major);
    let reasons: Vec<String> = parts.into_iter().map(|(_, why)| why).collect();
    if one_version {
        DeploymentVersion::Major(major, reasons.join("; "))
    } else {
        DeploymentVersion::Mixed(reasons)
    }
}

fn config_shape(root: &Root) -> Result<Option<(u64, String)>, StepError> {
    let path = Path::new(CONFIG_FILE);
    let bytes = atomic::read_optional(root, path).map_err(FileError::into_step_error)?;
    let Some(text) = bytes.and_then(|bytes| String::from_utf8(bytes).ok()) else {
        return Ok(None);
    };
    Ok(match detect(CONFIG_FILE, &text) {
        Shape::V1 => Some((1, format!("{CONFIG_FILE} has the keys of 1.x"))),
        Shape::V2 => Some((2, format!("{CONFIG_FILE} has the keys of 2.0"))),
        Shape::Neither(_) => None,
    })
}

async fn schema_shape(database: &Database) -> Result<Option<(u64, String)>, DbError> {
    let has = async |name: &str| -> Result<bool, DbError> {
        let table = TableName::new(None, name);
        Ok(!catalog::table_columns(database, &table).await?.is_empty())
    };
    if has("schema_versions").await? {
        let table = database
            .resolve(&TableName::new(None, "schema_versions"))
            .await?;
        let query = format!("SELECT coalesce(max(version), 0) FROM {}", table.sql());
        let highest = database.query_ours(&query).await?;
        let highest = highest.as_u64().unwrap_or(0);
        let why = format!("schema_versions says {highest}");
        // The schema's version is the product's major up to 2; later ones count on by themselves.
        return Ok((highest <= 2).then(|| (highest.max(1), why)));
    }
    if has("pipelines").await? {
        let why = "there is a table pipelines and no schema_versions".to_owned();
        return Ok(Some((1, why)));
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_that_agree_make_a_version() {
        let part = |major: u64| (major, format!("part {major}"));
        assert_eq!(combine(Vec::new()), DeploymentVersion::Unknown);
        assert!(matches!(
            combine(vec![part(2), part(2)]),
            DeploymentVersion::Major(2, _)
        ));
        assert!(
            matches!(combine(vec![part(1), part(2)]), DeploymentVersion::Mixed(why) if why.len() == 2)
        );
    }
}
