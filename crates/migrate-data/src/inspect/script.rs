//! Whether the script fits both tables, as the databases see it.

use migrate_core::Finding;
use migrate_schema::db::DbError;

use super::{Inspector, Obstacle};
use crate::access;
use crate::layout::Layout;
use crate::range::Program;
use crate::statement::{Produced, Statements, with_batch};

impl Inspector<'_> {
    /// The columns that the transform gives.
    pub(super) async fn outputs(
        &self,
        obstacles: &mut Vec<Obstacle>,
    ) -> Result<Vec<String>, DbError> {
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
                let names = names_in(&error, &script.select);
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
                    names,
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
                    names: Vec::new(),
                });
            }
        }
        Ok(names)
    }

    /// Lets the database look at the whole statement, which it does not run.
    pub(super) async fn try_statement(&self, layout: &Layout) -> Result<Option<Obstacle>, DbError> {
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
                let names = names_in(&error, &script.select);
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
                    names,
                }))
            }
            Err(error) => Err(error),
        }
    }
}

/// Undefined tables, functions, types, schemas, and values of an enum.
const UNKNOWN: [&str; 5] = ["42P01", "42883", "42704", "3F000", "22P02"];

/// Words of SQL that stand in such messages too.
const NO_NAMES: [&str; 16] = [
    "does", "exist", "for", "function", "in", "input", "integer", "invalid", "no", "not", "of",
    "such", "table", "text", "type", "value",
];

/// The words of the script that stand in the database's message, in whatever language that is, where
/// it is about something that is not there.
fn names_in(error: &DbError, script: &str) -> Vec<String> {
    let code = error.code.as_deref().unwrap_or_default();
    let message = error.to_string();
    let of_sqlite = ["no such table", "no such function"];
    if !UNKNOWN.contains(&code) && !of_sqlite.iter().any(|text| message.contains(text)) {
        return Vec::new();
    }
    let words = |text: &str| -> Vec<String> {
        let words = text.split(|c: char| !(c.is_alphanumeric() || c == '_'));
        let words = words.filter(|word| word.chars().count() > 1);
        words.map(str::to_lowercase).collect()
    };
    let of_script = words(script);
    let mut found = words(&message);
    found.retain(|word| of_script.contains(word) && !NO_NAMES.contains(&word.as_str()));
    found
}

/// The statement is wrong, not the connection or the server.
fn is_of_the_statement(error: &DbError) -> bool {
    let code = error.code.as_deref().unwrap_or("");
    code.starts_with("42")
        || code.starts_with("22")
        || code.starts_with("0A")
        || code.starts_with("SQLITE_ERROR")
}
