//! What a run that nothing proves would do, and what of it may not be done.

use std::path::Path;
use std::sync::Arc;

use migrate_core::{
    Finding, Hop, MigrationPlan, Record, RunLog, ScopeObject, Scripts, Step, StepId,
};
use migrate_rollback::{Inventory, RollbackPoint, Stored};
use serde_json::Value;

use crate::args::Global;
use crate::environment;
use crate::failure::Failure;
use crate::plans::{Kept, Migrations};
use crate::verbs::resume;
use crate::wire::Wired;

/// Everything that a run would do, a line each.
pub(crate) fn in_full(wired: &Wired, log: &RunLog) -> Vec<String> {
    let header = &log.header;
    let plan = &header.plan;
    let mut lines = vec![format!(
        "run {} from {} to {}, begun {} by {}@{}, {} records; it would run:",
        header.run,
        plan.from_version,
        plan.to_version,
        header.started_at.format("%Y-%m-%d %H:%M:%S UTC"),
        header.user,
        header.host,
        log.records.len()
    )];
    match steps(wired, log) {
        Ok(steps) => {
            for (id, step) in &steps {
                let about = step.describe();
                lines.push(format!("  step {id}: {}", about.title));
                lines.extend(about.actions.iter().map(|action| format!("    {action}")));
            }
        }
        Err(findings) => lines.extend(findings.iter().map(|one| format!("  {}", in_one_line(one)))),
    }
    for (name, script) in &header.scripts {
        lines.push(format!("  script {name}:"));
        lines.extend(script.text.lines().map(|line| format!("    {line}")));
    }
    lines
}

/// A finding without the line break before its hint.
pub(crate) fn in_one_line(finding: &Finding) -> String {
    let text = finding.to_string();
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    lines.join("; ")
}

/// A step with its id.
type Built = (StepId, Box<dyn Step>);

/// The steps of a run, and those of its rollback, built with the scripts that it brought.
fn steps(wired: &Wired, log: &RunLog) -> Result<Vec<Built>, Vec<Finding>> {
    let scripts: Arc<dyn Scripts> = Arc::new(Kept(log.header.scripts.clone()));
    let registry = wired.registry(&scripts);
    let plan = &log.header.plan;
    let mut all = Vec::new();
    for (name, specs) in [
        ("steps", &plan.steps),
        ("rollback_steps", &plan.rollback_steps),
    ] {
        let built = registry.build_all(plan, name, specs)?;
        all.extend(specs.iter().map(|spec| spec.id.clone()).zip(built));
    }
    Ok(all)
}

/// Why a run can't be taken up on somebody's word.
pub(crate) fn blockers(global: &Global, wired: &Wired, log: &RunLog) -> Vec<Finding> {
    let mut found = Vec::new();
    match Migrations::find(&wired.deployment.root, global.migrations.as_deref()) {
        Ok(migrations) => {
            other_scripts(&migrations, log, &mut found);
            if let Err(failure) = same_plan(global, &migrations, &log.header.plan) {
                found.push(refuse("plan", failure.to_string()));
            }
        }
        Err(failure) => found.push(refuse("plan", failure.to_string())),
    }
    match steps(wired, log) {
        Ok(steps) => refuse_steps(wired, log, &steps, &mut found),
        Err(findings) => found.extend(findings),
    }
    found
}

/// What of the steps and of what they left is none of ours.
fn refuse_steps(
    wired: &Wired,
    log: &RunLog,
    steps: &[(StepId, Box<dyn Step>)],
    found: &mut Vec<Finding>,
) {
    for (id, step) in steps {
        if step.describe().runs_commands {
            found.push(refuse(
                "command",
                format!("step {id} runs commands, which only a signed log may"),
            ));
        }
    }
    for (_, record) in &log.records {
        match record {
            Record::StepStarted { step, receipt }
            | Record::RollbackStepStarted { step, receipt } => {
                let scope = steps.iter().find(|(id, _)| id == step);
                let scope = scope.map_or_else(Vec::new, |(_, step)| step.describe().scope);
                if let Some(why) = strange(&receipt.0, &scope) {
                    found.push(refuse(
                        "receipt",
                        format!("the receipt of step {step}: {why}"),
                    ));
                }
            }
            Record::PointCreated { point } if !is_stored(wired, point) => {
                found.push(refuse(
                    "point",
                    "its rollback point is none of those in backups/".to_owned(),
                ));
            }
            _ => {}
        }
    }
}

fn refuse(what: &str, message: String) -> Finding {
    Finding::error(&format!("unverified.{what}"), message)
}

