//! Whether a script was applied: decided by that script in our own history.
//!
//! `schema_versions` is read only where the history does not know the script: deployments of
//! the guide, and of releases that kept no line for a script.

use migrate_core::Finding;
use serde_json::Value;

use super::made::{self, Made};
use super::script_name::ScriptName;
use super::versions_table::VersionsTable;
use crate::db::{Database, DbError};
use crate::history::{self, ScriptLine, State};
use crate::layout::Section;
use crate::own;
use crate::script::SqlScript;

/// What the database says about a script.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum ScriptState {
    /// It was applied; how that is known.
    Applied(String),
    /// It was not.
    NotApplied,
    /// Neither can be said, or it was applied with another text.
    Unclear(Box<Finding>),
}

/// A script that a release without lines for scripts applied, as its log of runs says.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Earlier {
    file: String,
    version: i64,
}

/// All that a database says about its scripts.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    history: State,
    earlier: Vec<Earlier>,
    pub(crate) versions: VersionsTable,
}

impl Known {
    /// Reads it. Read-only.
    ///
    /// # Errors
    /// The database's.
    pub(crate) async fn read(db: &Database) -> Result<Self, DbError> {
        Ok(Self {
            history: history::read(db).await?,
            earlier: earlier(db).await?,
            versions: VersionsTable::read(db).await?,
        })
    }

    /// Whether a script was applied. `made` is asked only where the history does not know.
    fn state(&self, asked: &Asked<'_>, made: Made) -> ScriptState {
        let name = asked.name.as_str();
        match self.history.script(&asked.key) {
            ScriptLine::Applied(line) if line.checksum == asked.checksum => {
                return ScriptState::Applied(format!("{name} was applied at {}", line.record.at));
            }
            ScriptLine::Applied(line) => return changed(name, &line.record.at),
            ScriptLine::RolledBack => return ScriptState::NotApplied,
            ScriptLine::Unknown => {}
        }
        if !asked
            .numbers
            .iter()
            .any(|number| self.versions.has(*number))
        {
            return ScriptState::NotApplied;
        }
        if self.is_earlier(asked) {
            return ScriptState::Applied(format!("an earlier run applied {name}"));
        }
        let row = asked
            .numbers
            .iter()
            .copied()
            .find(|number| self.versions.has(*number) && !self.is_explained(*number));
        match (row, made) {
            (None, _) | (_, Made::None) => ScriptState::NotApplied,
            (Some(number), Made::All) => ScriptState::Applied(format!(
                "schema_versions says {number}, and what {name} creates is there"
            )),
            (Some(number), Made::Part | Made::Unknown) => unclear(name, number),
        }
    }

    fn is_earlier(&self, asked: &Asked<'_>) -> bool {
        self.earlier
            .iter()
            .any(|one| one.file == asked.name.file() && asked.numbers.contains(&one.version))
    }

    /// Whether a run of ours is known to have written a version's row.
    fn is_explained(&self, version: i64) -> bool {
        self.earlier.iter().any(|one| one.version == version)
            || self.history.script_versions().contains(&version)
    }

    /// Why a script leaves `schema_versions` as it is; none if its version is to be recorded there.
    pub(crate) fn leaves_versions(&self, version: i64) -> Option<String> {
        match &self.versions {
            VersionsTable::Missing => None,
            VersionsTable::Foreign(why) => Some(format!(
                "table schema_versions is left as it is: {why}, so that it is not the guide's"
            )),
            VersionsTable::Guide(found) => found
                .iter()
                .find(|one| **one > version && !self.is_explained(**one))
                .map(|one| {
                    format!(
                        "table schema_versions is left as it is: its version {one} is of no run \
                         of this tool"
                    )
                }),
        }
    }
}

/// A script that is asked about.
struct Asked<'a> {
    name: &'a ScriptName,
    key: String,
    checksum: String,
    /// The versions by which `schema_versions` may know it.
    numbers: Vec<i64>,
}

/// What the database says about a script that brings a version.
///
/// # Errors
/// The database's.
pub(crate) async fn look(
    db: &Database,
    known: &Known,
    script: &SqlScript,
    name: &ScriptName,
    version: i64,
) -> Result<ScriptState, DbError> {
    let mut numbers = vec![version];
    numbers.extend(number_of_earlier_releases(name).filter(|number| *number != version));
    let asked = Asked {
        name,
        key: name.key(db).await?,
        checksum: checksum(script),
        numbers,
    };
    let made = made::look(db, script).await?;
    Ok(known.state(&asked, made))
}

/// Whether a script whose text is not at hand (what it rolls back) counts as applied.
///
/// # Errors
/// The database's.
pub(crate) async fn is_there(
    db: &Database,
    known: &Known,
    name: &ScriptName,
    version: i64,
) -> Result<bool, DbError> {
    Ok(match known.history.script(&name.key(db).await?) {
        ScriptLine::Applied(_) => true,
        ScriptLine::RolledBack => false,
        ScriptLine::Unknown => {
            known.versions.has(version) || known.history.script_versions().contains(&version)
        }
    })
}

/// The checksum of a script, which does not see what editors change by themselves.
pub(super) fn checksum(script: &SqlScript) -> String {
    Section::of_text(script.origin(), script.text()).checksum()
}

