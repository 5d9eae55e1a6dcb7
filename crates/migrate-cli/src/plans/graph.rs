//! Which plans exist, as a graph of versions: told by their files' names and two of their fields.

use std::collections::BTreeMap;
use std::path::Path;

use migrate_core::{Hop, PlanEdge, Scripts as _, Version, VersionGraph};
use serde_json::Value;

use super::{EMBEDDED, Migrations, files_of};
use crate::failure::Failure;

impl Migrations {
    /// The graph of all plans that exist.
    pub(crate) fn graph(&self) -> Result<VersionGraph, Failure> {
        let mut names: BTreeMap<String, String> = BTreeMap::new();
        if let Some(plans) = EMBEDDED.get_dir("plans") {
            for file in plans.files() {
                insert(&mut names, file.path())?;
            }
        }
        if let Some(dir) = self.dir.as_ref().map(|dir| dir.join("plans")) {
            let mut own = BTreeMap::new();
            for path in files_of(&dir)? {
                insert(&mut own, &path)?;
            }
            names.extend(own);
        }
        let edges = names
            .iter()
            .filter_map(|(stem, file)| self.edge(stem, file));
        Ok(VersionGraph::new(edges))
    }

    /// The shortest chain of plans between two versions.
    pub(crate) fn path(&self, from: &Version, to: &Version) -> Result<Vec<Hop>, Failure> {
        self.graph()?.path(from, to).map_err(|error| {
            Failure::unchanged(error.to_string())
                .hint("`etlrs-migrate paths` shows all plans and where they lead")
        })
    }

    /// A file that is no plan between versions is none of ours. What is wrong inside of a
    /// plan is told when it is loaded; a reason of any shape withdraws it.
    fn edge(&self, stem: &str, file: &str) -> Option<PlanEdge> {
        let (from, to) = stem.split_once('_')?;
        let (from, to) = (from.parse().ok()?, to.parse().ok()?);
        let document = self
            .read(&format!("plans/{file}"))
            .ok()
            .and_then(|script| migrate_config::parse(&script.origin, &script.text).ok())
            .map_or(Value::Null, |located| located.value);
        let withdrawn = match &document["withdrawn"] {
            Value::Null | Value::Bool(false) => None,
            Value::String(reason) => Some(reason.clone()),
            other => Some(other.to_string()),
        };
        Some(PlanEdge {
            from,
            to,
            name: file.to_owned(),
            withdrawn,
            mandatory_stop: document["mandatory_stop"] == true,
        })
    }
}

fn insert(names: &mut BTreeMap<String, String>, path: &Path) -> Result<(), Failure> {
    let text = |part: Option<&std::ffi::OsStr>| part.map(|p| p.to_string_lossy().into_owned());
    let (Some(stem), Some(file), Some(extension)) = (
        text(path.file_stem()),
        text(path.file_name()),
        text(path.extension()),
    ) else {
        return Ok(());
    };
    if !matches!(extension.as_str(), "json" | "toml") {
        return Ok(());
    }
    if let Some(other) = names.insert(stem, file.clone()) {
        return Err(Failure::unchanged(format!(
            "{other} and {file} are both plans between the same versions; remove one"
        )));
    }
    Ok(())
}
