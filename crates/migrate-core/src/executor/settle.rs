//! The commit point: what others wrote until then is brought over or counted as theirs.
//!
//! Three things must hold of one moment: every step agrees with what it reads, the fingerprint and
//! the row hashes hold what the run wrote and nothing of others, and nobody wrote in between. So
//! they are made in that order, and looked at again; where somebody wrote, once more.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;

use super::MigrationExecutor;
use super::run::{Run, Stop};
use crate::error::StepError;
use crate::event::Event;
use crate::journal::Record;
use crate::ports::{Fingerprint, Loss};
use crate::status::StepStatus;
use crate::step::{OwnRows, ScopeObject, Settled, StepContext};

/// How often it is tried at least, and for how long, while others go on writing.
const ROUNDS: u32 = 5;
const PATIENCE: Duration = Duration::from_secs(20);

/// The pause after the first round; each is as long as all before it together.
const PAUSE: Duration = Duration::from_millis(50);

/// Writers that were kept out, until this is dropped.
type LockedOut = Vec<Box<dyn Send>>;

impl MigrationExecutor {
    /// Records the commit point as soon as nobody has written for a moment.
    pub(super) async fn commit(&self, run: &mut Run) -> Result<(), Stop> {
        let (began, mut pause) = (Instant::now(), PAUSE);
        for round in 1.. {
            let mut why = None;
            match self.settle_and_mark(run).await {
                Err(error) => return Ok(self.fail(run, error).await?),
                Ok((settled, record)) => match self.locked_and_settled(run, &settled).await {
                    Ok(Some(held)) => {
                        self.record(run, record).await?;
                        drop(held);
                        self.tell_what_came_in(run);
                        return Ok(());
                    }
                    Ok(None) => {}
                    Err(error) => why = Some(error),
                },
            }
            if self.cancel.cause().is_some() {
                return Ok(());
            }
            if round >= ROUNDS && began.elapsed() >= PATIENCE {
                return Ok(self.fail(run, still_writing(why)).await?);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PATIENCE / 8);
        }
        unreachable!("there is no last number");
    }

    /// What was written between the last look and the record, or until a crash was resumed, is
    /// brought over before services start.
    pub(super) async fn close_the_gap(&self, run: &mut Run) -> Result<(), Stop> {
        if run.state.phase != crate::Phase::Committing {
            return Ok(());
        }
        for _ in 0..ROUNDS {
            let brought = match self.settle_all(run).await {
                Ok(settled) => settled.iter().map(|(_, one)| one.brought).sum::<u64>(),
                Err(error) => {
                    self.warn(format!("written after the commit point: {error}"));
                    break;
                }
            };
            if brought == 0 {
                break;
            }
            match self.settle_and_mark(run).await {
                Ok((_, record)) => self.record(run, record).await?,
                Err(error) => self.warn(format!("written after the commit point: {error}")),
            }
        }
        self.end_watches(run).await;
        Ok(())
    }

    /// Brings over what a step is about to change, or compares it for the last time.
    pub(super) async fn settle_before(&self, run: &Run, later: usize) -> Result<(), StepError> {
        if run.step_state(later).status != StepStatus::Pending {
            return Ok(());
        }
        for index in changed_by(run, later) {
            let (cx, receipt) = self.watched(run, index);
            run.steps[index].settle(&cx, &receipt).await?;
            run.steps[index].before_own_change(&cx, &receipt).await?;
        }
        Ok(())
    }

    /// What a step changed is the run's own.
    pub(super) async fn after_own_change(&self, run: &Run, later: usize) -> Result<(), StepError> {
        for index in changed_by(run, later) {
            let (cx, receipt) = self.watched(run, index);
            run.steps[index].after_own_change(&cx, &receipt).await?;
        }
        Ok(())
    }

    /// Rows of others in tables that the run made, which its undo drops: they are copied first.
    pub(super) async fn others_in_made_tables(&self, run: &Run) -> Vec<Loss> {
        let before = &run.header.before.0;
        let whole = before.keys().any(|name| name.starts_with("catalog "));
        let made = |loss: &Loss| {
            let Some(table) = loss.object.strip_prefix("table ") else {
                return false;
            };
            let names = [format!("rows {table}"), format!("rows public.{table}")];
            whole && !names.iter().any(|name| before.contains_key(name))
        };
        let mut all = self.others_in_own_objects(run).await;
        all.retain(made);
        for loss in &all {
            self.warn(format!(
                "{loss}; the table goes, so everything is copied first"
            ));
        }
        all
    }

    /// What others wrote to the tables and files that the run's steps write: a restore takes these for
    /// the run's own. Of a file, the last step that changed it knows.
    pub(super) async fn others_in_own_objects(&self, run: &Run) -> Vec<Loss> {
        let (mut all, mut files) = (Vec::new(), BTreeSet::new());
        for index in run.touched().into_iter().rev() {
            if run.step_state(index).receipt.is_none() {
                continue;
            }
            let step = &run.steps[index];
            let scope = step.describe().scope;
            let of_step = scope.iter().filter_map(|object| match object {
                ScopeObject::File(path) => Some(path.clone()),
                _ => None,
            });
            let of_step: Vec<String> = of_step.collect();
            let new = of_step.iter().filter(|path| files.insert((*path).clone()));
            if new.count() == 0 && !of_step.is_empty() {
                continue;
            }
            let (cx, receipt) = self.watched(run, index);
            match step.others(&cx, &receipt).await {
                Ok(found) => all.extend(found),
                Err(error) => self.warn(format!(
                    "what others wrote to what step {} writes can't be counted: {error}",
                    run.spec(index).id
                )),
            }
        }
        all
    }

