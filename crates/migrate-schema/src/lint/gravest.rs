//! What is worth a warning before migrations run on a live database.

use std::collections::BTreeSet;

use migrate_core::Finding;

use super::known::Known;
use super::report::LintFinding;
use super::rule::{Level, Levels};
use super::rules::loses;
use super::run::{Chosen, lint};
use crate::db::{Database, DbError};
use crate::layout::{Layout, Migration, MigrationSet, Placeholders, Section};

/// Data that is lost, and big tables that are written again while nobody can read them, in the
/// migrations of these keys. Warnings: nothing is refused for them.
///
/// # Errors
/// The database can't be read.
pub async fn gravest(
    db: &Database,
    set: &MigrationSet,
    keys: BTreeSet<String>,
    placeholders: &Placeholders,
) -> Result<Vec<Finding>, DbError> {
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let known = Known::read(db).await?;
    let report = lint(
        set,
        &Chosen::Pending(keys),
        &known,
        &Levels::default(),
        placeholders,
    );
    Ok(report.findings.into_iter().filter_map(warning).collect())
}

/// The same for one script.
///
/// # Errors
/// The database can't be read.
pub async fn gravest_of_script(
    db: &Database,
    origin: &str,
    sql: &str,
) -> Result<Vec<Finding>, DbError> {
    let one = Migration::repeatable(origin, Section::of_text(origin, sql));
    let keys = BTreeSet::from([one.key()]);
    let set = MigrationSet {
        layout: Layout::Ours,
        backend: db.backend(),
        migrations: vec![one],
        warnings: Vec::new(),
    };
    gravest(db, &set, keys, &Placeholders::default()).await
}

fn warning(found: LintFinding) -> Option<Finding> {
    let grave = found.level == Level::Error && (loses(found.rule) || found.rule == "table-rewrite");
    grave.then(|| {
        let finding =
            Finding::warning(&format!("lint.{}", found.rule), found.message).in_file(found.place);
        match found.instead {
            Some(instead) => finding.hint(instead),
            None => finding,
        }
    })
}
