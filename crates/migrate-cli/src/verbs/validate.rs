//! The checks of a plan, made now.

use migrate_core::{Cancel, CheckPhase, CheckRunner, DeploymentVersion, Hop, Version, check_value};
use serde_json::json;

use crate::args::{Global, ValidateArgs};
use crate::deployment::Deployment;
use crate::exit;
use crate::failure::Failure;
use crate::plans::Migrations;
use crate::report::Output;
use crate::verbs::migrate;
use crate::wire::Wired;

/// `validate --to V`.
pub(crate) async fn run(
    global: &Global,
    args: &ValidateArgs,
    output: &Output,
) -> Result<u8, Failure> {
    let deployment = Deployment::open(global)?;
    let to = match &args.to {
        Some(text) => migrate::version(text, "--to")?,
        None => last_target(&deployment).await?,
    };
    let migrations = Migrations::find(&deployment.root, global.migrations.as_deref())?;
    let graph = migrations.graph()?;
    let edges: Vec<_> = graph.edges().iter().filter(|edge| edge.to == to).collect();
    if edges.is_empty() {
        return Err(Failure::unchanged(format!("no plan leads to {to}")));
    }
    let wired = Wired::open(global).await?;
    let cancel = Cancel::new();
    let mut rows = Vec::new();
    let mut bad = false;
    for edge in edges {
        let hop = Hop {
            from: edge.from.lowest(),
            edge: edge.clone(),
        };
        let mut plan = migrations.load(&hop)?.plan;
        crate::environment::add_checks(global, &mut plan)?;
        for check in plan.validation_checks {
            if check.phase == CheckPhase::Pre {
                continue;
            }
            let found = wired.db.query(&check.query, &cancel).await;
            let passed = matches!(&found, Ok(found)
                if check_value::matches(&check.expected_result, found));
            bad |= !passed && check.critical;
            rows.push(json!({
                "name": check.name,
                "passed": passed,
                "critical": check.critical,
                "expected": check.expected_result,
                "error": found.as_ref().err().map(ToString::to_string),
                "found": found.ok(),
            }));
        }
    }
    output.checks(&rows);
    if bad && let Some(at) = other_version(&wired, &to).await {
        output.note(&format!(
            "these are the checks of {to}, and the deployment is at {at}: an upgrade makes them at its end"
        ));
    }
    Ok(if bad { exit::DIFFERENT } else { exit::DONE })
}

/// The version that the deployment is at, where that is another than `to`.
async fn other_version(wired: &Wired, to: &Version) -> Option<String> {
    match wired.version().await.ok()? {
        DeploymentVersion::Exact(at, _) => (at != *to).then(|| at.to_string()),
        DeploymentVersion::Major(major, _) => (major != to.major()).then(|| format!("{major}.x")),
        _ => None,
    }
}

async fn last_target(deployment: &Deployment) -> Result<Version, Failure> {
    crate::wire::runs(deployment)
        .await?
        .last()
        .map(|log| log.header.plan.to_version.clone())
        .ok_or_else(|| Failure::usage("--to VERSION is missing, and no run tells which"))
}
