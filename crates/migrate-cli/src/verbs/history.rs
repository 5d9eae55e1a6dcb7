//! The runs of a deployment.

use migrate_core::RunState;
use serde_json::json;

use crate::args::Global;
use crate::deployment::Deployment;
use crate::exit;
use crate::failure::Failure;
use crate::report::Output;
use crate::verbs::status::phase_name;

/// `history`.
pub(crate) async fn run(global: &Global, output: &Output) -> Result<u8, Failure> {
    let deployment = Deployment::open(global)?;
    let mut rows = Vec::new();
    for log in crate::wire::runs(&deployment).await? {
        let header = &log.header;
        let phase = match RunState::replay(&log) {
            Ok(state) => phase_name(&state),
            Err(error) => format!("unreadable: {error}"),
        };
        let ended = log.records.last().map(|(at, _)| at.to_rfc3339());
        rows.push(json!({
            "run": header.run.as_str(),
            "from": header.plan.from_version,
            "to": header.plan.to_version,
            "phase": phase,
            "started_at": header.started_at.to_rfc3339(),
            "last_record_at": ended,
            "user": header.user,
            "host": header.host,
            "tool_version": header.tool_version,
            "flags": header.flags,
        }));
    }
    output.history(&rows);
    Ok(exit::DONE)
}
