//! Where the operators of a column's type are.

use std::collections::BTreeMap;

use migrate_schema::db::{Backend, Database, DbError};
use migrate_schema::quote::{TableName, literal};

use crate::access;

/// The schema of the operators by which PostgreSQL itself orders each column's values: those of the
/// default class of its type, else the system's. SQLite has no schemas for them.
pub(super) async fn of(
    db: &Database,
    table: &TableName,
) -> Result<BTreeMap<String, String>, DbError> {
    if db.backend() == Backend::Sqlite {
        return Ok(BTreeMap::new());
    }
    let table = db.resolve(table).await?;
    let query = format!(
        "WITH RECURSIVE base(attname, oid) AS ( \
             SELECT a.attname, a.atttypid FROM pg_attribute AS a \
             WHERE a.attrelid = pg_catalog.to_regclass({})::oid AND a.attnum > 0 AND NOT a.attisdropped \
             UNION ALL SELECT b.attname, t.typbasetype FROM base AS b JOIN pg_type AS t ON t.oid = b.oid WHERE t.typtype = 'd') \
         SELECT b.attname, coalesce((SELECT n.nspname FROM pg_opclass AS c JOIN pg_am AS m ON m.oid = c.opcmethod \
             JOIN pg_amop AS p ON p.amopfamily = c.opcfamily AND p.amoplefttype = c.opcintype AND p.amoprighttype = c.opcintype \
             JOIN pg_operator AS o ON o.oid = p.amopopr JOIN pg_namespace AS n ON n.oid = o.oprnamespace \
             WHERE c.opcdefault AND m.amname = 'btree' AND p.amopstrategy = 3::int2 AND c.opcintype = b.oid), 'pg_catalog'::name) \
         FROM base AS b JOIN pg_type AS t ON t.oid = b.oid WHERE t.typtype <> 'd'",
        literal(&table.sql())
    );
    let rows = access::rows(db, &query).await?;
    let pair = |row: access::TextRow| {
        let mut values = row.into_iter().flatten();
        Some((values.next()?, values.next()?))
    };
    Ok(rows.into_iter().filter_map(pair).collect())
}
