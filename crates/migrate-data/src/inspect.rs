//! Looks at source, target and transform, and says everything that is in the way.

use migrate_core::{Finding, StepError};
use migrate_schema::catalog::{self, Column};
use migrate_schema::db::{Backend, Database, DbError};
use migrate_schema::quote::{TableName, literal};

use crate::access;
use crate::cells::SourceColumn;
use crate::layout::{Images, Layout, TargetColumn};
use crate::range::Program;
use crate::statement::{Produced, Statements, with_batch};
use crate::transform::{OnConflict, Repeatable};

/// A finding, and the table whose change by an earlier step could make it go away.
pub(crate) struct Obstacle {
    pub(crate) finding: Finding,
    pub(crate) about: TableName,
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
        let layout = Layout {
            by_place,
            same_key: same_key && !by_place,
            whole_key,
            sampled: self.is_sampled().await?,
            triggers: self.has_triggers().await?,
            plain: self.is_plain().await?,
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
            columns: target.iter().map(target_column).collect(),
            rows: 0,
            target_was_empty: false,
            run: String::new(),
            step: String::new(),
            reject_budget: None,
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
        });
        Ok((Vec::new(), false))
    }

    /// What tells the places of rows of a plain table without a key: `ctid`, or SQLite's rowid.
    async fn place(&self, columns: &[Column]) -> Result<Option<String>, DbError> {
        match self.at_source().backend() {
            Backend::Postgres => Ok(self
                .is_of_kind("'r', 'm'")
                .await?
                .then(|| "ctid".to_owned())),
            Backend::Sqlite => {
                let query = format!(
                    "SELECT 1 FROM pragma_table_list WHERE name = {} AND type = 'table' AND wr = 0",
                    literal(self.source.table())
                );
                let plain = !access::rows(self.at_source(), &query).await?.is_empty();
                let free = ["rowid", "_rowid_", "oid"]
                    .into_iter()
                    .find(|name| !columns.iter().any(|c| c.name.eq_ignore_ascii_case(name)));
                Ok(free.filter(|_| plain).map(str::to_owned))
            }
        }
    }

    /// Whether pages of the source can be sampled.
    async fn is_sampled(&self) -> Result<bool, DbError> {
        match self.at_source().backend() {
            Backend::Postgres => self.is_of_kind("'r', 'm', 'p'").await,
            Backend::Sqlite => Ok(false),
        }
    }

    async fn is_of_kind(&self, kinds: &str) -> Result<bool, DbError> {
        let query = format!(
            "SELECT 1 FROM pg_class WHERE oid = to_regclass({}) AND relkind IN ({kinds})",
            literal(&self.source.sql())
        );
        Ok(!access::rows(self.at_source(), &query).await?.is_empty())
    }

    /// Whether the target, or a part of it, has triggers of the user's.
    async fn has_triggers(&self) -> Result<bool, DbError> {
        let query = match self.db.backend() {
            Backend::Postgres => format!(
                "SELECT 1 FROM pg_trigger WHERE NOT tgisinternal AND tgenabled <> 'D' AND tgrelid IN \
                 (SELECT relid FROM pg_partition_tree(to_regclass({0})) UNION SELECT to_regclass({0})) LIMIT 1",
                literal(&self.target.sql())
            ),
            Backend::Sqlite => format!(
                "SELECT 1 FROM sqlite_master WHERE type = 'trigger' AND lower(tbl_name) = lower({}) LIMIT 1",
                literal(self.target.table())
            ),
        };
        Ok(!access::rows(self.db, &query).await?.is_empty())
    }

    /// Whether rows copied into the target become what inserted ones would.
    async fn is_plain(&self) -> Result<bool, DbError> {
        if self.db.backend() == Backend::Sqlite {
            return Ok(false);
        }
        let query = format!(
            "SELECT 1 FROM pg_class WHERE oid = to_regclass({}) AND relkind IN ('r', 'p') \
             AND NOT relhasrules AND NOT relrowsecurity",
            literal(&self.target.sql())
        );
        Ok(!access::rows(self.db, &query).await?.is_empty())
    }

    /// The columns that the transform gives.
    async fn outputs(&self, obstacles: &mut Vec<Obstacle>) -> Result<Vec<String>, DbError> {
        let script = match self.program {
            Program::Rust(transform) => {
                return Ok(transform.columns().iter().map(|&c| c.to_owned()).collect());
            }
            Program::Sql(script) => script,
        };
        let query = with_batch("*", &script.select, &self.source.sql(), " WHERE 1 = 0");
        let names = match access::columns_of(self.at_source(), &query).await {
            Ok(names) => names,
            Err(error) if is_of_the_statement(&error) => {
                let finding = Finding::error(
                    "data.script",
                    format!("the script does not fit {}: {error}", self.source),
                );
                let finding = match error.hint {
                    Some(hint) => finding.hint(hint),
                    None => finding,
                };
                obstacles.push(Obstacle {
                    finding,
                    about: self.source.clone(),
                });
                return Ok(Vec::new());
            }
            Err(error) => return Err(error),
        };
        for (at, name) in names.iter().enumerate() {
            if names[..at].contains(name) {
                let finding = Finding::error(
                    "data.output-twice",
                    format!("the script gives the column {name:?} twice"),
                );
                obstacles.push(Obstacle {
                    finding,
                    about: self.source.clone(),
                });
            }
        }
        Ok(names)
    }

    fn compare(
        &self,
        target: &[Column],
        outputs: &[String],
        identity: &[String],
        obstacles: &mut Vec<Obstacle>,
    ) {
        let there = target.iter().map(|c| c.name.as_str()).collect::<Vec<_>>();
        let mut say = |code: &str, message: String, hint: String| {
            let finding = Finding::error(code, message).hint(hint);
            obstacles.push(Obstacle {
                finding,
                about: self.target.clone(),
            });
        };
        let columns_there = format!("columns there are: {}", there.join(", "));
        for name in outputs {
            match target.iter().find(|c| &c.name == name) {
                None => say(
                    "data.no-column",
                    format!(
                        "{} has no column {name:?}, which the transform gives",
                        self.target
                    ),
                    columns_there.clone(),
                ),
                Some(column) if is_computed(column) => say(
                    "data.computed-column",
                    format!(
                        "{}.{name} is computed by the database and can't be written",
                        self.target
                    ),
                    "leave it out of the transform".to_owned(),
                ),
                Some(_) => {}
            }
        }
        for column in target {
            let filled = !column.not_null
                || column.default.is_some()
                || is_computed(column)
                || identity.contains(&column.name)
                || self.is_rowid(column);
            if !filled && !outputs.contains(&column.name) {
                say(
                    "data.not-filled",
                    format!(
                        "{}.{} is NOT NULL without a default, and the transform does not give it",
                        self.target, column.name
                    ),
                    "add it to the transform, or give it a default".to_owned(),
                );
            }
        }
        let (updated, set) = match self.program.on_conflict() {
            OnConflict::Update { columns, set } => (columns, set),
            OnConflict::UpdateProduced | OnConflict::Fail => return,
        };
        for name in updated.iter().filter(|name| !outputs.contains(name)) {
            say(
                "data.on-conflict",
                format!("on-conflict updates {name:?}, which the transform does not give"),
                format!("it gives: {}", outputs.join(", ")),
            );
        }
        for (name, _) in set
            .iter()
            .filter(|(name, _)| !there.contains(&name.as_str()))
        {
            say(
                "data.on-conflict",
                format!(
                    "on-conflict sets {name:?}, which {} does not have",
                    self.target
                ),
                columns_there.clone(),
            );
        }
    }

    /// SQLite fills an INTEGER PRIMARY KEY itself.
    fn is_rowid(&self, column: &Column) -> bool {
        self.db.backend() == Backend::Sqlite && column.type_name.eq_ignore_ascii_case("integer")
    }

    async fn target_key(
        &self,
        outputs: &[String],
        obstacles: &mut Vec<Obstacle>,
    ) -> Result<Vec<String>, DbError> {
        let keys = catalog::unique_keys(self.db, self.target).await?;
        let covered = keys
            .iter()
            .find(|key| key.columns.iter().all(|name| outputs.contains(name)));
        if let Some(key) = covered {
            return Ok(key.columns.clone());
        }
        let known: Vec<String> = keys
            .iter()
            .map(|key| format!("({})", key.columns.join(", ")))
            .collect();
        let finding = Finding::error(
            "data.no-target-key",
            format!("the transform gives no key of {} whole", self.target),
        );
        let finding = finding.hint(if known.is_empty() {
            format!(
                "{} needs a primary key, or a unique index over columns that are NOT NULL",
                self.target
            )
        } else {
            format!("its keys are: {}", known.join(", "))
        });
        obstacles.push(Obstacle {
            finding,
            about: self.target.clone(),
        });
        Ok(Vec::new())
    }

    /// Lets the database look at the whole statement, which it does not run.
    async fn try_statement(&self, layout: &Layout) -> Result<Option<Obstacle>, DbError> {
        let Program::Sql(script) = self.program else {
            return Ok(None);
        };
        let sql = Statements {
            backend: self.db.backend(),
            layout,
        };
        if let Some(db) = self.elsewhere {
            let whole = with_batch(&sql.outputs(), &script.select, &self.source.sql(), "");
            access::try_plan(db, &whole).await?;
            return Ok(None);
        }
        // A key is not needed to see whether columns and types fit: the whole source stands for a batch.
        let whole = with_batch(&sql.outputs(), &script.select, &self.source.sql(), "");
        let statement = sql.upsert(Produced::Query(&whole), &self.program.on_conflict());
        match access::try_plan(self.db, &statement).await {
            Ok(()) => Ok(None),
            Err(error) if is_of_the_statement(&error) => {
                let finding = Finding::error(
                    "data.script",
                    format!(
                        "what the transform gives does not fit {}: {error}",
                        self.target
                    ),
                );
                let finding = match error.hint {
                    Some(hint) => finding.hint(hint),
                    None => finding,
                };
                Ok(Some(Obstacle {
                    finding,
                    about: self.target.clone(),
                }))
            }
            Err(error) => Err(error),
        }
    }

    /// The columns of a table that a sequence of their own fills; SQLite has none.
    async fn identity(&self, table: &TableName) -> Result<Vec<String>, DbError> {
        if self.db.backend() == Backend::Sqlite {
            return Ok(Vec::new());
        }
        let query = format!(
            "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass({}) AND attidentity <> '' AND NOT attisdropped",
            literal(&table.sql())
        );
        let rows = access::rows(self.db, &query).await?;
        Ok(rows
            .into_iter()
            .filter_map(|mut row| row.pop().flatten())
            .collect())
    }
}

fn target_column(column: &Column) -> TargetColumn {
    TargetColumn {
        name: column.name.clone(),
        type_name: column.type_name.clone(),
        computed: is_computed(column) || column.identity_always,
    }
}

fn is_computed(column: &Column) -> bool {
    column.generated
}

/// The statement is wrong, not the connection or the server.
fn is_of_the_statement(error: &DbError) -> bool {
    let code = error.code.as_deref().unwrap_or("");
    code.starts_with("42")
        || code.starts_with("22")
        || code.starts_with("0A")
        || code.starts_with("SQLITE_ERROR")
}
