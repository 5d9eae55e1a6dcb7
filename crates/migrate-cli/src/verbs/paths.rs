//! The plans that exist, as a graph: where one can go, what is withdrawn, what must not be passed over.

use clap::Args;
use migrate_core::{Hop, PlanEdge, Version};
use serde_json::{Value, json};

use crate::args::Global;
use crate::deployment::Deployment;
use crate::exit;
use crate::failure::Failure;
use crate::plans::Migrations;
use crate::report::Output;
use crate::verbs::migrate;

/// From where, and to where.
#[derive(Debug, Args)]
pub(crate) struct PathsArgs {
    /// Only what can be reached from this version.
    #[arg(long, value_name = "VERSION")]
    pub(crate) from: Option<String>,
    /// The way to this version.
    #[arg(long, value_name = "VERSION", requires = "from")]
    pub(crate) to: Option<String>,
}

/// `paths [--from A [--to B]]`.
pub(crate) fn run(global: &Global, args: &PathsArgs, output: &Output) -> Result<u8, Failure> {
    let deployment = Deployment::open(global)?;
    let migrations = Migrations::find(&deployment.root, global.migrations.as_deref())?;
    let parsed = |text: &Option<String>, flag| {
        let text = text.as_deref();
        text.map(|text| migrate::version(text, flag)).transpose()
    };
    let (from, to) = (parsed(&args.from, "--from")?, parsed(&args.to, "--to")?);
    let graph = migrations.graph()?;
    let way = match (&from, &to) {
        (Some(from), Some(to)) => Some(migrations.path(from, to)?),
        _ => None,
    };
    let reachable = from.as_ref().map(|from| graph.reachable(from));
    let plans = graph
        .edges()
        .iter()
        .filter(|edge| match (&from, &reachable) {
            (Some(from), Some(versions)) => {
                edge.starts_at(from) || versions.iter().any(|version| edge.starts_at(version))
            }
            _ => true,
        });
    let document = json!({
        "format": 1,
        "plans": plans.map(|edge| plan(&migrations, edge)).collect::<Vec<_>>(),
        "mandatory_stops": graph.stops(),
        "reachable": reachable,
        "way": way.map(|hops| hops.iter().map(hop).collect::<Vec<_>>()),
    });
    output.paths(&document);
    Ok(exit::DONE)
}

fn plan(migrations: &Migrations, edge: &PlanEdge) -> Value {
    let at: Version = edge.from.lowest();
    let loaded = migrations.load(&Hop {
        from: at,
        edge: edge.clone(),
    });
    json!({
        "from": edge.from.to_string(),
        "to": edge.to,
        "file": edge.name,
        "type": loaded.as_ref().ok().map(|loaded| loaded.plan.migration_type),
        "withdrawn": edge.withdrawn,
        "mandatory_stop": edge.mandatory_stop,
        "problem": loaded.err().map(|failure| failure.to_string()),
    })
}

fn hop(hop: &Hop) -> Value {
    json!({ "from": hop.from, "to": hop.edge.to, "file": hop.edge.name })
}
