//! Looks at source, target and transform, and says everything that is in the way.

mod columns;
mod operators;
mod script;
mod tables;

use migrate_core::{Finding, StepError};
use migrate_schema::catalog::{self, Column};
use migrate_schema::db::{Database, DbError};
use migrate_schema::quote::TableName;

use crate::cells::SourceColumn;
use crate::layout::{Images, Layout, TargetColumn};
use crate::range::Program;
use crate::transform::Repeatable;

/// A finding, and the table whose change by an earlier step could make it go away.
pub(crate) struct Obstacle {
    pub(crate) finding: Finding,
    pub(crate) about: TableName,
    /// Names in the script that the database stumbled over: an earlier step may make what they name.
    pub(crate) names: Vec<String>,
}

/// What was seen.
pub(crate) struct Inspection {
    pub(crate) obstacles: Vec<Obstacle>,
    /// Complete only without obstacles. Ledger, images and rows are filled in by `prepare`.
    pub(crate) layout: Layout,
    pub(crate) source_columns: Vec<SourceColumn>,
}

/// What is to be looked at.
pub(crate) struct Inspector<'a> {
    pub(crate) db: &'a Database,
    /// Where the source is, if it is not there.
    pub(crate) elsewhere: Option<&'a Database>,
    pub(crate) source: &'a TableName,
    pub(crate) target: &'a TableName,
    pub(crate) program: &'a Program,
}

impl Inspector<'_> {
    /// Where the source is.
    fn at_source(&self) -> &Database {
        self.elsewhere.unwrap_or(self.db)
    }

    pub(crate) async fn inspect(&self) -> Result<Inspection, StepError> {
        let failed = |error: DbError| {
            error.into_step_error(format!("can't look at {} and {}", self.source, self.target))
        };
        self.look().await.map_err(failed)
    }

    async fn look(&self) -> Result<Inspection, DbError> {
        let source = catalog::table_columns(self.at_source(), self.source).await?;
        let target = catalog::table_columns(self.db, self.target).await?;
        let mut obstacles = Vec::new();
        for (table, columns) in [(self.source, &source), (self.target, &target)] {
            if columns.is_empty() {
                obstacles.push(self.no_table(table).await?);
            }
        }
        let (key, by_place) = self.source_key(&source, &mut obstacles).await?;
        let outputs = if source.is_empty() {
            Vec::new()
        } else {
            self.outputs(&mut obstacles).await?
        };
        let identity = self.identity(self.target).await?;
        let mut conflict = Vec::new();
        if !target.is_empty() && !outputs.is_empty() {
            self.compare(&target, &outputs, &identity, &mut obstacles);
            conflict = self.target_key(&outputs, &mut obstacles).await?;
        }
        obstacles.extend(self.no_replica_identity().await?);
        let type_of = |columns: &[Column], name: &str| {
            let found = columns.iter().find(|column| column.name == *name);
            found.map(|column| column.type_name.clone())
        };
        let same_key = key == conflict
            && key
                .iter()
                .all(|name| type_of(&source, name) == type_of(&target, name));
        let whole = |kind: String| matches!(kind.to_lowercase().as_str(), "integer" | "bigint");
        let whole_key =
            matches!(&key[..], [only] if by_place || type_of(&source, only).is_some_and(whole));
        let source_operators = operators::of(self.at_source(), self.source).await?;
        let operators = operators::of(self.db, self.target).await?;
        let key_operators = key.iter().filter_map(|name| source_operators.get(name));
        let layout = Layout {
            key_operators: key_operators.cloned().collect(),
            by_place,
            same_key: same_key && !by_place,
            whole_key,
            sampled: self.is_sampled().await?,
            triggers: self.has_triggers().await?,
            plain: self.is_plain().await?,
            on_breach: self.on_breach().await?,
            row_bytes: 1,
            sums: false,
            target_rows: None,
            ledger: String::new(),
            before: String::new(),
            source: self.source.to_string(),
            target: self.target.to_string(),
            key,
            outputs,
            conflict,
            columns: target
                .iter()
                .map(|column| target_column(column, operators.get(&column.name)))
                .collect(),
            rows: 0,
            target_was_empty: false,
            since: None,
            run: String::new(),
            step: String::new(),
            reject_budget: None,
            sequences: Vec::new(),
            images: match self.program.repeatable() {
                Repeatable::Yes => Images::Existing,
                Repeatable::No => Images::All,
            },
        };
        if obstacles.is_empty() {
            obstacles.extend(self.try_statement(&layout).await?);
        }
        let source_columns = source
            .into_iter()
            .map(|c| SourceColumn {
                name: c.name,
                type_name: c.type_name,
            })
            .collect();
        Ok(Inspection {
            obstacles,
            layout,
            source_columns,
        })
    }

    async fn no_table(&self, table: &TableName) -> Result<Obstacle, DbError> {
        let db = if table == self.source {
            self.at_source()
        } else {
            self.db
        };
        let known = catalog::user_tables(db).await?;
        let known: Vec<String> = known.iter().take(20).map(ToString::to_string).collect();
        let finding = Finding::error("data.no-table", format!("there is no table {table}"));
        let hint = if known.is_empty() {
            "the database has no tables".to_owned()
        } else {
            format!("tables there are: {}", known.join(", "))
        };
        Ok(Obstacle {
            finding: finding.hint(hint),
            about: table.clone(),
            names: Vec::new(),
        })
    }

    /// The columns that ranges follow, and whether they are the places of rows.
    async fn source_key(
        &self,
        columns: &[Column],
        obstacles: &mut Vec<Obstacle>,
    ) -> Result<(Vec<String>, bool), DbError> {
        if columns.is_empty() {
            return Ok((Vec::new(), false));
        }
        let keys = catalog::unique_keys(self.at_source(), self.source).await?;
        if let Some(key) = keys.into_iter().next() {
            return Ok((key.columns, false));
        }
        if let Some(place) = self.place(columns).await? {
            return Ok((vec![place], true));
        }
        let finding = Finding::error(
            "data.no-key",
            format!("{} has no key that batches could follow", self.source),
        )
        .hint("give it a primary key, or a unique index over columns that are NOT NULL");
        obstacles.push(Obstacle {
            finding,
            about: self.source.clone(),
            names: Vec::new(),
        });
        Ok((Vec::new(), false))
    }
}

fn target_column(column: &Column, operators: Option<&String>) -> TargetColumn {
    TargetColumn {
        operators: operators.cloned(),
        name: column.name.clone(),
        type_name: column.type_name.clone(),
        computed: is_computed(column) || column.identity_always,
    }
}

fn is_computed(column: &Column) -> bool {
    column.generated
}
