//! A plan, resolved: what each step would do, whether it can be undone.

use std::sync::Arc;

use migrate_core::{MigrationError, Scripts, Undoable};
use serde_json::json;

use crate::args::{Global, PathArgs};
use crate::exit;
use crate::failure::Failure;
use crate::plans::Migrations;
use crate::report::Output;
use crate::verbs::migrate;
use crate::wire::Wired;

/// `plan --from A --to B`.
pub(crate) fn run(global: &Global, args: &PathArgs, output: &Output) -> Result<u8, Failure> {
    let from = migrate::version(&args.from, "--from")?;
    let to = migrate::version(&args.to, "--to")?;
    let deployment = crate::deployment::Deployment::open(global)?;
    let migrations = Migrations::find(&deployment.root, global.migrations.as_deref())?;
    let chain = migrations.path(&from, &to)?;
    let wired = Wired::unconnected(global)?;
    let scripts: Arc<dyn Scripts> = Arc::new(migrations.clone());
    let registry = wired.registry(&scripts);
    let mut documents = Vec::new();
    for hop in &chain {
        let loaded = migrations.load_with(hop, Some(&registry))?;
        let steps = registry
            .build_all(&loaded.plan, "steps", &loaded.plan.steps)
            .map_err(|found| Failure::of(MigrationError::Plan(found), Some(&loaded.located)))?;
        let described: Vec<_> = loaded
            .plan
            .steps
            .iter()
            .zip(&steps)
            .map(|(spec, step)| (spec, step.describe()))
            .collect();
        let point_of_no_return = described
            .iter()
            .find(|(spec, about)| {
                !about.deferred && (about.undo == Undoable::No || !spec.can_rollback)
            })
            .map(|(spec, _)| spec.id.clone());
        documents.push(json!({
            "origin": loaded.origin,
            "sha256": loaded.sha256,
            "plan": loaded.plan,
            "steps": described.iter().map(|(spec, about)| json!({
                "id": spec.id,
                "kind": spec.step_type,
                "title": about.title,
                "undo": about.undo,
                "deferred": about.deferred,
                "runs_commands": about.runs_commands,
                "scope": about.scope,
                "actions": about.actions,
                "scripts": about.inputs.iter().map(|(name, _)| name).collect::<Vec<_>>(),
            })).collect::<Vec<_>>(),
            "point_of_no_return": point_of_no_return,
        }));
    }
    output.plans(&documents);
    Ok(exit::DONE)
}
