//! What a way back would meet: rows that the old form can't hold, or the script can't read.

use migrate_core::{Finding, Loss, StepContext, StepError, UndoCheck};
use migrate_schema::catalog;
use migrate_schema::db::DbError;
use migrate_schema::marks::{self, Marks};
use migrate_schema::own;
use migrate_schema::quote::{ident, literal};

use super::{Carry, Parts, marker, rows};
use crate::access::{self, TextRow, Tx};
use crate::inspect::Obstacle;
use crate::reverse::{ReverseSql, VERDICT};
use crate::settings::fixed;
use crate::statement::with_batch;

/// The temporary table with the rows that others wrote.
const BACK: &str = "_etlrs_back";

/// How many rows are named.
const SHOWN: usize = 5;

/// How many rows are tried one by one to find those that the script does not read.
const TRIED: usize = 500;

impl Carry<'_> {
    /// What is in the way of the script before anything is copied.
    pub(crate) async fn obstacles(&self) -> Result<Vec<Obstacle>, DbError> {
        let target = &self.copy.target;
        let obstacle = |code: &str, message: String, hint: &str| Obstacle {
            finding: Finding::error(code, message).hint(hint),
            about: target.clone(),
            names: Vec::new(),
        };
        if self.layout.columns.is_empty() || self.layout.key.is_empty() {
            return Ok(Vec::new());
        }
        let mut found = Vec::new();
        let query = with_batch(
            "*",
            &self.reverse.select,
            &self.layout.target_sql(),
            " WHERE 1 = 0",
        );
        let outputs = match access::columns_of(&self.copy.db, &query).await {
            Ok(outputs) => outputs,
            Err(error) if error.code.is_some() => {
                found.push(obstacle(
                    "data.reverse-script",
                    format!("the reverse script does not fit {target}: {error}"),
                    "it reads rows of the target, with the columns that it has after the upgrade",
                ));
                return Ok(found);
            }
            Err(error) => return Err(error),
        };
        let old = catalog::table_columns(&self.copy.db, &self.copy.source).await?;
        let source = &self.copy.source;
        for name in outputs.iter().filter(|name| *name != VERDICT) {
            if !old.iter().any(|column| &column.name == name) {
                let message =
                    format!("{source} has no column {name:?}, which the reverse script gives");
                found.push(obstacle(
                    "data.reverse-column",
                    message,
                    "leave it out of the script",
                ));
            }
        }
        let needed = self.layout.key.iter().map(String::as_str);
        for name in needed
            .chain([VERDICT])
            .filter(|name| !outputs.iter().any(|o| o == name))
        {
            found.push(obstacle(
                "data.reverse-output",
                format!("the reverse script does not give the column {name:?}"),
                "it gives the key, columns of the old table, and `cannot_hold`: null, or what the old form can't hold",
            ));
        }
        Ok(found)
    }

    /// What it would meet: rows that the old form can't hold, or the script can't read. Read-only.
    pub(crate) async fn look(&self, cx: &StepContext) -> Result<UndoCheck, StepError> {
        let looked = self.look_at(cx).await;
        looked.map_err(|error| self.failed(error))
    }

    async fn look_at(&self, cx: &StepContext) -> Result<UndoCheck, DbError> {
        let mut check = UndoCheck::default();
        let begun = own::marker(&self.copy.db, cx.run.as_str(), &marker(cx)).await?;
        let (Some(marks), None) = (self.marks(cx).await?, begun) else {
            return Ok(check);
        };
        let Some(changes) = marks::changes(&self.copy.db, &marks, &self.copy.target).await? else {
            check.blocked.push(self.other_columns());
            return Ok(check);
        };
        if changes.is_none() {
            return Ok(check);
        }
        if !self.fits(&marks) {
            check.blocked.push(self.other_columns());
            return Ok(check);
        }
        let parts = self.sql(self.temp(BACK)).await?;
        let mut tx = Tx::look(&self.copy.db).await?;
        let done = self.look_in(&mut tx, &marks, &parts, &mut check).await;
        tx.rollback().await?;
        done?;
        if changes.deleted > 0 {
            let gone = access::count(&self.copy.db, &self.write(&parts).gone()).await?;
            let gone = gone.min(changes.deleted);
            if gone > 0 {
                let detail = format!(
                    "{gone} deleted since the upgrade would be there again, in {}",
                    self.copy.source
                );
                check
                    .losses
                    .push(Loss::new(self.object(), Some(gone), detail));
            }
        }
        Ok(check)
    }

    fn object(&self) -> String {
        format!("table {}", self.copy.target)
    }

    async fn look_in(
        &self,
        tx: &mut Tx,
        marks: &Marks,
        parts: &Parts,
        check: &mut UndoCheck,
    ) -> Result<(), DbError> {
        let (inserted, updated) = self.conditions(tx, marks).await?;
        let sql = self.write(parts);
        let create = format!(
            "CREATE TEMP TABLE {} AS {}",
            ident(BACK),
            sql.changed(&inserted, &updated)
        );
        fixed(tx, &create).await?;
        tx.execute("SAVEPOINT reading").await?;
        match self.verdicts(tx, &sql, check).await {
            Ok(()) => Ok(()),
            Err(error) if of_the_rows(&error) => {
                tx.execute("ROLLBACK TO reading").await?;
                let named = self.unread(tx).await?;
                let finding = Finding::error(
                    "data.reverse-row",
                    format!(
                        "the reverse script can't read rows that were written into {} since: {named}: {error}",
                        self.copy.target
                    ),
                );
                check
                    .blocked
                    .push(finding.hint("mend those rows, or roll back with --strategy restore"));
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    async fn verdicts(
        &self,
        tx: &mut Tx,
        sql: &ReverseSql<'_>,
        check: &mut UndoCheck,
    ) -> Result<(), DbError> {
        let unheld = tx.rows(&sql.unheld()).await?;
        if !unheld.is_empty() {
            let detail = format!(
                "{} hold what {} can't: {}",
                rows(unheld.len() as u64),
                self.copy.source,
                self.named(&unheld)
            );
            let count = Some(unheld.len() as u64);
            check.losses.push(Loss::new(self.object(), count, detail));
        }
        let counts = tx.rows(&sql.counts()).await?;
        if let Some([there, made]) = counts.first().map(Vec::as_slice)
            && there != made
        {
            let finding = Finding::error(
                "data.reverse-count",
                format!(
                    "the reverse script gives {} rows of {} that were written into {} since",
                    made.as_deref().unwrap_or("?"),
                    there.as_deref().unwrap_or("?"),
                    self.copy.target
                ),
            );
            check.blocked.push(
                finding.hint("it must give one row for each; roll back with --strategy restore"),
            );
        }
        if let Some(query) = sql.missing() {
            let missing = tx.rows(&query).await?;
            if !missing.is_empty() {
                let finding = Finding::error(
                    "data.reverse-null",
                    format!(
                        "{} of {} have no value for a column of {} that needs one: {}",
                        rows(missing.len() as u64),
                        self.copy.target,
                        self.copy.source,
                        self.named(&missing)
                    ),
                );
                check
                    .blocked
                    .push(finding.hint("mend those rows, or roll back with --strategy restore"));
            }
        }
        // The whole of what would be written must be computable.
        tx.rows(&format!("SELECT count(*) FROM ({}) AS given", sql.given()))
            .await?;
        Ok(())
    }

    /// Keys of rows, the first of them, with what is said of each.
    fn named(&self, found: &[TextRow]) -> String {
        let keys = self.layout.conflict.len();
        let one = |row: &TextRow| {
            let pairs = self.layout.conflict.iter().zip(row);
            let key: Vec<String> = pairs
                .map(|(name, value)| format!("{name}={}", value.as_deref().unwrap_or("NULL")))
                .collect();
            match row.get(keys).and_then(Option::as_deref) {
                Some(why) => format!("{} ({why})", key.join(", ")),
                None => key.join(", "),
            }
        };
        let mut named: Vec<String> = found.iter().take(SHOWN).map(one).collect();
        if found.len() > SHOWN {
            named.push(format!("and {} more", found.len() - SHOWN));
        }
        named.join("; ")
    }

    /// The rows that the script does not read, found by trying one by one.
    async fn unread(&self, tx: &mut Tx) -> Result<String, DbError> {
        let back = self.temp(BACK);
        let keys = self
            .layout
            .conflict
            .iter()
            .map(|name| format!("CAST(b.{} AS text)", ident(name)));
        let keys = tx
            .rows(&format!(
                "SELECT {} FROM {back} AS b ORDER BY 1 LIMIT {TRIED}",
                keys.collect::<Vec<_>>().join(", ")
            ))
            .await?;
        let mut bad = Vec::new();
        for row in keys {
            let pairs = self.layout.conflict.iter().zip(&row).map(|(name, value)| {
                let value = literal(value.as_deref().unwrap_or_default());
                format!("CAST({} AS text) = {value}", ident(name))
            });
            let condition = format!(" WHERE {}", pairs.collect::<Vec<_>>().join(" AND "));
            let made = with_batch("*", &self.reverse.select, &back, &condition);
            tx.execute("SAVEPOINT one").await?;
            let read = tx.rows(&format!("SELECT * FROM ({made}) AS made")).await;
            match read {
                Ok(_) => tx.execute("RELEASE one").await?,
                Err(error) if of_the_rows(&error) => {
                    bad.push(row);
                    tx.execute("ROLLBACK TO one").await?
                }
                Err(error) => return Err(error),
            };
        }
        Ok(self.named(&bad))
    }

    fn other_columns(&self) -> Finding {
        Finding::error(
            "data.reverse-columns",
            format!(
                "others wrote into {}, and its columns are not those that the upgrade's copy left: the reverse script can't carry rows back",
                self.copy.target
            ),
        )
        .hint("roll back with --strategy restore")
    }
}

/// Whether an error is about what stands in rows.
fn of_the_rows(error: &DbError) -> bool {
    match error.code.as_deref() {
        // Data exceptions, and on SQLite the plain SQL error, which a JSON function raises.
        Some(code) => code.starts_with("22") || code == "1",
        None => false,
    }
}
