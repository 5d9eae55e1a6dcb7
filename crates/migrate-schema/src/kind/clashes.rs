//! What in the schema stands in the way of a script, as far as that can be seen cheaply.

use std::collections::HashSet;

use migrate_core::Finding;

use super::spec::Spec;
use crate::catalog::{table_columns, user_tables};
use crate::db::{Database, DbError};
use crate::quote::TableName;
use crate::script::Effect;

/// Tables that a statement needs and that are not there, or makes and that are there.
pub(super) async fn find(db: &Database, spec: &Spec) -> Result<Vec<Finding>, DbError> {
    let script = &spec.script;
    let mut made: HashSet<TableName> = HashSet::new();
    let mut findings = Vec::new();
    for (statement, effect) in script.effects() {
        let finding = match effect {
            Effect::AlterTable(Some(table)) | Effect::Update { table, .. } => {
                missing(db, &table, &made).await?
            }
            Effect::AddColumn { table, column, .. } => match missing(db, &table, &made).await? {
                Some(finding) => Some(finding),
                None => column_there(db, spec, &table, &column).await?,
            },
            Effect::CreateTable(Some(table)) => {
                let there = !table_columns(db, &table).await?.is_empty();
                let finding = there.then(|| {
                    Finding::error(
                        "schema.table-exists",
                        format!("table {table} is there already"),
                    )
                    .hint(by_hand(spec))
                });
                made.insert(table);
                finding
            }
            // What follows may be about what these made or renamed.
            Effect::Other | Effect::CreateTableIfMissing | Effect::AlterTable(None) => {
                return Ok(findings);
            }
            _ => None,
        };
        findings.extend(finding.map(|found| found.in_file(script.place(statement.start))));
    }
    Ok(findings)
}

fn by_hand(spec: &Spec) -> String {
    format!(
        "if the change was made by hand, record it \
             (INSERT INTO schema_versions (version) VALUES ({})), \
             or take the step out of the plan",
        spec.version
    )
}

async fn missing(
    db: &Database,
    table: &TableName,
    made: &HashSet<TableName>,
) -> Result<Option<Finding>, DbError> {
    if made.contains(table) || !table_columns(db, table).await?.is_empty() {
        return Ok(None);
    }
    let known: Vec<String> = user_tables(db)
        .await?
        .iter()
        .map(ToString::to_string)
        .collect();
    Ok(Some(
        Finding::error("schema.no-table", format!("there is no table {table}")).hint(
            if known.is_empty() {
                "the database holds no tables: is it the right one?".to_owned()
            } else {
                format!("tables: {}", known.join(", "))
            },
        ),
    ))
}

async fn column_there(
    db: &Database,
    spec: &Spec,
    table: &TableName,
    column: &str,
) -> Result<Option<Finding>, DbError> {
    let there = table_columns(db, table)
        .await?
        .iter()
        .any(|found| found.name.eq_ignore_ascii_case(column));
    Ok(there.then(|| {
        Finding::error(
            "schema.column-exists",
            format!("table {table} has a column {column} already"),
        )
        .hint(by_hand(spec))
    }))
}
