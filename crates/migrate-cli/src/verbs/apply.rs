//! Applying a plan file: exactly what stands in it, or nothing.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use migrate_core::{Cancel, MigrationExecutor, Phase, RunLog, RunOptions, RunState, Scripts};
use migrate_rollback::signing::PublicKey;

use crate::args::Global;
use crate::deadline::DeadlineArgs;
use crate::environment;
use crate::exit;
use crate::failure::Failure;
use crate::plan_file::{self, Extent, Hop, PlanFile, drift, signed};
use crate::plans::{Kept, LoadedPlan, sha256};
use crate::report::Output;
use crate::verbs::rehearse::certificate;
use crate::verbs::{migrate, next, resume};
use crate::wire::{Access, Wired};

/// Which file.
#[derive(Debug, Args)]
pub(crate) struct ApplyArgs {
    /// The plan file that `plan -o` wrote.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) time: DeadlineArgs,
}

/// `apply FILE`.
pub(crate) async fn run(global: &Global, args: &ApplyArgs, output: &Output) -> Result<u8, Failure> {
    let (file, signer) = PlanFile::read(&args.file, |document| {
        signed::require(global, &args.file, document)
    })?;
    let deadline = args.time.resolve()?;
    let contract = &file.contract;
    let cancel = Cancel::new();
    crate::signals::watch(&cancel)
        .map_err(|error| Failure::unchanged(format!("signals can't be watched: {error}")))?;
    let wired = Wired::open(global).await?;
    output.database(&wired);
    let runs = wired.journal(Access::ReadOnly).await?.runs().await?;
    environment::refuse_other(global, &runs)?;
    refuse_open_run(global, &runs)?;
    let done = hops_done(&runs, &file)?;
    if done == contract.hops.len() {
        output.already(&contract.to, "this plan file was applied");
        return Ok(exit::DONE);
    }
    let loaded = nothing_drifted(global, output, &wired, &file, done).await?;
    require_rehearsal(global, &wired, &file)?;
    refuse_commands(&wired, contract.hops.iter())?;
    let rehearsed = certificate::newest(&wired.deployment.root, &file.hash);
    if let Some(rehearsed) = &rehearsed {
        let estimate = rehearsed.rehearsal().estimate(&[]);
        output.estimate(&estimate, deadline.as_ref());
        output.predict(estimate);
    } else if let Some(deadline) = &deadline {
        let plans = contract.hops.iter().skip(done);
        let each = plans.map(|hop| migrate_core::estimate(&hop.plan, &[], &runs));
        if let Some(whole) = each.reduce(migrate_core::Estimate::then) {
            output.estimate(&whole, Some(deadline));
        }
    }
    if let Some(deadline) = &deadline {
        crate::deadline::watch(deadline, &cancel);
    }
    if let Some(signer) = &signer {
        output.note(&format!("signed   by {signer}"));
    }
    let began = std::time::Instant::now();
    for (hop, loaded) in contract.hops.iter().zip(&loaded).skip(done) {
        let by = signer.as_ref();
        one_hop(
            global,
            args,
            output,
            &wired,
            (&file, by),
            hop,
            loaded,
            &cancel,
        )
        .await?;
    }
    if let Some(rehearsed) = rehearsed {
        let predicted = std::time::Duration::from_millis(rehearsed.played.forward.duration_ms);
        let took = migrate_core::duration::human(began.elapsed());
        let predicted = migrate_core::duration::human(predicted);
        output.note(&format!("rehearsed in {predicted}, took {took}"));
    }
    Ok(exit::DONE)
}

fn refuse_open_run(global: &Global, runs: &[RunLog]) -> Result<(), Failure> {
    let Some((log, state)) = resume::open_run(runs)? else {
        return Ok(());
    };
    let command = next::command(global, log, &state);
    let mut failure = Failure::unchanged(format!(
        "run {} from {} to {} is not finished",
        log.header.run, log.header.plan.from_version, log.header.plan.to_version
    ));
    failure.code = exit::OPEN_RUN;
    failure.hint = command.map(|command| format!("next: {command}"));
    Err(failure)
}

/// How many plans of the chain completed runs of this very file have done.
fn hops_done(runs: &[RunLog], file: &PlanFile) -> Result<usize, Failure> {
    let mut completed = Vec::new();
    for log in runs {
        let state = RunState::replay(log)
            .map_err(|error| Failure::unchanged(format!("the journal makes no sense: {error}")))?;
        match state.phase {
            Phase::Completed => completed.push(log),
            Phase::RolledBack => {
                completed.retain(|other| other.header.run != log.header.run);
            }
            _ => {}
        }
    }
    let by_this_file = |log: &&&RunLog| log.header.inputs.get(plan_file::INPUT) == Some(&file.hash);
    let newest = completed.iter().rev().take_while(by_this_file).count();
    let newest = &completed[completed.len() - newest..];
    Ok(file
        .contract
        .hops
        .iter()
        .take_while(|hop| newest.iter().any(|log| log.header.plan == hop.plan))
        .count())
}

