//! Raising a dependency in a `Cargo.toml`: which values of the document have to change.
//!
//! Pure: it reads the document and gives edits; comments, order and the form in which the
//! dependency is written (text, inline table, table, renamed, workspace) stay as they are.

mod requirement;

use migrate_core::{Finding, Version};
use serde_json::{Map, Value};

use crate::edit::Edit;
use crate::key_path::KeyPath;
use crate::located::parse;

use requirement::{Raised, raise};

/// The tables that hold dependencies, each also below `target.*`.
const TABLES: &[&str] = &[
    "dependencies",
    "dev-dependencies",
    "build-dependencies",
    "dev_dependencies",
    "build_dependencies",
];

/// What raising a dependency asks for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DependencyEdits {
    /// The edits, in the document's order.
    pub edits: Vec<Edit>,
    /// What is left as it is, and why, a line each.
    pub notes: Vec<String>,
    /// How many places name the dependency.
    pub places: usize,
}

/// The edits that make every place that names the crate `name` require `to`.
///
/// A place that takes its version from the workspace, from a path or from a repository is
/// left, and so is a requirement that has `to` as its lowest version already.
///
/// # Errors
/// Findings with places: a broken document, a requirement that is newer than `to`, or one
/// that is written in a way that can't be raised without guessing.
pub fn dependency_edits(
    file: &str,
    text: &str,
    name: &str,
    to: &Version,
) -> Result<DependencyEdits, Vec<Finding>> {
    let located = parse(file, text)?;
    let mut found = Search {
        name,
        to,
        result: DependencyEdits::default(),
        findings: Vec::new(),
    };
    let document = &located.value;
    found.tables(document, &KeyPath::root());
    let workspace = KeyPath::keys(["workspace"]);
    found.table(
        &document["workspace"]["dependencies"],
        &workspace.key("dependencies"),
    );
    for (target, tables) in document["target"].as_object().into_iter().flatten() {
        found.tables(tables, &KeyPath::keys(["target", target]));
    }
    if found.findings.is_empty() {
        Ok(found.result)
    } else {
        Err(located.locate(found.findings))
    }
}

struct Search<'a> {
    name: &'a str,
    to: &'a Version,
    result: DependencyEdits,
    findings: Vec<Finding>,
}

impl Search<'_> {
    fn tables(&mut self, parent: &Value, path: &KeyPath) {
        for table in TABLES {
            self.table(&parent[*table], &path.key(table));
        }
    }

    fn table(&mut self, table: &Value, path: &KeyPath) {
        for (key, value) in table.as_object().into_iter().flatten() {
            match value {
                Value::String(requirement) if key == self.name => {
                    self.version(requirement, path.key(key));
                }
                Value::Object(fields) if self.is_ours(key, fields) => {
                    self.fields(fields, &path.key(key));
                }
                _ => {}
            }
        }
    }

    /// A renamed dependency says in `package` which crate it is.
    fn is_ours(&self, key: &str, fields: &Map<String, Value>) -> bool {
        fields
            .get("package")
            .map_or(key, |name| name.as_str().unwrap_or_default())
            == self.name
    }

    fn fields(&mut self, fields: &Map<String, Value>, path: &KeyPath) {
        if let Some(requirement) = fields.get("version").and_then(Value::as_str) {
            return self.version(requirement, path.key("version"));
        }
        self.result.places += 1;
        let from = ["workspace", "path", "git"]
            .into_iter()
            .find(|key| fields.contains_key(*key));
        self.result.notes.push(match from {
            Some("workspace") => format!("{path} takes its version from the workspace"),
            Some(source) => format!("{path} is taken from a {source} and has no version"),
            None => format!("{path} has no version"),
        });
    }

    fn version(&mut self, requirement: &str, path: KeyPath) {
        self.result.places += 1;
        match raise(requirement, self.to) {
            Ok(Raised::To(new)) => self.result.edits.push(Edit::Set {
                path,
                value: Value::String(new),
            }),
            Ok(Raised::There) => {}
            Ok(Raised::Allows) => {
                let note = format!("{path} = {requirement:?} allows {} already", self.to);
                self.result.notes.push(note);
            }
            Err(why) => self.findings.push(
                Finding::error(
                    "config.dependency",
                    format!("{path} = {requirement:?}: {why}"),
                )
                .at(path.pointer())
                .hint(format!(
                    "change it by hand to one that starts at {}",
                    self.to
                )),
            ),
        }
    }
}
