//! Taking up runs that only the database knows: what is signed by this deployment, and nothing
//! else without consent.
//!
//! The database's copy of a log can be written by whoever may write to our tables. A log that
//! authenticates is this deployment's own. While the deployment's key is there, any other is
//! refused. Without a key (the state directory was lost with everything in it) an operator may
//! vouch for a run: it is shown in full, must be made of plans and scripts that lie on disk or are
//! embedded, and must run no commands (see [`unproven`]).

mod unproven;

use migrate_core::{Phase, Proof, RunState};
use migrate_rollback::journal::Copied;
use migrate_rollback::signing::state_key::Held;

use crate::args::Global;
use crate::failure::Failure;
use crate::report::{Output, printable};
use crate::verbs::next;
use crate::wire::{self, Adopt, Wired};

pub(crate) use unproven::{blockers, in_full, in_one_line};

/// Which runs are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Those that are not at their end.
    Open,
    /// Those that can be rolled back, too.
    Standing,
}

/// Takes up the runs that only the database knows, and reports which.
pub(crate) async fn adopt(
    global: &Global,
    wired: &Wired,
    wanted: Wanted,
    vouched: &[String],
    output: &Output,
) -> Result<(), Failure> {
    let held = wire::trust(&wired.deployment)?.held();
    let judge = |copy: &Copied| judge(global, wired, (wanted, held, vouched), output, copy);
    let adopted = wired.adopt(judge).await?;
    if adopted.is_empty() {
        output.note("the database holds no run that is missing in the journal");
    }
    for log in adopted {
        output.note(&format!(
            "recovered run {} from {} to {}, begun by {}@{}, from the database's copy of the log",
            log.header.run,
            log.header.plan.from_version,
            log.header.plan.to_version,
            log.header.user,
            log.header.host
        ));
    }
    Ok(())
}

fn judge(
    global: &Global,
    wired: &Wired,
    (wanted, held, vouched): (Wanted, Held, &[String]),
    output: &Output,
    copy: &Copied,
) -> Result<Adopt, Failure> {
    let run = &copy.run.log.header.run;
    if copy.run.proof.holds() {
        return Ok(Adopt::Take);
    }
    if !is_wanted(copy, wanted) {
        output.note(&format!(
            "run {run} of the database's copy of the log is left there: {}",
            copy.run.proof
        ));
        return Ok(Adopt::Leave);
    }
    if held == Held::Here {
        return Err(forged(copy));
    }
    for line in in_full(wired, &copy.run.log) {
        output.note(&printable(&line));
    }
    let found = blockers(global, wired, &copy.run.log);
    if !found.is_empty() {
        let message = format!(
            "can't recover run {run}: {}, and it holds more than this deployment's own files; \
             nothing was changed",
            copy.run.proof
        );
        return Err(Failure::findings(message, found)
            .hint("`emergency-rollback --version V` brings back a backup, whatever the log says"));
    }
    consent(run.as_str(), &copy.run.proof, vouched, output)?;
    Ok(Adopt::Take)
}

fn is_wanted(copy: &Copied, wanted: Wanted) -> bool {
    RunState::replay(&copy.run.log).map_or(true, |state| match wanted {
        Wanted::Open => !state.phase.is_final(),
        Wanted::Standing => state.phase != Phase::RolledBack,
    })
}

/// A log that this deployment, which has its key, did not write.
fn forged(copy: &Copied) -> Failure {
    let run = &copy.run.log.header.run;
    Failure::unchanged(format!(
        "run {run} of the database's copy of the log is refused: {}; nothing was changed",
        copy.run.proof
    ))
    .hint(what_to_do_about(run.as_str()))
}

/// What becomes of a run that nobody of this deployment wrote.
pub(crate) fn what_to_do_about(run: &str) -> String {
    format!(
        "run `audit verify {run}` to see all of it. If nobody here started that run, find out who can write \
         to the tool's own tables and delete its rows there. If the state directory was lost, restore \
         its key (.etlrs-migrate/key, or the public half backups/etlrs_key.pub)"
    )
}

/// The operator vouches for the run by its name.
fn consent(run: &str, proof: &Proof, vouched: &[String], output: &Output) -> Result<(), Failure> {
    if vouched.iter().any(|name| name == run) {
        return Ok(());
    }
    let what = format!("recovering run {run} without a valid signature ({proof})");
    let typed = output.typed(&what, run).map_err(|failure| {
        failure.hint(format!(
            "read what it would run (above, or `audit verify {run}`); \
             if it is yours, vouch for it with --adopt-unverified {run}"
        ))
    })?;
    if typed == run {
        Ok(())
    } else {
        Err(Failure::refused(format!(
            "not confirmed: {typed:?} is not {run:?}; nothing was changed"
        )))
    }
}

/// The command that goes on with a run that only the database knows.
pub(crate) fn next_command(global: &Global, copy: &Copied) -> String {
    if copy.run.proof.holds() {
        next::line(global, &next::of_run(&copy.run.log, "resume --adopt"))
    } else {
        next::line(global, &format!("audit verify {}", copy.run.log.header.run))
    }
}
