//! Values of a step that the environment holds, and secrets that it should hold.

use migrate_core::Finding;
use serde_json::Value;

use super::operations::{Operations, key_of};
use crate::edit::{Edit, edit_text};
use crate::key_path::KeyPath;
use crate::secret::{MASK, redact_value};
use crate::written;

/// What stands for the values that the environment holds.
#[derive(Clone, Copy)]
pub(super) enum Values {
    /// They themselves.
    Real,
    /// The variables' names, for what is shown.
    Named,
}

impl Operations {
    /// The edits with what the environment holds, or everything that it does not.
    pub(super) fn resolved(&self, values: Values) -> Result<Vec<Edit>, Vec<Finding>> {
        let real = |name: &str| (self.environment)(name).filter(|value| !value.is_empty());
        let named = |name: &str| Some(format!("${name}"));
        let lookup: &dyn Fn(&str) -> Option<String> = match values {
            Values::Real => &real,
            Values::Named => &named,
        };
        let mut edits = Vec::new();
        let mut findings = Vec::new();
        for edit in &self.edits {
            let Edit::Set { path, value } = edit else {
                edits.push(edit.clone());
                continue;
            };
            match written::resolved(value, lookup) {
                Ok(value) => edits.push(Edit::Set {
                    path: path.clone(),
                    value,
                }),
                Err(missing) => findings.extend(missing.iter().map(|name| self.unset(path, name))),
            }
        }
        if findings.is_empty() {
            Ok(edits)
        } else {
            Err(findings)
        }
    }

    fn unset(&self, path: &KeyPath, name: &str) -> Finding {
        let message = format!(
            "the variable {name} is not set or empty; {path} of {} gets its value from it",
            self.file
        );
        Finding::error("config.variable", message).hint(format!(
            "set it for this command: {name}=... in its environment"
        ))
    }

    /// The variables, in order.
    pub(super) fn variables(&self) -> Vec<&str> {
        self.sets()
            .flat_map(|(_, value)| written::variables(value))
            .collect()
    }

    fn sets(&self) -> impl Iterator<Item = (&KeyPath, &Value)> {
        self.edits.iter().filter_map(|edit| match edit {
            Edit::Set { path, value } => Some((path, value)),
            _ => None,
        })
    }

    /// Findings without the file's lines, which may hold a value by now.
    pub(super) fn without_lines(&self, mut findings: Vec<Finding>) -> Vec<Finding> {
        if !self.variables().is_empty() {
            for place in findings
                .iter_mut()
                .filter_map(|finding| finding.place.as_mut())
            {
                place.text = None;
            }
        }
        findings
    }

    /// A text without the values that variables are about to replace; none if that can't be told.
    pub(super) fn without_old_values(&self, text: &str) -> Option<String> {
        let located = crate::located::parse(&self.file, text).ok()?;
        let old = self.sets().filter(|(path, value)| {
            let is = located.value.pointer(&path.pointer());
            !written::variables(value).is_empty() && is.is_some()
        });
        let masks: Vec<Edit> = old
            .map(|(path, _)| Edit::Set {
                path: path.clone(),
                value: Value::from(MASK),
            })
            .collect();
        edit_text(&self.file, text, &masks).ok()
    }

    /// Secrets that stand in the plan itself, which is kept in journals and copies of them.
    pub(super) fn literal_secrets(&self) -> Vec<Finding> {
        let literal = |(path, value): (&KeyPath, &Value)| {
            let keys = path.steps().iter().filter_map(key_of);
            if redact_value(keys, value) == *value {
                return None;
            }
            let message = format!(
                "the plan itself holds the secret for {path} of {}: it stays in the journal, in its copy in the database and in backups of that",
                self.file
            );
            let pointer = KeyPath::keys(["config_changes", &path.to_string()]).pointer();
            Some(
                Finding::warning("config.literal-secret", message)
                    .at(pointer)
                    .hint("take it from the environment: { from_env = \"NAME\" }"),
            )
        };
        self.sets().filter_map(literal).collect()
    }
}
