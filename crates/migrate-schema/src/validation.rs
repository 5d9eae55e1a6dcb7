//! Queries with the results that they must give, and the step kind `Validation`.

use async_trait::async_trait;
use migrate_core::{
    Cancel, CheckRunner, Description, Finding, MigrationStep, Outcome, Preview, Probe, Readiness,
    Receipt, Step, StepContext, StepError, StepKind, StepSite, UndoReport, Undoable,
    ValidationCheck, check_value,
};
use serde_json::Value;

use crate::db::Database;

#[async_trait]
impl CheckRunner for Database {
    async fn query(&self, sql: &str, cancel: &Cancel) -> Result<Value, StepError> {
        let work = async {
            self.query_json(sql)
                .await
                .map_err(|error| error.into_step_error(format!("the query failed: {sql}")))
        };
        self.cancellable(cancel, work).await
    }
}

/// Builds `Validation` steps.
///
/// What is checked: the plan's check that `validation` names, else the one of the step's own
/// id, else `validation` as SQL whose first value must be true.
#[derive(Clone)]
pub struct ValidationKind {
    db: Database,
}

impl ValidationKind {
    /// For a database.
    pub fn new(db: Database) -> Self {
        Self { db }
    }
}

impl StepKind for ValidationKind {
    fn name(&self) -> &'static str {
        "Validation"
    }

    fn build(
        &self,
        step: &MigrationStep,
        site: &StepSite<'_>,
    ) -> Result<Box<dyn Step>, Vec<Finding>> {
        let named = |name: &str| {
            site.plan
                .validation_checks
                .iter()
                .find(|check| check.name == name)
        };
        let check = match &step.validation {
            Some(text) => match named(text) {
                Some(check) => Check::Named(check.clone()),
                None if text.split_whitespace().nth(1).is_some() => Check::Sql(text.clone()),
                None => return Err(vec![unknown(text, "/validation", site)]),
            },
            None => match named(step.id.as_str()) {
                Some(check) => Check::Named(check.clone()),
                None => return Err(vec![unknown(step.id.as_str(), "/id", site)]),
            },
        };
        Ok(Box::new(Validation {
            db: self.db.clone(),
            description: step.description.clone(),
            check,
        }))
    }
}

fn unknown(name: &str, pointer: &str, site: &StepSite<'_>) -> Finding {
    let known: Vec<&str> = site
        .plan
        .validation_checks
        .iter()
        .map(|check| check.name.as_str())
        .collect();
    Finding::error(
        "validation.unknown-check",
        format!("the plan has no validation check {name:?}"),
    )
    .at(pointer)
    .hint(format!(
        "name one of validation_checks ({}) in `validation`, or give a query there",
        known.join(", ")
    ))
}

/// What is checked.
enum Check {
    /// A check of the plan.
    Named(ValidationCheck),
    /// A query whose first value must be true.
    Sql(String),
}

impl Check {
    fn sql(&self) -> &str {
        match self {
            Self::Named(check) => &check.query,
            Self::Sql(sql) => sql,
        }
    }

    /// What was expected, if it is not what was found.
    fn refuses(&self, found: &Value) -> Option<Value> {
        let (expected, fits) = match self {
            Self::Named(check) => (
                check.expected_result.clone(),
                check_value::matches(&check.expected_result, found),
            ),
            Self::Sql(_) => (
                Value::Bool(true),
                check_value::matches(&Value::Bool(true), first_value(found)),
            ),
        };
        (!fits).then_some(expected)
    }
}

fn first_value(found: &Value) -> &Value {
    match found {
        Value::Array(values) => values.first().map_or(found, first_value),
        value => value,
    }
}

struct Validation {
    db: Database,
    description: String,
    check: Check,
}

#[async_trait]
impl Step for Validation {
    fn describe(&self) -> Description {
        let title = match (self.description.trim(), &self.check) {
            ("", Check::Named(check)) => format!("check {}", check.name),
            ("", Check::Sql(_)) => "check a query".to_owned(),
            (text, _) => text.to_owned(),
        };
        Description {
            title,
            scope: Vec::new(),
            undo: Undoable::NotNeeded,
            deferred: false,
            runs_commands: false,
            actions: vec![self.check.sql().to_owned()],
            inputs: Vec::new(),
        }
    }

    async fn preview(&self, _cx: &StepContext) -> Result<Preview, StepError> {
        Ok(Preview {
            actions: vec![self.check.sql().to_owned()],
            ..Preview::default()
        })
    }

    async fn check(&self, _cx: &StepContext) -> Result<Readiness, StepError> {
        Ok(Readiness::Ready)
    }

    async fn prepare(&self, _cx: &StepContext) -> Result<Receipt, StepError> {
        Ok(Receipt(Value::Null))
    }

    async fn run(&self, cx: &StepContext, _receipt: &Receipt) -> Result<Outcome, StepError> {
        let found = self.db.query(self.check.sql(), &cx.cancel).await?;
        let Some(expected) = self.check.refuses(&found) else {
            return Ok(Outcome::line(format!("found {found}, as expected")));
        };
        let difference = format!("expected {expected}, found {found}");
        match &self.check {
            Check::Named(check) if !check.critical => {
                cx.warn(format!("check {}: {difference}", check.name));
                Ok(Outcome::line(format!("{difference}; not critical")))
            }
            _ => Err(StepError::failed(difference).cause(format!("query: {}", self.check.sql()))),
        }
    }

    async fn undo(&self, _cx: &StepContext, _receipt: &Receipt) -> Result<UndoReport, StepError> {
        Ok(UndoReport::line("nothing to undo"))
    }

    async fn probe(&self, _cx: &StepContext, _receipt: &Receipt) -> Result<Probe, StepError> {
        Ok(Probe::NotApplied)
    }
}
