//! Rows by their keys, and what is wrong with one.

use migrate_schema::db::DbError;

use super::bounded::Unanswered;
use super::told::Bad;
use super::{Depth, Look, ask};
use crate::access::TextRow;
use crate::failure;
use crate::keyset::KeyRange;
use crate::statement::Produced;

impl Look<'_> {
    /// The only row of a range, with what is wrong with it.
    pub(super) async fn bad(&self, range: &KeyRange, error: Result<DbError, ask::Answer>) -> Bad {
        let keys = self.sql.layout.keys(self.sql.backend);
        let key = format!(
            "SELECT {} FROM {} WHERE {} LIMIT 1",
            keys.selection(),
            self.sql.layout.source_sql(),
            keys.within(range)
        );
        let key = match self.rows(&key).await {
            Ok(found) => found.first().and_then(|row| keys.read(row).ok()),
            Err(_) => None,
        };
        let key = key.map_or_else(|| range.named(&keys.names), |key| key.named(&keys.names));
        let (reason, of_the_script) = match error {
            Err(answer) => (answer.mismatch(), true),
            Ok(error) => {
                let alone = self.answer(range, Depth::Script).await;
                let reason = failure::redacted(&error, &self.script.select);
                let column = self.refused_column(range).await;
                let reason = match column {
                    Some(column) => format!("column {column}: {reason}"),
                    None => reason,
                };
                (reason, alone.is_err())
            }
        };
        Bad {
            key,
            reason,
            of_the_script,
        }
    }

    /// The column whose value can't be read, where one can't alone.
    async fn refused_column(&self, range: &KeyRange) -> Option<String> {
        let from = Produced::Script {
            select: &self.script.select,
            range,
        };
        let here = self.copy.elsewhere.is_none();
        let known =
            |name: &&String| here && self.sql.layout.columns.iter().any(|c| c.name == **name);
        for column in self.sql.layout.outputs.iter().filter(known) {
            let query = self.sql.one_column(from, column);
            match self.rows(&query).await {
                Err(Unanswered::Db(error)) if failure::is_about_a_row(&error) => {
                    return Some(column.clone());
                }
                Err(Unanswered::Late) => return None,
                _ => {}
            }
        }
        None
    }

    /// Rows by the key that they give, as people read it.
    pub(super) async fn named(&self, query: &str) -> Result<Vec<String>, Unanswered> {
        let names = &self.sql.layout.conflict;
        let shown = |row: TextRow| {
            let pairs = names.iter().zip(row);
            pairs
                .map(|(name, value)| format!("{name}={}", value.unwrap_or_else(|| "NULL".into())))
                .collect::<Vec<_>>()
                .join(", ")
        };
        if names.is_empty() {
            return Ok(Vec::new());
        }
        Ok(self.rows(query).await?.into_iter().map(shown).collect())
    }
}