/// Resolves again and compares; exit 8 with everything that differs.
async fn nothing_drifted(
    global: &Global,
    output: &Output,
    wired: &Wired,
    file: &PlanFile,
    done: usize,
) -> Result<Vec<LoadedPlan>, Failure> {
    let then = &file.contract;
    let resolved = plan_file::contract_now(global, wired, &then.from, &then.to).await?;
    let extent = if done == 0 {
        Extent::Whole
    } else {
        Extent::PlansOnly
    };
    let found = drift(then, &resolved.0, extent);
    if found.is_empty() {
        output.note(&format!(
            "plan     {} -> {} as planned {} ({})",
            then.from,
            then.to,
            file.made_at.format("%Y-%m-%d %H:%M:%S UTC"),
            &file.hash[..12]
        ));
        return Ok(resolved.1);
    }
    let failure = Failure {
        code: exit::DIFFERENT,
        ..Failure::findings(
            "refused: this is no longer what was planned; nothing was changed",
            found,
        )
    };
    Err(failure.hint("look at what changed, and make the plan file again"))
}

/// Where the environment wants that, only what was rehearsed is applied.
fn require_rehearsal(global: &Global, wired: &Wired, file: &PlanFile) -> Result<(), Failure> {
    let wanted = global
        .environment
        .as_ref()
        .and_then(|chosen| chosen.own.require_rehearsal.as_ref());
    let Some(text) = wanted else {
        return Ok(());
    };
    let age = migrate_core::duration::parse(text)
        .map_err(|error| Failure::unchanged(format!("require_rehearsal: {error}")))?;
    let keys = signed::wanted(global).map(|(_, keys)| keys);
    certificate::require(&wired.deployment.root, &file.hash, age, keys.as_deref())
}

pub(crate) fn refuse_commands<'a>(
    wired: &Wired,
    hops: impl Iterator<Item = &'a Hop>,
) -> Result<(), Failure> {
    let runs = hops
        .flat_map(|hop| &hop.steps)
        .any(|step| step.runs_commands);
    if !runs || wired.commands_allowed() {
        return Ok(());
    }
    Err(
        Failure::refused("refused: this plan runs commands, and nobody agreed to that").hint(
            "read them in the plan file, then agree with --allow-commands (or allow_commands = true in etlrs-migrate.toml)",
        ),
    )
}

#[expect(clippy::too_many_arguments, reason = "what was asked for, and on what")]
async fn one_hop(
    global: &Global,
    args: &ApplyArgs,
    output: &Output,
    wired: &Wired,
    (file, signer): (&PlanFile, Option<&PublicKey>),
    hop: &Hop,
    loaded: &LoadedPlan,
    cancel: &Cancel,
) -> Result<(), Failure> {
    let plan = &hop.plan;
    let scripts: Arc<dyn Scripts> = Arc::new(Kept(hop.scripts.clone()));
    let executor = MigrationExecutor::new(
        &plan.from_version.to_string(),
        &plan.to_version.to_string(),
        false,
    )
    .with_registry(wired.registry(&scripts));
    let journal = wired.journal(Access::Write).await?;
    let executor = wired.executor(
        executor,
        &journal,
        options(global, args, wired, (file, signer), hop),
        output.reporter(),
        cancel.clone(),
    );
    let result = executor.execute_migration(plan).await;
    output.done_with_progress();
    match result {
        Ok(result) => {
            migrate::tell(global, output, &journal, loaded, &result).await;
            Ok(())
        }
        Err(error) => Err(migrate::with_next(global, &journal, error, Some(loaded)).await),
    }
}

fn options(
    global: &Global,
    args: &ApplyArgs,
    wired: &Wired,
    (file, signer): (&PlanFile, Option<&PublicKey>),
    hop: &Hop,
) -> RunOptions {
    let mut flags = vec!["apply".to_owned()];
    flags.extend(signer.map(|key| format!("signed by {key}")));
    if wired.commands_allowed() {
        flags.push("--allow-commands".to_owned());
    }
    if let Some(name) = &global.env {
        flags.push(format!("--env {name}"));
    }
    if file.contract.to != hop.plan.to_version {
        flags.push(format!("--to {}", file.contract.to));
    }
    flags.extend(args.time.flags());
    let skipped = global.skip_check.iter();
    flags.extend(skipped.map(|name| format!("--skip-check {name}")));
    let mut inputs: std::collections::BTreeMap<_, _> = hop
        .scripts
        .iter()
        .map(|(name, script)| (format!("script {name}"), sha256(&script.text)))
        .collect();
    inputs.insert("plan".to_owned(), hop.sha256.clone());
    inputs.insert(plan_file::INPUT.to_owned(), file.hash.clone());
    RunOptions {
        skip_checks: global.skip_check.clone(),
        flags,
        scripts: hop.scripts.clone(),
        inputs,
        identity: wired.identity.clone(),
        ..RunOptions::default()
    }
}
