//! The steps of one list of a plan on one file, in order, and what the first of them make of it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use migrate_core::{Finding, MigrationStep, StepId};

use super::operations::Operations;
use super::variables::Values;

/// The steps on one file.
#[derive(Default)]
pub(super) struct Series {
    steps: Vec<OneStep>,
    real: Mutex<Option<Prefix>>,
    named: Mutex<Option<Prefix>>,
}

struct OneStep {
    /// Its place in the list.
    index: usize,
    id: StepId,
    operations: Operations,
}

/// What the first steps make of a text. Steps are looked at one after the other: each goes on
/// from where the one before it came to, instead of from the beginning.
struct Prefix {
    before: String,
    steps: usize,
    after: String,
}

/// The series of a list, by the names of their files.
pub(super) type SeriesByFile = BTreeMap<String, Arc<Series>>;

/// Reads the steps of a list that can be read.
pub(super) fn of_list(
    list: &[MigrationStep],
    kind: &str,
    read: impl Fn(&MigrationStep) -> Result<Operations, Vec<Finding>>,
) -> SeriesByFile {
    let mut all: BTreeMap<String, Series> = BTreeMap::new();
    for (index, spec) in list.iter().enumerate() {
        if spec.step_type.name() != kind {
            continue;
        }
        if let Ok(operations) = read(spec) {
            let series = all.entry(operations.file.clone()).or_default();
            series.steps.push(OneStep {
                index,
                id: spec.id.clone(),
                operations,
            });
        }
    }
    all.into_iter()
        .map(|(file, series)| (file, Arc::new(series)))
        .collect()
}

impl Series {
    /// How many steps on the file stand before a place of the list.
    pub(super) fn before(&self, index: usize) -> usize {
        self.steps.partition_point(|step| step.index < index)
    }

    /// Whether no step on the file stands behind a place of the list.
    pub(super) fn ends_at(&self, index: usize) -> bool {
        self.steps.last().is_none_or(|step| step.index <= index)
    }

    /// The names of the first steps.
    pub(super) fn ids(&self, count: usize) -> Vec<&str> {
        let first = self.steps.iter().take(count);
        first.map(|step| step.id.as_str()).collect()
    }

    /// The text as the first steps leave it. They change nothing once they ran.
    pub(super) fn after(
        &self,
        count: usize,
        text: &str,
        values: Values,
    ) -> Result<String, Vec<Finding>> {
        let kept = match values {
            Values::Real => &self.real,
            Values::Named => &self.named,
        };
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        let known = kept.take().filter(|prefix| prefix.steps <= count);
        let mut prefix = known.unwrap_or_else(|| Prefix::of(text));
        if prefix.before != text {
            // In a run each step finds the text as those before it left it: they are not made
            // once more for every step.
            if self.advance(&mut prefix, count, values).is_ok() && prefix.after == text {
                *kept = Some(prefix);
                return Ok(text.to_owned());
            }
            prefix = Prefix::of(text);
        }
        let result = self.advance(&mut prefix, count, values);
        let after = result.map(|()| prefix.after.clone());
        *kept = Some(prefix);
        after
    }

    /// Goes on to what so many steps make of the text; stops before the first that can't.
    fn advance(
        &self,
        prefix: &mut Prefix,
        count: usize,
        values: Values,
    ) -> Result<(), Vec<Finding>> {
        for step in &self.steps[prefix.steps..count] {
            prefix.after = step.operations.apply(&prefix.after, values)?.text;
            prefix.steps += 1;
        }
        Ok(())
    }
}

impl Prefix {
    fn of(text: &str) -> Self {
        Self {
            before: text.to_owned(),
            steps: 0,
            after: text.to_owned(),
        }
    }
}
