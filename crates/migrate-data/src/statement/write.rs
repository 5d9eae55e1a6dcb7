//! What writes the target's rows.

use migrate_schema::db::Backend;
use migrate_schema::quote::ident;

use super::{Produced, Statements, Updates, list};
use crate::transform::OnConflict;

impl Statements<'_> {
    /// Writes rows that are new.
    pub(crate) fn insert(&self, from: Produced<'_>) -> String {
        let overriding = match self.backend {
            Backend::Postgres => " OVERRIDING SYSTEM VALUE",
            Backend::Sqlite => "",
        };
        format!(
            "INSERT{} INTO {} AS t ({}){overriding} {}",
            self.layout.on_breach.sql(),
            self.target(),
            list(&self.layout.outputs),
            self.produced(from)
        )
    }

    /// Copies rows of this process straight into the target. Identity columns take them as
    /// `OVERRIDING SYSTEM VALUE` does.
    pub(crate) fn copy_in(&self) -> String {
        format!(
            "COPY {} ({}) FROM STDIN (FORMAT binary)",
            self.target(),
            list(&self.layout.outputs)
        )
    }

    /// Writes rows of which some may be there.
    pub(crate) fn upsert(&self, from: Produced<'_>, policy: &OnConflict) -> String {
        let insert = self.insert(from);
        let Some((columns, set)) = self.updates(policy) else {
            return insert;
        };
        let ambiguous = match (self.backend, from) {
            // Without a WHERE, SQLite takes ON for a join's.
            (Backend::Sqlite, _) => " WHERE true",
            (Backend::Postgres, _) => "",
        };
        let conflict = list(&self.layout.conflict);
        if columns.is_empty() {
            return format!("{insert}{ambiguous} ON CONFLICT ({conflict}) DO NOTHING");
        }
        let mut sets: Vec<String> = columns
            .iter()
            .map(|name| format!("{0} = excluded.{0}", ident(name)))
            .collect();
        sets.extend(
            set.iter()
                .map(|(name, expression)| format!("{} = {expression}", ident(name))),
        );
        let distinct = columns.iter().map(|name| {
            let name_sql = ident(name);
            self.distinct(
                &format!("t.{name_sql}"),
                &format!("excluded.{name_sql}"),
                name,
            )
        });
        format!(
            "{insert}{ambiguous} ON CONFLICT ({conflict}) DO UPDATE SET {} WHERE {}",
            sets.join(", "),
            distinct.collect::<Vec<_>>().join(" OR ")
        )
    }

    /// The columns to update with their extra assignments; none where an existing key is an error.
    pub(crate) fn updates(&self, policy: &OnConflict) -> Option<Updates> {
        match policy {
            OnConflict::Fail => None,
            OnConflict::Update { columns, set } => Some((columns.clone(), set.clone())),
            OnConflict::UpdateProduced => {
                let outputs = self.layout.outputs.iter();
                let others = outputs.filter(|name| !self.layout.conflict.contains(name));
                Some((others.cloned().collect(), Vec::new()))
            }
        }
    }
}
