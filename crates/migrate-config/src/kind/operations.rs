//! What a plan asks of one file: read once, then pure text to text.

use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use migrate_core::{Finding, MigrationStep, Version};
use serde_json::Value;

use super::DEFAULT_FILE;
use super::variables::Values;
use crate::cargo::dependency_edits;
use crate::edit::{Edit, edit_text};
use crate::key_path::{KeyPath, PathStep};
use crate::migration::{ConfigMigration, ConfigMigrations};
use crate::secret::{redact_url, redact_value};
use crate::syntax::Format;
use crate::v1_to_v2::Reversed;
use crate::written::{self, Environment};

/// The changes of one step.
pub(super) struct Operations {
    /// The file, relative to the root.
    pub(super) file: String,
    migration: Option<Arc<dyn ConfigMigration>>,
    pub(super) edits: Vec<Edit>,
    /// Crates with the versions that they shall have.
    dependencies: Vec<(String, Version)>,
    /// Whether the file, or its dependency, may be missing.
    pub(super) optional: bool,
    pub(super) environment: Environment,
}

/// A text after the changes.
pub(super) struct Changed {
    pub(super) text: String,
    /// Lines for people: unknown keys, kept keys.
    pub(super) notes: Vec<String>,
}

impl Operations {
    /// Reads a step of a plan.
    pub(super) fn read(
        spec: &MigrationStep,
        migrations: &ConfigMigrations,
        environment: &Environment,
    ) -> Result<Self, Vec<Finding>> {
        let mut reader = Reader {
            spec,
            findings: Vec::new(),
        };
        reader.refuse_foreign_fields();
        let file = reader.file();
        let migration = reader.migration(migrations);
        let mut edits = reader.renames();
        edits.extend(reader.removes());
        edits.extend(reader.sets());
        let dependencies = reader.dependencies();
        let optional = reader.optional();
        let idle = migration.is_none() && edits.is_empty() && dependencies.is_empty();
        if idle && reader.findings.is_empty() {
            reader.find("", "the step changes nothing".to_owned()).hint = Some(
                "give it config_changes, rename, remove, migration or dependencies".to_owned(),
            );
        }
        if !reader.findings.is_empty() {
            return Err(reader.findings);
        }
        Ok(Self {
            file,
            migration,
            edits,
            dependencies,
            optional,
            environment: environment.clone(),
        })
    }

    /// The text with all changes made; the same text where they are there already.
    pub(super) fn apply(&self, text: &str, values: Values) -> Result<Changed, Vec<Finding>> {
        let edits = self.resolved(values)?;
        let mut changed = Changed {
            text: text.to_owned(),
            notes: Vec::new(),
        };
        if let Some(migration) = &self.migration
            && !migration.is_done(&self.file, text)
        {
            let migrated = migration.migrate(&self.file, text)?;
            changed.text = migrated.text;
            let mut note = |what: &str, keys: &[String]| {
                if !keys.is_empty() {
                    changed.notes.push(format!("{what}: {}", keys.join(", ")));
                }
            };
            note("unknown keys, left as they are", &migrated.unknown_keys);
            note("keys with a value of their own, kept", &migrated.kept_keys);
        }
        changed.text = edit_text(&self.file, &changed.text, &edits)
            .map_err(|findings| self.without_lines(findings))?;
        for (name, version) in &self.dependencies {
            self.raise(name, version, &mut changed)?;
        }
        Ok(changed)
    }

    /// The text in its old version with what was edited since; none where there is no such way,
    /// or the step did more than one typed migration.
    pub(super) fn reverse(&self, old: &str, edited: &str) -> Option<Reversed> {
        if !self.edits.is_empty() || !self.dependencies.is_empty() {
            return None;
        }
        let migration = self.migration.as_ref()?;
        migration.reverse(&self.file, old, edited).ok().flatten()
    }

