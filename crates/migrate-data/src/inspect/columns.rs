//! What the transform gives, against the target's columns and keys.

use migrate_core::Finding;
use migrate_schema::catalog::{self, Column};
use migrate_schema::db::{Backend, DbError};

use super::{Inspector, Obstacle, is_computed};
use crate::transform::OnConflict;

impl Inspector<'_> {
    pub(super) fn compare(
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
                names: Vec::new(),
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

    pub(super) async fn target_key(
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
            names: Vec::new(),
        });
        Ok(Vec::new())
    }
}