    /// Nobody looks at what others write any more.
    pub(super) async fn end_watches(&self, run: &Run) {
        let steps = run.state.steps.iter().zip(&run.steps);
        let back = run.header.plan.rollback_steps.iter();
        let back = back.zip(&run.rollback_steps).filter_map(|(spec, step)| {
            let state = run.state.rollback_steps.get(&spec.id)?;
            Some((state, step))
        });
        for (state, step) in steps.chain(back) {
            let Some(receipt) = &state.receipt else {
                continue;
            };
            let specs = [&run.header.plan.steps, &run.header.plan.rollback_steps];
            let spec = specs
                .into_iter()
                .flatten()
                .find(|spec| spec.id == state.id)
                .expect("a step of the log is one of the plan");
            let cx = self.context(run, spec, spec.timeout);
            if let Err(error) = step.end_watch(&cx, receipt).await {
                self.warn(format!("step {}: {error}", state.id));
            }
        }
    }

    async fn settle_all(&self, run: &Run) -> Result<Vec<(usize, Settled)>, StepError> {
        let mut all = Vec::new();
        for index in done(run) {
            let (cx, receipt) = self.watched(run, index);
            all.push((index, run.steps[index].settle(&cx, &receipt).await?));
        }
        Ok(all)
    }

    /// Brings over what others wrote, then keeps what tells their later rows apart.
    async fn settle_and_mark(
        &self,
        run: &Run,
    ) -> Result<(Vec<(usize, Settled)>, Record), StepError> {
        let settled = self.settle_all(run).await?;
        let mut after = self.fingerprint_of_run(run, &settled).await?;
        let scope = &run.header.scope;
        match self.observer.mark(&run.header.run, scope, &after).await {
            Ok(()) => {
                self.disown(run, &settled).await?;
                // Keeping it may have fired a trigger that logs DDL.
                if !self.observer.written_by_triggers().await?.is_empty() {
                    after = self.fingerprint_of_run(run, &settled).await?;
                }
            }
            Err(error) => self.warn(format!(
                "what others write from now on can be counted only roughly: {error}"
            )),
        }
        let notes = settled.iter().flat_map(|(_, one)| one.notes.clone());
        let came_in = notes.collect();
        Ok((settled, Record::Committing { after, came_in }))
    }

    /// The scope as the run leaves it, without rows of others.
    async fn fingerprint_of_run(
        &self,
        run: &Run,
        settled: &[(usize, Settled)],
    ) -> Result<Fingerprint, StepError> {
        let mut after = self.observer.fingerprint(&run.header.scope).await?;
        for own in settled.iter().flat_map(|(_, one)| &one.own_rows) {
            without_others(&mut after, own);
        }
        Ok(after)
    }

    async fn disown(&self, run: &Run, settled: &[(usize, Settled)]) -> Result<(), StepError> {
        for (index, _) in settled.iter().filter(|(_, one)| !one.own_rows.is_empty()) {
            let (cx, receipt) = self.watched(run, *index);
            run.steps[*index].disown(&cx, &receipt).await?;
        }
        Ok(())
    }

    /// Keeps writers out where the plan has downtime, and looks whether any came in between.
    async fn locked_and_settled(
        &self,
        run: &Run,
        settled: &[(usize, Settled)],
    ) -> Result<Option<LockedOut>, StepError> {
        let mut held = LockedOut::new();
        for (index, one) in settled {
            let (cx, receipt) = self.watched(run, *index);
            let step = &run.steps[*index];
            if self.must_be_down(run) {
                held.extend(step.lock_out(&cx, &receipt).await?);
            }
            if !step.is_settled(&cx, &receipt, &one.state).await? {
                return Ok(None);
            }
        }
        Ok(Some(held))
    }

    fn watched(&self, run: &Run, index: usize) -> (StepContext, crate::Receipt) {
        let spec = run.spec(index);
        let receipt = run.step_state(index).receipt.clone();
        let cx = self.context(run, spec, spec.timeout);
        (cx, receipt.expect("a step that is done has its receipt"))
    }

    fn tell_what_came_in(&self, run: &Run) {
        for message in &run.state.came_in {
            self.reporter.event(&Event::Warning {
                step: None,
                message: message.clone(),
            });
        }
    }
}

fn done(run: &Run) -> Vec<usize> {
    let done = |index: &usize| {
        let state = run.step_state(*index);
        state.status == StepStatus::Completed && state.receipt.is_some()
    };
    (0..run.steps.len()).filter(done).collect()
}

/// The steps that are done and whose tables a step changes.
fn changed_by(run: &Run, later: usize) -> Vec<usize> {
    let id = &run.spec(later).id;
    let all = done(run).into_iter();
    all.filter(|index| *index != later && run.steps[*index].is_changed_by(id))
        .collect()
}

/// Puts the run's own rows where a fingerprint holds all of them.
fn without_others(after: &mut Fingerprint, own: &OwnRows) {
    let mut names = own.names.iter().map(|name| format!("rows {name}"));
    if let Some(name) = names.find(|name| after.0.contains_key(name)) {
        after.0.insert(name, own.sum.clone());
    }
}

fn still_writing(why: Option<StepError>) -> StepError {
    let error = StepError::failed("others go on writing to the tables of the plan");
    let error = match why {
        Some(why) => error.cause(why.to_string()),
        None => error,
    };
    error.hint("stop every program that writes to the database, then run it again")
}