fn changed(name: &str, at: &str) -> ScriptState {
    ScriptState::Unclear(Box::new(
        Finding::error(
            "schema.script-changed",
            format!("{name} was applied at {at} with another text"),
        )
        .hint("put the text back that was applied, and the changes into a script of a new name"),
    ))
}

fn unclear(name: &str, version: i64) -> ScriptState {
    ScriptState::Unclear(Box::new(
        Finding::error(
            "schema.script-unclear",
            format!(
                "schema_versions says {version}, but nothing shows whether that was {name}: \
                 no run of this tool recorded it, and not all that it creates is there"
            ),
        )
        .hint(format!(
            "if {name} was applied, take the step out of the plan; if not, \
             DELETE FROM schema_versions WHERE version = {version}"
        )),
    ))
}

/// Earlier releases took `_v7` anywhere in a script's name for its version.
fn number_of_earlier_releases(name: &ScriptName) -> impl Iterator<Item = i64> {
    let stem = name.file().split('.').next().unwrap_or_default();
    stem.split('_')
        .skip(1)
        .find_map(|part| part.strip_prefix('v')?.parse().ok())
        .into_iter()
}

/// The scripts whose markers are there, with their names from the log of their runs.
async fn earlier(db: &Database) -> Result<Vec<Earlier>, DbError> {
    let tables = own::tables(db).await?;
    if !["markers", "log"]
        .iter()
        .all(|name| tables.iter().any(|table| table == name))
    {
        return Ok(Vec::new());
    }
    let backend = db.backend();
    let sql = format!(
        "select m.run, m.step, l.record from {} m join {} l on l.run = m.run \
         where l.record like '%\"step_started\"%' order by l.run, l.seq",
        own::name(backend, "markers"),
        own::name(backend, "log"),
    );
    let found = db.query_ours(&sql).await?;
    Ok(rows(&found)
        .into_iter()
        .filter_map(|row| {
            let record: Value = serde_json::from_str(row.get(2)?.as_str()?).ok()?;
            if record.get("step")? != row.get(1)? {
                return None;
            }
            let receipt = record.get("receipt")?;
            let name = ScriptName::of_file(receipt.get("script")?.as_str()?);
            Some(Earlier {
                file: name.file().to_owned(),
                version: receipt.get("version")?.as_i64()?,
            })
        })
        .collect())
}

/// The rows of a query with several columns, which come as they are if there is one.
fn rows(found: &Value) -> Vec<&Vec<Value>> {
    match found.as_array() {
        None => Vec::new(),
        Some(all) if all.first().is_some_and(Value::is_array) => {
            all.iter().filter_map(Value::as_array).collect()
        }
        Some(all) if all.is_empty() => Vec::new(),
        Some(one) => vec![one],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(versions: &[i64], earlier: &[(&str, i64)]) -> Known {
        Known {
            history: State::default(),
            earlier: earlier
                .iter()
                .map(|(file, version)| Earlier {
                    file: (*file).to_owned(),
                    version: *version,
                })
                .collect(),
            versions: VersionsTable::Guide(versions.to_vec()),
        }
    }

    fn state(known: &Known, name: &str, numbers: &[i64], made: Made) -> &'static str {
        let name = ScriptName::of(name);
        let asked = Asked {
            key: format!("S:{}", name.as_str()),
            name: &name,
            checksum: "x".to_owned(),
            numbers: numbers.to_vec(),
        };
        match known.state(&asked, made) {
            ScriptState::Applied(_) => "applied",
            ScriptState::NotApplied => "not applied",
            ScriptState::Unclear(_) => "unclear",
        }
    }

    #[test]
    fn a_row_of_another_script_says_nothing() {
        let theirs = known(&[2], &[("001_orders_v2.sql", 2)]);
        for made in [Made::All, Made::None, Made::Part, Made::Unknown] {
            assert_eq!(state(&theirs, "002_loyalty.sql", &[2], made), "not applied");
            assert_eq!(
                state(&theirs, "001_orders_v2.sql", &[1, 2], made),
                "applied"
            );
        }
        let higher = known(&[1, 5], &[("005_a.sql", 5)]);
        assert_eq!(
            state(&higher, "004_b.sql", &[4], Made::Unknown),
            "not applied"
        );
    }

    #[test]
    fn a_row_that_nobody_explains_counts_with_what_the_script_makes() {
        let rows = known(&[1, 2, 40], &[]);
        for (made, expected) in [
            (Made::All, "applied"),
            (Made::None, "not applied"),
            (Made::Part, "unclear"),
            (Made::Unknown, "unclear"),
        ] {
            assert_eq!(state(&rows, "002_a.sql", &[2], made), expected);
            assert_eq!(state(&rows, "003_a.sql", &[3], made), "not applied");
        }
        assert!(rows.leaves_versions(2).is_some());
        assert!(rows.leaves_versions(41).is_none());
        assert!(known(&[1], &[]).leaves_versions(2).is_none());
        assert!(
            known(&[5], &[("005_a.sql", 5)])
                .leaves_versions(4)
                .is_none()
        );
    }
}
