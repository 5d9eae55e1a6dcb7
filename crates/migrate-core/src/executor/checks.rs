//! Everything that is looked at before, between and after: findings and validation checks.

use serde_json::Value;

use super::run::Run;
use super::start::wants_point;
use super::{CheckOutcome, MigrationExecutor};
use crate::cancel::CancelCause;
use crate::error::{MigrationError, StepError};
use crate::event::Event;
use crate::finding::{Finding, Severity};
use crate::journal::RunId;
use crate::plan::{CheckPhase, MigrationPlan, MigrationStep, StepType, ValidationCheck};
use crate::status::StepStatus;
use crate::step::{Readiness, Step, StepContext};

impl MigrationExecutor {
    /// Makes all checks before anything changes; warnings come back, errors refuse the run.
    pub(super) async fn check_all(
        &self,
        run: &RunId,
        plan: &MigrationPlan,
        steps: &[Box<dyn Step>],
    ) -> Result<Vec<Finding>, MigrationError> {
        let mut findings = Vec::new();
        for (spec, step) in plan.steps.iter().zip(steps) {
            self.asked_to_end()?;
            let cx = self.looking(run, spec);
            let told = step.warnings().into_iter();
            findings.extend(told.map(|finding| Finding {
                message: format!("step {}: {}", spec.id, finding.message),
                pointer: String::new(),
                ..finding
            }));
            match step.check(&cx).await {
                Ok(Readiness::Blocked(found)) => findings.extend(found),
                Ok(Readiness::Ready | Readiness::After(_)) if !self.skips("rows") => {
                    let found = step.foresee(&cx).await;
                    collect(&mut findings, &format!("step {}", spec.id), found);
                }
                Ok(_) => {}
                Err(error) => findings.push(as_finding(&format!("step {}", spec.id), &error)),
            }
        }
        self.asked_to_end()?;
        if plan.downtime_required {
            collect(&mut findings, "services", self.services.check().await);
        }
        let scope = super::start::scope_of(steps);
        collect(
            &mut findings,
            "pre-flight",
            self.observer.preflight(&scope).await,
        );
        if wants_point(self.options.backup) {
            collect(&mut findings, "rollback point", self.points.check().await);
        }
        for check in plan
            .validation_checks
            .iter()
            .filter(|c| c.phase == CheckPhase::Pre)
        {
            let outcome = self.check(check, "pre").await;
            if !outcome.passed {
                findings.push(failed_check(&outcome));
            }
        }
        self.asked_to_end()?;
        let skipped = &self.options.skip_checks;
        findings.retain(|finding| !skipped.iter().any(|name| names(name, &finding.code)));
        if findings.iter().any(|f| f.severity == Severity::Error) {
            return Err(MigrationError::Checks(findings));
        }
        for finding in &findings {
            let finding = finding.clone();
            self.reporter.event(&Event::Finding { finding });
        }
        Ok(findings)
    }

    /// A signal ends the checks at once: nothing has changed yet.
    fn asked_to_end(&self) -> Result<(), MigrationError> {
        match self.cancel.cause() {
            Some(CancelCause::Signal(signal)) => Err(MigrationError::Interrupted { signal }),
            _ => Ok(()),
        }
    }

    /// Whether a whole area of checks is left out, so that it need not be looked at.
    fn skips(&self, area: &str) -> bool {
        self.options.skip_checks.iter().any(|name| name == area)
    }

    /// A context for calls that only look.
    pub(super) fn looking(&self, run: &RunId, spec: &MigrationStep) -> StepContext {
        StepContext {
            run: run.clone(),
            step: spec.id.clone(),
            attempt: 1,
            timeout: spec.timeout,
            cancel: self.cancel.clone(),
            reporter: self.reporter.clone(),
            drops: [].into(),
        }
    }

