//! Step kinds by name: the open set.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::finding::Finding;
use crate::plan::{MigrationPlan, MigrationStep};
use crate::step::Step;

/// A kind of step, known to plans by its name.
///
/// Its constructor takes what it needs from outside (a database, a runner of commands).
pub trait StepKind: Send + Sync {
    /// The name that `step_type` gives.
    fn name(&self) -> &str;

    /// The names of the fields beyond the guide's own that its steps understand.
    fn extra_fields(&self) -> &[&str] {
        &[]
    }

    /// Builds a step, or says everything that is wrong with it. Reads scripts, nothing else.
    /// Pointers of findings are relative to the step (`/data_migration/batch_size`).
    ///
    /// # Errors
    /// All findings.
    fn build(
        &self,
        spec: &MigrationStep,
        site: &StepSite<'_>,
    ) -> Result<Box<dyn Step>, Vec<Finding>>;
}

/// Where in which plan a step stands.
#[derive(Debug, Clone, Copy)]
pub struct StepSite<'a> {
    /// The plan.
    pub plan: &'a MigrationPlan,
    /// The step's place in its list, from 0.
    pub index: usize,
    /// What kinds keep while one list is built; `None` where a step is built alone.
    pub shared: Option<&'a Shared>,
}

impl<'a> StepSite<'a> {
    /// The place of a step that is built alone.
    pub fn alone(plan: &'a MigrationPlan, index: usize) -> Self {
        Self {
            plan,
            index,
            shared: None,
        }
    }
}

/// What a kind has found out about the whole list, so that building each of its steps need not
/// find it out again. Lives as long as one list is built.
#[derive(Default)]
pub struct Shared(Mutex<BTreeMap<String, Arc<dyn Any + Send + Sync>>>);

impl Shared {
    /// What is kept under a name, made if there is none. `make` must not use this value itself.
    pub fn get_or_make<T: Send + Sync + 'static>(
        &self,
        name: &str,
        make: impl FnOnce() -> T,
    ) -> Arc<T> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = kept.get(name).cloned().map(Arc::downcast::<T>);
        if let Some(Ok(found)) = found {
            return found;
        }
        let value = Arc::new(make());
        kept.insert(name.to_owned(), value.clone());
        value
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shared(..)")
    }
}

/// The kinds that a deployment tool knows.
#[derive(Clone, Default)]
pub struct StepRegistry {
    kinds: BTreeMap<String, Arc<dyn StepKind>>,
}

impl StepRegistry {
    /// A registry without kinds.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a kind; one of the same name is replaced.
    #[must_use]
    pub fn with(mut self, kind: impl StepKind + 'static) -> Self {
        self.kinds.insert(kind.name().to_owned(), Arc::new(kind));
        self
    }

    /// The kind of that name.
    pub fn get(&self, name: &str) -> Option<&Arc<dyn StepKind>> {
        self.kinds.get(name)
    }

    /// All names, sorted.
    pub fn names(&self) -> Vec<&str> {
        self.kinds.keys().map(String::as_str).collect()
    }

    /// Builds all steps of a plan's list, or reports every finding of all of them.
    /// `list` is the field's name, `steps` or `rollback_steps`, for the pointers.
    ///
    /// # Errors
    /// All findings of all steps.
    pub fn build_all(
        &self,
        plan: &MigrationPlan,
        list: &str,
        steps: &[MigrationStep],
    ) -> Result<Vec<Box<dyn Step>>, Vec<Finding>> {
        let mut built = Vec::new();
        let mut findings = Vec::new();
        let shared = Shared::default();
        for (index, spec) in steps.iter().enumerate() {
            let pointer = format!("/{list}/{index}");
            let site = StepSite {
                plan,
                index,
                shared: Some(&shared),
            };
            match self.build_one(&site, spec) {
                Ok(step) => built.push(step),
                Err(found) => findings.extend(found.into_iter().map(|mut finding| {
                    finding.pointer = format!("{pointer}{}", finding.pointer);
                    if finding.place.is_none() {
                        finding.message = format!("step {}: {}", spec.id, finding.message);
                    }
                    finding
                })),
            }
        }
        if findings.is_empty() {
            Ok(built)
        } else {
            Err(findings)
        }
    }

    fn build_one(
        &self,
        site: &StepSite<'_>,
        spec: &MigrationStep,
    ) -> Result<Box<dyn Step>, Vec<Finding>> {
        let name = spec.step_type.name();
        let Some(kind) = self.get(name) else {
            return Err(vec![
                Finding::error(
                    "plan.unknown-kind",
                    format!("no step kind is called {name:?}"),
                )
                .at("/step_type")
                .hint(format!("known kinds: {}", self.names().join(", "))),
            ]);
        };
        let mut findings: Vec<Finding> = spec
            .extra
            .keys()
            .filter(|field| !kind.extra_fields().contains(&field.as_str()))
            .map(|field| {
                Finding::error(
                    "plan.unknown-field",
                    format!("a {name} step has no field {field:?}"),
                )
                .at(format!("/{field}"))
                .hint(known_fields(kind.extra_fields()))
            })
            .collect();
        match kind.build(spec, site) {
            Ok(step) if findings.is_empty() => Ok(step),
            Ok(_) => Err(findings),
            Err(more) => {
                findings.extend(more);
                Err(findings)
            }
        }
    }
}

fn known_fields(extra: &[&str]) -> String {
    let mut known = crate::plan::STEP_FIELDS.to_vec();
    known.extend(extra);
    format!("known fields: {}", known.join(", "))
}
