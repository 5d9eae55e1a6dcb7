//! The runs of a deployment: all in a line each, or one in full.

use clap::{Args, Subcommand};
use migrate_core::{Record, RunLog, RunState, StepId};
use serde_json::{Value, json};

use crate::args::Global;
use crate::deployment::Deployment;
use crate::exit;
use crate::failure::Failure;
use crate::plan_file;
use crate::report::Output;
use crate::verbs::status::phase_name;

/// All runs, or one.
#[derive(Debug, Args)]
pub(crate) struct HistoryArgs {
    #[command(subcommand)]
    verb: Option<HistoryVerb>,
}

#[derive(Debug, Subcommand)]
enum HistoryVerb {
    /// Everything that is known of one run.
    Show {
        /// The run, or how its name begins.
        #[arg(value_name = "RUN")]
        run: String,
    },
}

/// `history [show RUN]`.
pub(crate) async fn run(
    global: &Global,
    args: &HistoryArgs,
    output: &Output,
) -> Result<u8, Failure> {
    let deployment = Deployment::open(global)?;
    let logs = crate::wire::runs(&deployment).await?;
    match &args.verb {
        None => output.history(&logs.iter().map(line).collect::<Vec<_>>()),
        Some(HistoryVerb::Show { run }) => output.history_of_run(&in_full(find(&logs, run)?)),
    }
    Ok(exit::DONE)
}

fn find<'a>(logs: &'a [RunLog], name: &str) -> Result<&'a RunLog, Failure> {
    let mut fitting = logs
        .iter()
        .filter(|log| log.header.run.as_str().starts_with(name));
    match (fitting.next(), fitting.next()) {
        (Some(log), None) => Ok(log),
        (Some(_), Some(_)) => Err(Failure::unchanged(format!(
            "more than one run has a name that begins with {name}"
        ))),
        _ => Err(Failure::unchanged(format!("no run {name} is recorded"))
            .hint("`history` lists all runs")),
    }
}

fn line(log: &RunLog) -> Value {
    let header = &log.header;
    let phase = match RunState::replay(log) {
        Ok(state) => phase_name(&state),
        Err(error) => format!("unreadable: {error}"),
    };
    let way_back = log
        .records
        .iter()
        .rev()
        .find_map(|(_, record)| match record {
            Record::RollbackStarted {
                strategy,
                requested,
                ..
            } => Some(json!({
                "strategy": strategy,
                "asked_for": requested,
            })),
            _ => None,
        });
    let ended = log.records.last().map(|(at, _)| at.to_rfc3339());
    json!({
        "run": header.run.as_str(),
        "from": header.plan.from_version,
        "to": header.plan.to_version,
        "phase": phase,
        "way_back": way_back,
        "started_at": header.started_at.to_rfc3339(),
        "last_record_at": ended,
        "user": header.user,
        "host": header.host,
        "tool_version": header.tool_version,
        "plan_hash": header.inputs.get("plan"),
        "flags": header.flags,
    })
}

/// The head, what it adds up to, and every entry.
fn in_full(log: &RunLog) -> Value {
    let header = &log.header;
    let mut out = line(log);
    let flags = all_flags(log);
    let skipped: Vec<&str> = flags
        .iter()
        .filter_map(|flag| flag.strip_prefix("--skip-check "))
        .collect();
    let consents: Vec<&String> = flags.iter().filter(|flag| is_consent(flag)).collect();
    let steps = RunState::replay(log).map_or_else(|_| Vec::new(), |state| steps(log, &state));
    let more = json!({
        "format": 1,
        "pid": header.pid,
        "database": header.database,
        "plan_file_hash": header.inputs.get(plan_file::INPUT),
        "inputs": header.inputs,
        "skipped_checks": skipped,
        "consents": consents,
        "steps": steps,
        "records": log.records.iter().map(|(at, record)| json!({
            "at": at.to_rfc3339(),
            "what": in_words(record),
        })).collect::<Vec<_>>(),
    });
    if let (Value::Object(out), Value::Object(more)) = (&mut out, more) {
        out.extend(more);
        out["flags"] = json!(flags);
    }
    out
}

/// The flags that the run began with, and those of every process that took it up.
fn all_flags(log: &RunLog) -> Vec<String> {
    let mut flags = log.header.flags.clone();
    for (_, record) in &log.records {
        if let Record::Resumed { flags: later, .. } = record {
            flags.extend(later.iter().cloned());
        }
    }
    flags.dedup();
    flags
}

fn is_consent(flag: &str) -> bool {
    matches!(
        flag,
        "--yes" | "--allow-commands" | "--accept-data-loss" | "--no-backup" | "--adopt" | "apply"
    )
}

fn steps(log: &RunLog, state: &RunState) -> Vec<Value> {
    let began = |id: &StepId| {
        log.records.iter().find_map(|(at, record)| match record {
            Record::StepStarted { step, .. } if step == id => Some(at.to_rfc3339()),
            _ => None,
        })
    };
    state
        .steps
        .iter()
        .map(|step| {
            json!({
                "id": step.id,
                "status": step.status,
                "attempts": step.attempts,
                "started_at": began(&step.id),
                "duration_ms": step.duration_ms,
                "message": step.outcome.as_ref().map(|outcome| outcome.message.clone()),
                "figures": step.outcome.as_ref().map(|outcome| outcome.figures.clone()),
            })
        })
        .collect()
}

/// An entry as a line: its name, and what names its object or reason.
fn in_words(record: &Record) -> String {
    let value = serde_json::to_value(record).unwrap_or_default();
    let mut text = value["record"]
        .as_str()
        .unwrap_or_default()
        .replace('_', " ");
    for name in [
        "step", "strategy", "reason", "signal", "message", "user", "host", "pid",
    ] {
        match &value[name] {
            Value::Null => {}
            Value::String(more) => text.push_str(&format!(" {more}")),
            more => text.push_str(&format!(" {more}")),
        }
    }
    if let Some(message) = value["outcome"]["message"].as_str() {
        text.push_str(&format!(": {message}"));
    }
    if let Some(message) = value["error"]["message"].as_str() {
        text.push_str(&format!(": {message}"));
    }
    text
}