    /// Makes one validation check and reports it.
    pub(super) async fn check(&self, check: &ValidationCheck, phase: &str) -> CheckOutcome {
        let result = self.checks.query(&check.query, &self.cancel).await;
        let passed = matches!(&result, Ok(found)
            if crate::check_value::matches(&check.expected_result, found));
        let outcome = CheckOutcome {
            name: check.name.clone(),
            passed,
            critical: check.critical,
            expected: check.expected_result.clone(),
            found: match result {
                Ok(found) => crate::check_value::shown(&check.expected_result, found),
                Err(error) => Value::String(error.to_string()),
            },
        };
        self.reporter.event(&Event::CheckResult {
            name: outcome.name.clone(),
            phase: phase.to_owned(),
            passed,
            critical: outcome.critical,
            expected: outcome.expected.clone(),
            found: outcome.found.clone(),
        });
        outcome
    }

    /// The plan's checks after the last step; the first critical failure, if any.
    pub(super) async fn post_checks(&self, run: &mut Run) -> Option<StepError> {
        self.phase("validation");
        let mut failure = None;
        run.checks.clear();
        for check in run.header.plan.validation_checks.clone() {
            if check.phase != CheckPhase::Post {
                continue;
            }
            let outcome = self.check(&check, "post").await;
            if !outcome.passed && outcome.critical && failure.is_none() {
                failure = Some(check_error(&outcome));
            }
            run.checks.push(outcome);
        }
        failure
    }

    /// The check that a step names in `validation`; a Validation step is its own check.
    pub(super) async fn step_check(
        &self,
        plan: &MigrationPlan,
        spec: &MigrationStep,
    ) -> Option<StepError> {
        let text = spec.validation.as_ref()?;
        if spec.step_type == StepType::Validation {
            return None;
        }
        let named = plan.validation_checks.iter().find(|c| &c.name == text);
        let check = named.cloned().unwrap_or_else(|| ValidationCheck {
            name: format!("validation of {}", spec.id),
            query: text.clone(),
            expected_result: Value::Bool(true),
            critical: true,
            phase: CheckPhase::Step,
        });
        let outcome = self.check(&check, "step").await;
        (!outcome.passed && outcome.critical).then(|| check_error(&outcome))
    }

    /// Whether somebody came back while everything has to be down. It is stopped again, so that
    /// the way back has the deployment for itself too.
    pub(super) async fn came_back(&self, run: &Run) -> Option<StepError> {
        if !self.must_be_down(run) {
            return None;
        }
        let error = self.services.still_down().await.err()?;
        Some(self.stop_again(error).await)
    }

    /// The deferred steps (cleanup) that have not ended yet.
    pub(super) fn deferred(run: &Run) -> Option<usize> {
        (0..run.steps.len()).find(|index| {
            let status = run.step_state(*index).status;
            run.steps[*index].describe().deferred
                && matches!(status, StepStatus::Pending | StepStatus::Started)
        })
    }
}

fn check_error(outcome: &CheckOutcome) -> StepError {
    StepError::failed(format!(
        "check {:?} expected {}, found {}",
        outcome.name, outcome.expected, outcome.found
    ))
}

fn failed_check(outcome: &CheckOutcome) -> Finding {
    let text = check_error(outcome).message;
    if outcome.critical {
        Finding::error("check.failed", text)
    } else {
        Finding::warning("check.failed", text)
    }
}

fn collect(findings: &mut Vec<Finding>, what: &str, result: Result<Vec<Finding>, StepError>) {
    match result {
        Ok(found) => findings.extend(found),
        Err(error) => findings.push(as_finding(what, &error)),
    }
}

pub(super) fn as_finding(what: &str, error: &StepError) -> Finding {
    let mut message = format!("{what}: {}", error.message);
    for cause in &error.causes {
        message.push_str(": ");
        message.push_str(cause);
    }
    let mut finding = Finding::error("check.error", message);
    finding.place.clone_from(&error.place);
    finding.hint.clone_from(&error.hint);
    finding
}

fn names(skip: &str, code: &str) -> bool {
    code == skip || code.split('.').any(|part| part == skip)
}

#[cfg(test)]
mod tests {
    use super::names;

    #[test]
    fn skips_by_code_or_a_part_of_it() {
        assert!(names("disk", "point.disk"));
        assert!(names("point.disk", "point.disk"));
        assert!(!names("dis", "point.disk"));
    }
}