    fn raise(
        &self,
        name: &str,
        version: &Version,
        changed: &mut Changed,
    ) -> Result<(), Vec<Finding>> {
        let found = dependency_edits(&self.file, &changed.text, name, version)?;
        if found.places == 0 {
            let message = format!("{} has no dependency {name}", self.file);
            if !self.optional {
                return Err(vec![Finding::error("config.dependency", message)]);
            }
            changed.notes.push(message);
        }
        changed.notes.extend(found.notes);
        changed.text = edit_text(&self.file, &changed.text, &found.edits)?;
        Ok(())
    }

    /// The changes, a line each, without secrets.
    pub(super) fn actions(&self) -> Vec<String> {
        let migration = self.migration.iter();
        let migration = migration.map(|m| format!("{}: migrate with {}", self.file, m.name()));
        let edits = self.edits.iter().map(|edit| match edit {
            Edit::Set { path, value } => {
                let keys = path.steps().iter().filter_map(key_of);
                let value = redact_value(keys, &written::plain(value));
                format!("{}: set {path} = {value}", self.file)
            }
            Edit::Rename { from, to } => format!("{}: rename {from} to {to}", self.file),
            Edit::Remove { path } => format!("{}: remove {path}", self.file),
        });
        let dependencies = self.dependencies.iter();
        let dependencies =
            dependencies.map(|(name, to)| format!("{}: require {name} {to}", self.file));
        migration.chain(edits).chain(dependencies).collect()
    }

    /// One line about the changes.
    pub(super) fn title(&self) -> String {
        let migration = self.migration.iter();
        let mut parts: Vec<String> = migration.map(|m| m.name().to_owned()).collect();
        let count = self.edits.len();
        if count > 0 {
            let s = if count == 1 { "" } else { "s" };
            parts.push(format!("{count} edit{s}"));
        }
        let dependencies = self.dependencies.iter();
        parts.extend(dependencies.map(|(name, to)| format!("require {name} {to}")));
        format!("change {}: {}", self.file, parts.join(", "))
    }
}

pub(super) fn key_of(step: &PathStep) -> Option<&str> {
    match step {
        PathStep::Key(key) => Some(key.as_str()),
        PathStep::Index(_) => None,
    }
}

struct Reader<'a> {
    spec: &'a MigrationStep,
    findings: Vec<Finding>,
}

