//! Looks at everything that decides a migration, and writes nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use migrate_core::executor::RunEnd;
use migrate_core::{
    Cancel, MigrationError, MigrationExecutor, RunOptions, ScopeObject, Scripts, StepPreview,
    StepType, Undoable, Version,
};
use migrate_schema::catalog::{self, Catalog};
use serde_json::Value;

use super::{
    ConfigState, Contract, Expected, ExpectedStep, Hop, PlanFile, ResolvedStep, TableSize,
};
use crate::args::Global;
use crate::deployment::CONFIG_FILE;
use crate::environment;
use crate::failure::Failure;
use crate::plans::{Kept, LoadedPlan, Migrations, Recorded, sha256};
use crate::report::Output;
use crate::wire::{Access, Wired};

/// Resolves the chain between two versions on a deployment. Read-only.
pub(crate) async fn resolve(
    global: &Global,
    output: &Output,
    wired: &Wired,
    from: &Version,
    to: &Version,
) -> Result<PlanFile, Failure> {
    let (contract, loaded) = contract_now(global, wired, from, to).await?;
    let expected = expected(global, output, wired, &loaded, &contract).await?;
    let made_at = migrate_core::Clock::now(&crate::clock::SystemClock);
    Ok(PlanFile::new(contract, expected, made_at))
}

/// What is compared, without what only informs, and the plans it was made of. Read-only.
pub(crate) async fn contract_now(
    global: &Global,
    wired: &Wired,
    from: &Version,
    to: &Version,
) -> Result<(Contract, Vec<LoadedPlan>), Failure> {
    let (hops, loaded) = hops(global, wired, from, to)?;
    let catalog = Catalog::read(&wired.db).await.map_err(|error| {
        Failure::from(error.into_step_error("can't read the schema of the database"))
    })?;
    let schema = catalog.objects().clone();
    let config = files_of(&hops)
        .into_iter()
        .map(|path| Ok((path.clone(), config_state(wired, &path)?)))
        .collect::<Result<BTreeMap<_, _>, Failure>>()?;
    let contract = Contract {
        tool_version: wired.identity.tool_version.clone(),
        environment: global.env.clone(),
        from: from.clone(),
        to: to.clone(),
        database: wired.identity.database.clone(),
        services: wired.deployment.services_as_written()?,
        hops,
        config,
        schema_sha256: sha256(&serde_json::to_string(&schema).unwrap_or_default()),
        schema,
    };
    Ok((contract, loaded))
}

/// The chain of plans between two versions, resolved without a look at the deployment.
pub(crate) fn hops(
    global: &Global,
    wired: &Wired,
    from: &Version,
    to: &Version,
) -> Result<(Vec<Hop>, Vec<LoadedPlan>), Failure> {
    let migrations = Migrations::find(&wired.deployment.root, global.migrations.as_deref())?;
    let scripts: Arc<dyn Scripts> = Arc::new(migrations.clone());
    let registry = wired.registry(&scripts);
    let mut hops = Vec::new();
    let mut all = Vec::new();
    for edge in migrations.path(from, to)? {
        let mut loaded = migrations.load_with(&edge, Some(&registry))?;
        environment::add_checks(global, &mut loaded.plan)?;
        hops.push(hop_of(wired, &migrations, &loaded)?);
        all.push(loaded);
    }
    Ok((hops, all))
}

/// One plan, its scripts read and its steps built.
fn hop_of(wired: &Wired, migrations: &Migrations, loaded: &LoadedPlan) -> Result<Hop, Failure> {
    let recorded = Arc::new(Recorded::new(migrations.clone()));
    let scripts: Arc<dyn Scripts> = recorded.clone();
    let plan = &loaded.plan;
    let registry = wired.registry(&scripts);
    let refuse = |found| Failure::of(MigrationError::Plan(found), Some(&loaded.located));
    let steps = registry
        .build_all(plan, "steps", &plan.steps)
        .map_err(refuse)?;
    registry
        .build_all(plan, "rollback_steps", &plan.rollback_steps)
        .map_err(refuse)?;
    let resolved: Vec<ResolvedStep> = plan
        .steps
        .iter()
        .zip(&steps)
        .map(|(spec, step)| {
            let about = step.describe();
            ResolvedStep {
                id: spec.id.clone(),
                kind: kind_name(&spec.step_type),
                title: about.title,
                undo: if spec.can_rollback || about.undo == Undoable::NotNeeded {
                    about.undo
                } else {
                    Undoable::No
                },
                deferred: about.deferred,
                runs_commands: about.runs_commands,
                scope: about.scope,
                scripts: about.inputs.into_iter().map(|(name, _)| name).collect(),
                actions: about.actions,
            }
        })
        .collect();
    let point_of_no_return = resolved
        .iter()
        .find(|step| !step.deferred && step.undo == Undoable::No)
        .map(|step| step.id.clone());
    let scripts = recorded.scripts();
    Ok(Hop {
        origin: loaded.origin.clone(),
        sha256: loaded.sha256.clone(),
        plan: plan.clone(),
        script_sha256: scripts
            .iter()
            .map(|(name, script)| (name.clone(), sha256(&script.text)))
            .collect(),
        scripts,
        steps: resolved,
        point_of_no_return,
    })
}