fn other_scripts(migrations: &Migrations, log: &RunLog, found: &mut Vec<Finding>) {
    for (name, kept) in &log.header.scripts {
        match migrations.read(name) {
            Ok(own) if own.text == kept.text => {}
            Ok(own) => found.push(refuse(
                "script",
                format!("its script {name} is not {}", own.origin),
            )),
            Err(_) => found.push(refuse(
                "script",
                format!("its script {name} is neither on disk nor embedded"),
            )),
        }
    }
}

fn same_plan(
    global: &Global,
    migrations: &Migrations,
    plan: &MigrationPlan,
) -> Result<(), Failure> {
    let graph = migrations.graph()?;
    let edge = graph.edge(&plan.from_version, &plan.to_version);
    let Some(edge) = edge else {
        return Err(Failure::unchanged(format!(
            "there is no plan from {} to {} on disk or embedded",
            plan.from_version, plan.to_version
        )));
    };
    let mut own = migrations.load(&Hop {
        from: plan.from_version.clone(),
        edge: edge.clone(),
    })?;
    environment::add_checks(global, &mut own.plan)?;
    if resume::same_work(&own.plan, plan) {
        Ok(())
    } else {
        Err(Failure::unchanged(format!(
            "its plan is not {}",
            own.origin
        )))
    }
}

/// Why a receipt is none that a step of ours writes: it names other files, or its texts could be
/// more than names.
fn strange(receipt: &Value, scope: &[ScopeObject]) -> Option<String> {
    if let Some(file) = receipt.get("file").and_then(Value::as_str) {
        let own = ScopeObject::File(file.to_owned());
        if !scope.contains(&own) {
            return Some(format!("the file {file} is none of the step's"));
        }
    }
    if let Some(backup) = receipt.get("backup").and_then(Value::as_str)
        && (!backup.starts_with("backups/") || Path::new(backup).components().count() != 2)
    {
        return Some(format!("{backup} is not in backups/"));
    }
    texts(receipt)
        .find(|text| !is_name(text))
        .map(|text| format!("{text:?} is no name"))
}

fn texts(value: &Value) -> Box<dyn Iterator<Item = &str> + '_> {
    match value {
        Value::String(text) => Box::new(std::iter::once(text.as_str())),
        Value::Array(all) => Box::new(all.iter().flat_map(texts)),
        Value::Object(all) => Box::new(all.values().flat_map(texts)),
        _ => Box::new(std::iter::empty()),
    }
}

/// Names, types such as `numeric(10,2)` and `timestamp with time zone`, hashes, moments: nothing
/// with which a statement could be made into another.
fn is_name(text: &str) -> bool {
    let mut inside = false;
    text.chars().all(|c| match c {
        '(' | ')' => {
            let fits = inside == (c == ')');
            inside = c == '(';
            fits
        }
        _ if inside => c.is_ascii_digit() || c == ',' || c == ' ',
        _ => c.is_alphanumeric() || "_./ :+-,[]".contains(c),
    }) && !inside
        && !text.contains("--")
}

/// Whether a log's rollback point is the one that lies in `backups/`.
fn is_stored(wired: &Wired, point: &Value) -> bool {
    let Ok(point) = RollbackPoint::from_value(point) else {
        return false;
    };
    let inventory = migrate_config::Root::open(&wired.deployment.root)
        .ok()
        .and_then(|root| Inventory::read(&root).ok());
    inventory.is_some_and(|inventory| {
        let mut all = inventory.backups.iter();
        all.any(|stored| matches!(stored, Stored::Point(own) if **own == point))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_types_are_told_from_statements() {
        for (text, expected) in [
            ("public.pipelines", true),
            ("numeric(10,2)", true),
            ("timestamp(3) with time zone", true),
            ("text[]", true),
            ("2026-01-02T03:04:05.000000000+00:00", true),
            ("int) from x; drop table y", false),
            ("pg_read_file('/etc/passwd')", false),
            ("lo_import(path)", false),
            ("a\"b", false),
            ("a -- b", false),
            ("int)", false),
            ("int(", false),
            ("((1))", false),
        ] {
            assert_eq!(is_name(text), expected, "{text}");
        }
    }

    #[test]
    fn a_receipt_names_its_steps_own_file() {
        let scope = [ScopeObject::File("config/config.toml".to_owned())];
        let receipt =
            |file: &str, backup: &str| serde_json::json!({"file": file, "backup": backup});
        assert_eq!(
            strange(&receipt("config/config.toml", "backups/c.toml"), &scope),
            None
        );
        assert!(strange(&receipt("etlrs-migrate.toml", "backups/c.toml"), &scope).is_some());
        assert!(strange(&receipt("config/config.toml", "backups/../x"), &scope).is_some());
        assert!(strange(&serde_json::json!({"down": ["DROP x;"]}), &[]).is_some());
    }
}
