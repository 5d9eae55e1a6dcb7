//! What kinds of tables source and target are.

use migrate_core::Finding;
use migrate_schema::catalog::Column;
use migrate_schema::db::{Backend, DbError};
use migrate_schema::own;
use migrate_schema::quote::{TableName, literal};

use super::{Inspector, Obstacle};
use crate::access;
use crate::foresee::checks;
use crate::layout::OnBreach;
use crate::script::{Kind, tokens};

impl Inspector<'_> {
    /// What tells the places of rows of a plain table without a key: `ctid`, or SQLite's rowid.
    pub(super) async fn place(&self, columns: &[Column]) -> Result<Option<String>, DbError> {
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

    /// Whether constraints of the target say `ON CONFLICT`, as those of SQLite can.
    pub(super) async fn on_breach(&self) -> Result<OnBreach, DbError> {
        if self.db.backend() == Backend::Postgres {
            return Ok(OnBreach::Table);
        }
        let definition = checks::definition(self.db, self.target).await?;
        Ok(if has_conflict_clause(&definition) {
            OnBreach::Statement
        } else {
            OnBreach::Table
        })
    }

    /// Whether pages of the source can be sampled.
    pub(super) async fn is_sampled(&self) -> Result<bool, DbError> {
        match self.at_source().backend() {
            Backend::Postgres => self.is_of_kind("'r', 'm', 'p'").await,
            Backend::Sqlite => Ok(false),
        }
    }

    /// PostgreSQL refuses to change or delete rows of a table whose changes a publication tells and
    /// whose rows nothing tells apart.
    pub(super) async fn no_replica_identity(&self) -> Result<Option<Obstacle>, DbError> {
        if self.db.backend() != Backend::Postgres {
            return Ok(None);
        }
        let query = format!(
            "WITH part AS (SELECT relid::oid AS oid FROM pg_catalog.pg_partition_tree(pg_catalog.to_regclass({0})) \
                           UNION SELECT pg_catalog.to_regclass({0})::oid) \
             SELECT p.pubname::text, (SELECT pg_catalog.min(c.oid::regclass::text) FROM pg_class c JOIN part USING (oid) \
                     WHERE c.relkind = 'r' AND (c.relreplident = 'n' OR c.relreplident = 'd' AND NOT EXISTS \
                           (SELECT 1 FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary))) \
             FROM pg_publication p JOIN pg_publication_tables t ON t.pubname = p.pubname \
                  JOIN pg_namespace n ON n.nspname = t.schemaname \
                  JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = t.tablename JOIN part ON part.oid = c.oid \
             WHERE p.pubupdate OR p.pubdelete ORDER BY 1 LIMIT 1",
            literal(&self.target.sql())
        );
        let rows = access::rows(self.db, &query).await?;
        let Some([Some(publication), Some(table)]) = rows.first().map(|row| &row[..]) else {
            return Ok(None);
        };
        let finding = Finding::error(
            "data.replica-identity",
            format!(
                "the publication {publication} publishes changes of {table}, which has no replica identity: \
                 PostgreSQL refuses to change or delete its rows, here or on the way back"
            ),
        );
        Ok(Some(Obstacle {
            finding: finding.hint(format!(
                "ALTER TABLE {table} REPLICA IDENTITY FULL, or USING INDEX with a unique one"
            )),
            about: self.target.clone(),
            names: Vec::new(),
        }))
    }

    async fn is_of_kind(&self, kinds: &str) -> Result<bool, DbError> {
        let query = format!(
            "SELECT 1 FROM pg_class WHERE oid = pg_catalog.to_regclass({})::oid AND relkind IN ({kinds})",
            literal(&self.source.sql())
        );
        Ok(!access::rows(self.at_source(), &query).await?.is_empty())
    }

    /// Whether the target, or a part of it, has triggers of the user's.
    pub(super) async fn has_triggers(&self) -> Result<bool, DbError> {
        let query = match self.db.backend() {
            Backend::Postgres => format!(
                "SELECT 1 FROM pg_trigger WHERE NOT tgisinternal AND tgenabled <> 'D' AND tgrelid IN \
                 (SELECT relid::oid FROM pg_catalog.pg_partition_tree(pg_catalog.to_regclass({0})) UNION SELECT pg_catalog.to_regclass({0})::oid) LIMIT 1",
                literal(&self.target.sql())
            ),
            Backend::Sqlite => format!(
                "SELECT 1 FROM sqlite_master WHERE type = 'trigger' AND lower(tbl_name) = lower({}) \
                 AND substr(name, 1, {}) <> {} LIMIT 1",
                literal(self.target.table()),
                own::SQLITE_PREFIX.len(),
                literal(own::SQLITE_PREFIX)
            ),
        };
        Ok(!access::rows(self.db, &query).await?.is_empty())
    }

    /// Whether rows copied into the target become what inserted ones would.
    pub(super) async fn is_plain(&self) -> Result<bool, DbError> {
        if self.db.backend() == Backend::Sqlite {
            return Ok(false);
        }
        let query = format!(
            "SELECT 1 FROM pg_class WHERE oid = pg_catalog.to_regclass({})::oid AND relkind IN ('r', 'p') \
             AND NOT relhasrules AND NOT relrowsecurity",
            literal(&self.target.sql())
        );
        Ok(!access::rows(self.db, &query).await?.is_empty())
    }

    /// The columns of a table that a sequence of their own fills; SQLite has none.
    pub(super) async fn identity(&self, table: &TableName) -> Result<Vec<String>, DbError> {
        if self.db.backend() == Backend::Sqlite {
            return Ok(Vec::new());
        }
        let query = format!(
            "SELECT attname FROM pg_attribute WHERE attrelid = pg_catalog.to_regclass({})::oid AND attidentity <> '' AND NOT attisdropped",
            literal(&table.sql())
        );
        let rows = access::rows(self.db, &query).await?;
        Ok(rows
            .into_iter()
            .filter_map(|mut row| row.pop().flatten())
            .collect())
    }
}

/// Whether a `CREATE TABLE` has `ON CONFLICT` anywhere. What can't be read may have one.
fn has_conflict_clause(definition: &str) -> bool {
    let Ok(tokens) = tokens(definition) else {
        return true;
    };
    let code = tokens
        .iter()
        .filter(|token| !matches!(token.kind, Kind::Comment));
    let words: Vec<_> = code.map(|token| token.word(definition)).collect();
    words
        .windows(2)
        .any(|pair| pair[0].as_deref() == Some("on") && pair[1].as_deref() == Some("conflict"))
}

#[cfg(test)]
mod tests {
    use super::has_conflict_clause;

    #[test]
    fn conflict_clauses_are_found_in_a_definition() {
        for (definition, found) in [
            ("CREATE TABLE t (a UNIQUE ON CONFLICT REPLACE)", true),
            (
                "CREATE TABLE t (a, UNIQUE (a) on /* so */ Conflict\nignore)",
                true,
            ),
            ("CREATE TABLE t (a NOT NULL ON -- so\n CONFLICT FAIL)", true),
            (
                "CREATE TABLE t (a UNIQUE, b DEFAULT 'on conflict replace')",
                false,
            ),
            (
                "CREATE TABLE t (\"on conflict\", \"on\" \"conflict\")",
                false,
            ),
            ("CREATE TABLE t (a REFERENCES u ON DELETE CASCADE)", false),
            ("CREATE TABLE t (a DEFAULT 'x", true),
        ] {
            assert_eq!(has_conflict_clause(definition), found, "{definition}");
        }
    }
}
