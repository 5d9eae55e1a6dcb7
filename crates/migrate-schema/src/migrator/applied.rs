//! What a step's marker tells an undo: written in the transaction of the change itself.

use migrate_core::StepError;
use serde::{Deserialize, Serialize};

use super::versions::TABLE;
use crate::catalog::{Catalog, lines_of_diff};
use crate::quote::TableName;
use crate::script::table_after_on;

/// What a script did to the catalog, and what is needed to take it back.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Applied {
    /// The version that was recorded.
    pub(super) version: i64,
    /// The table of versions was not there before.
    pub(super) made_versions: bool,
    /// Whether the version's row is the script's; another may have brought the same version.
    #[serde(default = "yes")]
    pub(super) wrote_version: bool,
    /// The script's key in the history; none of a release that kept no line for scripts.
    #[serde(default)]
    pub(super) script: Option<String>,
    /// Every object that is different after the script.
    pub(super) changed: Vec<Changed>,
    /// PostgreSQL: routines that the script could replace, each with the statement that brings
    /// it back.
    #[serde(default)]
    pub(super) routines: Vec<Routine>,
    /// SQLite: the text of every object that was there and is different.
    #[cfg(feature = "sqlite")]
    #[serde(default)]
    pub(super) texts: Vec<crate::catalog::sqlite::MasterRow>,
}

fn yes() -> bool {
    true
}

/// An object that a script changed, created or dropped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Changed {
    pub(super) name: String,
    pub(super) before: Option<String>,
    pub(super) after: Option<String>,
}

/// A routine as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Routine {
    pub(super) name: String,
    pub(super) definition: String,
}

impl Applied {
    pub(crate) fn parse(marker: &str) -> Result<Self, StepError> {
        serde_json::from_str(marker)
            .map_err(|error| StepError::caused("the step's marker can't be read", &error))
    }

    pub(super) fn to_marker(&self) -> String {
        serde_json::to_string(self).expect("it holds texts and numbers only")
    }

    /// PostgreSQL: columns that are new in tables that are not.
    pub(crate) fn added_columns(&self) -> Vec<(TableName, String)> {
        let new = |name: &str| {
            self.changed(name)
                .is_some_and(|changed| changed.before.is_none())
        };
        self.changed
            .iter()
            .filter(|changed| changed.before.is_none() && changed.after.is_some())
            .filter_map(|changed| changed.name.strip_prefix("column ")?.rsplit_once('.'))
            .filter(|(table, _)| !new(&format!("table {table}")))
            .filter_map(|(table, column)| Some((table.parse().ok()?, column.to_owned())))
            .collect()
    }

    /// The changed object of that name.
    pub(super) fn changed(&self, name: &str) -> Option<&Changed> {
        self.changed.iter().find(|changed| changed.name == name)
    }

    /// The objects that somebody changed after the script did.
    pub(crate) fn changed_since(&self, now: &Catalog) -> Vec<String> {
        self.changed
            .iter()
            .filter(|changed| now.objects().get(&changed.name) != changed.after.as_ref())
            .map(|changed| changed.name.clone())
            .collect()
    }

    /// What an undo did wrong: objects of the script that are not as before, and others that
    /// it touched. `now` is from before the undo, `end` from its end. What hung on a table
    /// that is gone went with it and is listed in the second place.
    pub(super) fn review_undo(&self, now: &Catalog, end: &Catalog) -> (Vec<String>, Vec<String>) {
        let mut wrong = Vec::new();
        let mut gone = Vec::new();
        for changed in &self.changed {
            let found = end.objects().get(&changed.name);
            let before = changed.before.as_ref();
            let how = match (before, found) {
                _ if found == before => continue,
                (None, _) => "is still there",
                (_, None) => "is missing",
                _ => "is not as it was",
            };
            let lines = lines_of_diff(before, found);
            wrong.push(format!("{} {how}{lines}", changed.name));
        }
        for (name, before) in now.objects() {
            if self.changed(name).is_some() || is_versions(name) {
                continue;
            }
            let after = end.objects().get(name);
            let how = match after {
                Some(after) if after == before => continue,
                Some(_) => "changed",
                None if self.hangs_on_created(name, before) => {
                    gone.push(format!("{name} went with its table"));
                    continue;
                }
                None => "dropped",
            };
            let lines = lines_of_diff(Some(before), after);
            wrong.push(format!("{name} was {how} by the undo{lines}"));
        }
        let new = end
            .objects()
            .iter()
            .filter(|(name, _)| !now.objects().contains_key(*name) && self.changed(name).is_none());
        wrong.extend(new.map(|(name, made)| {
            let lines = lines_of_diff(None, Some(made));
            format!("{name} was made by the undo{lines}")
        }));
        (wrong, gone)
    }

    /// Whether an object of somebody else's belongs to a table that the script created.
    fn hangs_on_created(&self, name: &str, definition: &str) -> bool {
        let on = table_after_on(definition).map(|table| table.table().to_lowercase());
        self.changed
            .iter()
            .filter(|changed| changed.before.is_none())
            .filter_map(|changed| changed.name.strip_prefix("table "))
            .any(|table| {
                let own = name.split_once(' ').map_or(name, |(_, rest)| rest);
                let plain = table.rsplit_once('.').map_or(table, |(_, plain)| plain);
                own.starts_with(&format!("{table}."))
                    || on.as_deref() == Some(plain.trim_matches('"').to_lowercase().as_str())
            })
    }
}

/// Whether an object belongs to the table of versions, which is not the script's.
pub(super) fn is_versions(name: &str) -> bool {
    let own = name.split_once(' ').map_or(name, |(_, rest)| rest);
    let key = format!("{TABLE}_pkey");
    own.split('.').any(|part| part == TABLE || part == key)
}

/// The steps (of those with these markers) that ran a script; one of a release that kept no
/// key for scripts is known by its version.
pub(super) fn brought(
    markers: Vec<(String, String)>,
    key: &str,
    version: i64,
) -> impl Iterator<Item = (String, Applied)> {
    markers.into_iter().filter_map(move |(step, marker)| {
        let applied = Applied::parse(&marker).ok()?;
        let is_it = match &applied.script {
            Some(script) => script == key,
            None => applied.version == version,
        };
        is_it.then_some((step, applied))
    })
}

/// What differs between two catalogs, the table of versions left out.
pub(super) fn changes(before: &Catalog, after: &Catalog) -> Vec<Changed> {
    let mut names: Vec<&String> = before
        .objects()
        .keys()
        .chain(after.objects().keys())
        .filter(|name| !is_versions(name))
        .collect();
    names.sort();
    names.dedup();
    names
        .into_iter()
        .map(|name| Changed {
            name: name.clone(),
            before: before.objects().get(name).cloned(),
            after: after.objects().get(name).cloned(),
        })
        .filter(|changed| changed.before != changed.after)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_table_of_versions_is_left_out() {
        for name in [
            "table schema_versions",
            "table public.schema_versions",
            "column public.schema_versions.version",
            "constraint public.schema_versions.schema_versions_pkey",
            "index public.schema_versions_pkey",
        ] {
            assert!(is_versions(name), "{name}");
        }
        for name in [
            "table my_schema_versions",
            "table public.schema_versions_log",
            "table x",
        ] {
            assert!(!is_versions(name), "{name}");
        }
    }
}
