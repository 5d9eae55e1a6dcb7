//! Queries with the results that they must give, and the step kind `Validation`.

use async_trait::async_trait;
use migrate_core::{
    Cancel, CheckRunner, Description, Finding, MigrationStep, Outcome, Preview, Probe, Readiness,
    Receipt, Step, StepContext, StepError, StepKind, StepSite, UndoReport, Undoable,
    ValidationCheck,
};
use serde_json::Value;

use crate::db::Database;

/// Whether a query found what was expected.
///
/// Numbers are equal by value (`3` and `3.0`). Truth values are equal to 1 and 0, which SQLite
/// has in their place. A row or a list of rows with one element is equal to the element, since
/// a result of one row or one value comes without brackets.
pub fn compare(expected: &Value, found: &Value) -> bool {
    match (expected, found) {
        (Value::Number(a), Value::Number(b)) => same_number(a, b),
        (Value::Bool(truth), Value::Number(number))
        | (Value::Number(number), Value::Bool(truth)) => number.as_i64() == Some(i64::from(*truth)),
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            a.iter().zip(b).all(|(a, b)| compare(a, b)) || unwrapped(a, found)
        }
        (Value::Array(a), _) => unwrapped(a, found),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len()
                && a.iter()
                    .all(|(key, value)| b.get(key).is_some_and(|found| compare(value, found)))
        }
        _ => expected == found,
    }
}

fn unwrapped(expected: &[Value], found: &Value) -> bool {
    matches!(expected, [one] if compare(one, found))
}

fn same_number(a: &serde_json::Number, b: &serde_json::Number) -> bool {
    match (a.as_i64(), b.as_i64(), a.as_u64(), b.as_u64()) {
        (Some(a), Some(b), _, _) => a == b,
        (_, _, Some(a), Some(b)) => a == b,
        _ => a.as_f64() == b.as_f64(),
    }
}

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
                compare(&check.expected_result, found),
            ),
            Self::Sql(_) => (
                Value::Bool(true),
                compare(&Value::Bool(true), first_value(found)),
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn results_are_compared_by_value() {
        for (expected, found) in [
            (json!(3), json!(3.0)),
            (json!(true), json!(1)),
            (json!(false), json!(0)),
            (json!(1), json!(true)),
            (json!(null), json!(null)),
            (json!("a"), json!("a")),
            (json!([1, "x"]), json!([1.0, "x"])),
            (json!([[1, 2], [3, null]]), json!([[1, 2], [3, null]])),
            (json!([[1, 2]]), json!([1, 2])),
            (json!([7]), json!(7)),
            (json!([[7]]), json!(7)),
            (json!([]), json!([])),
            (json!({"a": 1}), json!({"a": 1.0})),
            (json!(u64::MAX), json!(u64::MAX)),
        ] {
            assert!(compare(&expected, &found), "{expected} {found}");
        }
        for (expected, found) in [
            (json!(3), json!(4)),
            (json!(3), json!("3")),
            (json!(true), json!(2)),
            (json!(true), json!("t")),
            (json!(null), json!(0)),
            (json!(null), json!([])),
            (json!(0), json!([])),
            (json!([1, 2]), json!([2, 1])),
            (json!([1, 2]), json!([1, 2, 3])),
            (json!([1, 2]), json!([[1], [2]])),
            (
                json!(9_007_199_254_740_993_i64),
                json!(9_007_199_254_740_992_i64),
            ),
            (json!({"a": 1}), json!({"a": 1, "b": 2})),
        ] {
            assert!(!compare(&expected, &found), "{expected} {found}");
        }
    }
}