impl Reader<'_> {
    fn find(&mut self, pointer: &str, message: String) -> &mut Finding {
        let finding = Finding::error("plan.config-update", message).at(pointer);
        self.findings.push(finding);
        self.findings
            .last_mut()
            .expect("it was pushed a moment ago")
    }

    fn refuse_foreign_fields(&mut self) {
        if self.spec.command.is_some() {
            self.find("/command", "a ConfigUpdate step runs no command".to_owned());
        }
        if self.spec.data_migration.is_some() {
            let message = "a ConfigUpdate step moves no data".to_owned();
            self.find("/data_migration", message);
        }
    }

    fn file(&mut self) -> String {
        let file = match self.spec.extra.get("file") {
            None | Some(Value::Null) => return DEFAULT_FILE.to_owned(),
            Some(Value::String(file)) => file.clone(),
            Some(_) => {
                self.find("/file", "file is not a string".to_owned());
                return String::new();
            }
        };
        let normal = |part| matches!(part, Component::Normal(_) | Component::CurDir);
        if file.is_empty() || !Path::new(&file).components().all(normal) {
            let message = format!("{file:?} is not a path below the deployment's root");
            self.find("/file", message).hint = Some(format!(
                "name it from the root, without '..': {DEFAULT_FILE}"
            ));
        } else if let Err(finding) = Format::of(&file) {
            self.findings.push(finding.at("/file"));
        }
        // One name for one file, so that steps on it find each other.
        let parts = Path::new(&file).components();
        let named = parts.filter(|part| *part != Component::CurDir);
        named.collect::<PathBuf>().to_string_lossy().into_owned()
    }

    fn migration(&mut self, known: &ConfigMigrations) -> Option<Arc<dyn ConfigMigration>> {
        let name = match self.spec.extra.get("migration")? {
            Value::Null => return None,
            Value::String(name) => name,
            _ => {
                self.find("/migration", "migration is not a string".to_owned());
                return None;
            }
        };
        let found = known.get(name);
        if found.is_none() {
            let message = format!("no config migration is called {name:?}");
            self.find("/migration", message).hint =
                Some(format!("known migrations: {}", known.names().join(", ")));
        }
        found
    }

    fn renames(&mut self) -> Vec<Edit> {
        let pairs = match self.spec.extra.get("rename") {
            None | Some(Value::Null) => return Vec::new(),
            Some(Value::Object(pairs)) => pairs,
            Some(_) => {
                let message = "rename is not an object of old path to new path".to_owned();
                self.find("/rename", message);
                return Vec::new();
            }
        };
        let mut edits = Vec::new();
        for (old, new) in pairs {
            let pointer = format!("/rename{}", KeyPath::keys([old.as_str()]).pointer());
            let from = self.path(&pointer, old);
            let to = if let Some(new) = new.as_str() {
                self.path(&pointer, new)
            } else {
                self.find(&pointer, format!("the new path of {old} is not a string"));
                None
            };
            if let (Some(from), Some(to)) = (from, to) {
                edits.push(Edit::Rename { from, to });
            }
        }
        edits
    }

    fn removes(&mut self) -> Vec<Edit> {
        let paths = match self.spec.extra.get("remove") {
            None | Some(Value::Null) => return Vec::new(),
            Some(Value::Array(paths)) => paths,
            Some(_) => {
                self.find("/remove", "remove is not a list of paths".to_owned());
                return Vec::new();
            }
        };
        let mut edits = Vec::new();
        for (index, path) in paths.iter().enumerate() {
            let pointer = format!("/remove/{index}");
            if let Some(text) = path.as_str() {
                let path = self.path(&pointer, text);
                edits.extend(path.map(|path| Edit::Remove { path }));
            } else {
                self.find(&pointer, "a path is a string".to_owned());
            }
        }
        edits
    }

    fn sets(&mut self) -> Vec<Edit> {
        let mut edits = Vec::new();
        for (text, value) in self.spec.config_changes.iter().flatten() {
            let pointer = KeyPath::keys(["config_changes", text]).pointer();
            let path = self.path(&pointer, text);
            if let Some(wrong) = written::problem(value) {
                self.find(&pointer, format!("{text}: {wrong}"));
                continue;
            }
            edits.extend(path.map(|path| Edit::Set {
                path,
                value: value.clone(),
            }));
        }
        edits
    }

    fn dependencies(&mut self) -> Vec<(String, Version)> {
        let pairs = match self.spec.extra.get("dependencies") {
            None | Some(Value::Null) => return Vec::new(),
            Some(Value::Object(pairs)) => pairs,
            Some(_) => {
                let message = "dependencies is not an object of crate to version".to_owned();
                self.find("/dependencies", message);
                return Vec::new();
            }
        };
        let mut dependencies = Vec::new();
        for (name, version) in pairs {
            match version.as_str().unwrap_or_default().parse() {
                Ok(version) => dependencies.push((name.clone(), version)),
                Err(error) => {
                    let pointer = KeyPath::keys(["dependencies", name]).pointer();
                    self.find(&pointer, format!("{name}: {error}"));
                }
            }
        }
        dependencies
    }

    fn optional(&mut self) -> bool {
        match self.spec.extra.get("optional") {
            None | Some(Value::Null) => false,
            Some(Value::Bool(optional)) => *optional,
            Some(_) => {
                self.find("/optional", "optional is not true or false".to_owned());
                false
            }
        }
    }

    fn path(&mut self, pointer: &str, text: &str) -> Option<KeyPath> {
        match text.parse() {
            Ok(path) => Some(path),
            Err(error) => {
                self.find(pointer, redact_url(&format!("{error}")));
                None
            }
        }
    }
}