fn kind_name(kind: &StepType) -> String {
    match serde_json::to_value(kind) {
        Ok(Value::String(name)) => name,
        _ => format!("{kind:?}"),
    }
}

fn files_of(hops: &[Hop]) -> Vec<String> {
    let mut files = vec![CONFIG_FILE.to_owned()];
    for step in hops.iter().flat_map(|hop| &hop.steps) {
        for object in &step.scope {
            if let ScopeObject::File(path) = object
                && !files.contains(path)
            {
                files.push(path.clone());
            }
        }
    }
    files
}

/// A config file's bytes and the hashes of its values.
fn config_state(wired: &Wired, path: &str) -> Result<ConfigState, Failure> {
    let bytes = wired.read_file(path)?;
    let Some(bytes) = bytes else {
        return Ok(ConfigState {
            sha256: None,
            keys: BTreeMap::new(),
        });
    };
    let mut keys = BTreeMap::new();
    if let Some(located) = std::str::from_utf8(&bytes)
        .ok()
        .and_then(|text| migrate_config::parse(path, text).ok())
    {
        leaves(&located.value, String::new(), &mut keys);
    }
    Ok(ConfigState {
        sha256: Some(migrate_config::atomic::sha256(&bytes)),
        keys,
    })
}

/// The scalars of a document by dotted path, each as a short hash.
fn leaves(value: &Value, path: String, out: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(map) => {
            for (key, below) in map {
                let path = if path.is_empty() {
                    key.clone()
                } else {
                    format!("{path}.{key}")
                };
                leaves(below, path, out);
            }
        }
        other => {
            let hash = sha256(&format!("{path}\0{other}"));
            out.insert(path, hash[..12].to_owned());
        }
    }
}

/// The first plan's dry run, and the sizes of the tables in scope.
async fn expected(
    global: &Global,
    output: &Output,
    wired: &Wired,
    loaded: &[LoadedPlan],
    contract: &Contract,
) -> Result<Expected, Failure> {
    let (Some(first), Some(hop)) = (loaded.first(), contract.hops.first()) else {
        return Ok(Expected::default());
    };
    let scripts: Arc<dyn Scripts> = Arc::new(Kept(hop.scripts.clone()));
    let plan = &first.plan;
    let executor = MigrationExecutor::new(
        &plan.from_version.to_string(),
        &plan.to_version.to_string(),
        true,
    )
    .with_registry(wired.registry(&scripts));
    let options = RunOptions {
        skip_checks: global.skip_check.clone(),
        identity: wired.identity.clone(),
        ..RunOptions::default()
    };
    let journal = wired.journal(Access::ReadOnly).await?;
    let executor = wired.executor(
        executor,
        &journal,
        options,
        output.reporter(),
        Cancel::new(),
    );
    let result = executor
        .execute_migration(plan)
        .await
        .map_err(|error| Failure::of(error, Some(&first.located)))?;
    if let RunEnd::AlreadyThere(why) = &result.end {
        return Err(Failure::unchanged(format!(
            "there is nothing to plan: the deployment is at {} already ({why})",
            plan.to_version
        )));
    }
    Ok(Expected {
        steps: result.previews.into_iter().map(expected_step).collect(),
        tables: sizes(wired, contract).await?,
        findings: result.findings,
    })
}

fn expected_step(step: StepPreview) -> ExpectedStep {
    ExpectedStep {
        id: step.step,
        already_done: step.already_done,
        config_diff: step.preview.diff,
        statements: step.preview.actions,
        rows: step.preview.rows,
        estimate: step.preview.estimate,
        notes: step.preview.notes,
    }
}

async fn sizes(wired: &Wired, contract: &Contract) -> Result<BTreeMap<String, TableSize>, Failure> {
    let scope: Vec<&ScopeObject> = contract
        .hops
        .iter()
        .flat_map(|hop| &hop.steps)
        .flat_map(|step| &step.scope)
        .collect();
    let whole = scope.contains(&&ScopeObject::Catalog);
    let named = |table: &migrate_schema::quote::TableName| {
        let (full, short) = (table.to_string(), table.table());
        scope.iter().any(
            |object| matches!(object, ScopeObject::Table(name) if *name == full || name == short),
        )
    };
    let failed = |error: migrate_schema::db::DbError| {
        Failure::from(error.into_step_error("can't tell how large the tables are"))
    };
    let mut sizes = BTreeMap::new();
    for table in catalog::user_tables(&wired.db).await.map_err(failed)? {
        if whole || named(&table) {
            let size = TableSize {
                rows: catalog::row_estimate(&wired.db, &table)
                    .await
                    .map_err(failed)?,
                bytes: catalog::table_bytes(&wired.db, &table)
                    .await
                    .map_err(failed)?,
            };
            sizes.insert(table.to_string(), size);
        }
    }
    Ok(sizes)
}
