//! A dry run: a read-only look at the real thing.

use super::{MigrationExecutor, MigrationResult, RunEnd, StepPreview};
use crate::error::MigrationError;
use crate::journal::RunId;
use crate::plan::MigrationPlan;
use crate::step::{Preview, Readiness, Step};

impl MigrationExecutor {
    pub(super) async fn dry_run(
        &self,
        plan: &MigrationPlan,
        steps: Vec<Box<dyn Step>>,
    ) -> Result<MigrationResult, MigrationError> {
        if let Some(reason) = self.already_there(plan).await? {
            return Ok(MigrationResult::of(RunEnd::AlreadyThere(reason)));
        }
        let run = RunId::fresh(self.clock.now());
        self.phase("checks");
        let findings = self.check_all(&run, plan, &steps).await?;
        let mut previews = Vec::new();
        for (spec, step) in plan.steps.iter().zip(&steps) {
            let cx = self.looking(&run, spec);
            let readiness = step.check(&cx).await.map_err(MigrationError::Unchanged)?;
            let already_done = match readiness {
                Readiness::AlreadyDone(reason) => Some(reason),
                _ => None,
            };
            let preview = if already_done.is_some() {
                Preview::default()
            } else {
                step.preview(&cx).await.map_err(MigrationError::Unchanged)?
            };
            previews.push(StepPreview {
                step: spec.id.clone(),
                description: step.describe(),
                preview,
                already_done,
            });
        }
        let mut result = MigrationResult::of(RunEnd::DryRun);
        result.previews = previews;
        result.findings = findings;
        Ok(result)
    }
}
