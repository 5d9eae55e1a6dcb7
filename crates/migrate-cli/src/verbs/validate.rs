//! The checks of a plan, made now.

use migrate_core::{Cancel, CheckPhase, CheckRunner, Hop, Version, check_value};
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
                "found": found.unwrap_or_else(|error| json!(error.to_string())),
            }));
        }
    }
    output.checks(&rows);
    Ok(if bad { exit::DIFFERENT } else { exit::DONE })
}

async fn last_target(deployment: &Deployment) -> Result<Version, Failure> {
    crate::wire::runs(deployment)
        .await?
        .last()
        .map(|log| log.header.plan.to_version.clone())
        .ok_or_else(|| Failure::usage("--to VERSION is missing, and no run tells which"))
}
