//! Hashes of what a database holds: its catalog, and each table's rows in any order.

#[cfg(feature = "postgres")]
pub mod printed;

use std::collections::BTreeMap;

use migrate_core::Fingerprint;

use crate::catalog::Catalog;
use crate::db::{Database, DbError};
use crate::quote::TableName;

/// How many rows a table has, and the sum of their hashes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableSum {
    /// Rows.
    pub rows: u64,
    /// 128 bits in hex; the same for the same rows in any order.
    pub sum: String,
}

impl std::fmt::Display for TableSum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.rows, self.sum)
    }
}

/// Sums one table. Memory does not grow with it.
///
/// PostgreSQL adds up `hash_record_extended` with two seeds on the server; a table with a
/// column whose type has no hash, or one that hashes numbers of the catalog instead of what is
/// stored (an enum, a `regclass`: other numbers after a restore), is hashed as text. SQLite's
/// rows are hashed here.
pub async fn table(db: &Database, table: &TableName) -> Result<TableSum, DbError> {
    match db {
        #[cfg(feature = "postgres")]
        Database::Postgres(pg) => {
            let table = pg.resolve(table).await?;
            let mut tx = pg.begin_snapshot().await?;
            let sum = postgres::sum(&mut tx, &table).await?;
            tx.rollback().await?;
            Ok(sum)
        }
        #[cfg(feature = "sqlite")]
        Database::Sqlite(lite) => sqlite::sum(&mut *lite.acquire().await?, table).await,
    }
}

/// Sums the rows `t` of one table for which a condition holds, as [`table`] does all.
pub async fn table_where(
    db: &Database,
    table: &TableName,
    condition: &str,
) -> Result<TableSum, DbError> {
    match db {
        #[cfg(feature = "postgres")]
        Database::Postgres(pg) => {
            let table = pg.resolve(table).await?;
            let mut tx = pg.begin_snapshot().await?;
            let sum = postgres::sum_where(&mut tx, &table, condition).await?;
            tx.rollback().await?;
            Ok(sum)
        }
        #[cfg(feature = "sqlite")]
        Database::Sqlite(lite) => {
            sqlite::sum_where(&mut *lite.acquire().await?, table, condition).await
        }
    }
}

/// The whole database in one snapshot: `catalog OBJECT` and `fact OBJECT` with a hash of its
/// definition, `rows TABLE` with its count and sum. Our own objects are left out.
pub async fn database(db: &Database) -> Result<Fingerprint, DbError> {
    database_at(db, None).await
}

/// The same in a snapshot that another session of PostgreSQL exported and keeps open; SQLite
/// has no such thing and takes none.
pub async fn database_at(db: &Database, snapshot: Option<&str>) -> Result<Fingerprint, DbError> {
    Ok(with_catalog_at(db, snapshot).await?.1)
}

/// The same with the definitions that it was made of.
pub async fn with_catalog_at(
    db: &Database,
    snapshot: Option<&str>,
) -> Result<(Catalog, Fingerprint), DbError> {
    match db {
        #[cfg(feature = "postgres")]
        Database::Postgres(pg) => {
            let mut tx = pg.begin_snapshot().await?;
            if let Some(snapshot) = snapshot {
                let sql = format!(
                    "SET TRANSACTION SNAPSHOT {}",
                    crate::quote::literal(snapshot)
                );
                sqlx::raw_sql(sqlx::AssertSqlSafe(sql))
                    .execute(&mut *tx)
                    .await?;
            }
            let mut found = BTreeMap::new();
            let catalog = Catalog::read_postgres(&mut tx).await?;
            for table in crate::catalog::postgres_tables(&mut tx).await? {
                let sum = postgres::sum(&mut tx, &table).await?;
                found.insert(format!("rows {table}"), sum.to_string());
            }
            tx.rollback().await?;
            add_definitions(&mut found, &catalog);
            Ok((catalog, Fingerprint(found)))
        }
        #[cfg(feature = "sqlite")]
        Database::Sqlite(lite) => {
            debug_assert!(snapshot.is_none(), "SQLite exports no snapshots");
            let mut connection = lite.acquire().await?;
            let mut tx = sqlx::Connection::begin(&mut *connection).await?;
            let found = sqlite_within(&mut tx).await?;
            tx.rollback().await?;
            Ok(found)
        }
    }
}

/// The same within a transaction of SQLite, with the definitions.
#[cfg(feature = "sqlite")]
pub async fn sqlite_within(
    connection: &mut sqlx::SqliteConnection,
) -> Result<(Catalog, Fingerprint), DbError> {
    let mut found = BTreeMap::new();
    let catalog = Catalog::read_sqlite(connection).await?;
    for table in crate::catalog::sqlite::user_tables(connection).await? {
        let sum = sqlite::sum(connection, &table).await?;
        found.insert(format!("rows {table}"), sum.to_string());
    }
    add_definitions(&mut found, &catalog);
    Ok((catalog, Fingerprint(found)))
}

fn add_definitions(found: &mut BTreeMap<String, String>, catalog: &Catalog) {
    found.extend([holds_facts()]);
    for (name, definition) in catalog.objects() {
        found.insert(entry_of(name), definition_hash(definition));
    }
}

/// Which facts are held: another number when some are added.
const FACTS: &str = "1";

/// The entry by which a fingerprint says that it holds facts.
pub fn holds_facts() -> (String, String) {
    (Fingerprint::HOLDS_FACTS.to_owned(), FACTS.to_owned())
}

/// Kinds of objects that are facts: see [`Fingerprint::FACT`].
const FACT_KINDS: [&str; 16] = [
    "options of toast of ",
    "options of statistics ",
    "content of ",
    "owner of ",
    "privileges on ",
    "comment on ",
    "security label on ",
    "language ",
    "conversion ",
    "access method ",
    "transform ",
    "text search parser ",
    "text search template ",
    "operator family ",
    "foreign-data wrapper ",
    "user mapping ",
];

/// The name in a fingerprint of an object of the catalog.
pub fn entry_of(object: &str) -> String {
    let is_fact = FACT_KINDS.iter().any(|kind| object.starts_with(kind));
    let kind = if is_fact {
        Fingerprint::FACT
    } else {
        "catalog "
    };
    format!("{kind}{object}")
}

/// The hash of an object's definition as fingerprints hold it.
pub(crate) fn definition_hash(definition: &str) -> String {
    format!(
        "{:032x}",
        xxhash_rust::xxh3::xxh3_128(definition.as_bytes())
    )
}

#[cfg(feature = "postgres")]
pub(crate) mod postgres {
    use sqlx::{AssertSqlSafe, Connection, PgConnection};

    use super::TableSum;
    use crate::db::{DbError, DbErrorKind};
    use crate::quote::TableName;

    const AS_TEXT: &str = "hashtextextended(row(t.*)::text, SEED)";

    /// A policy that hides rows is an error instead of a smaller sum, and values have one text
    /// whatever the role's settings are.
    pub(crate) const SETTINGS: &str = "select set_config(name, value, true) from (values \
        ('row_security', 'off'), ('datestyle', 'ISO, YMD'), ('intervalstyle', 'iso_8601'), \
        ('timezone', 'UTC'), ('extra_float_digits', '3'), ('bytea_output', 'hex')) \
        as s(name, value)";

    /// Whether a column's type, or a type within it, hashes by the catalog's own numbers.
    pub(super) const HASHED_BY_CATALOG: &str = "with recursive types(oid) as ( \
            select atttypid from pg_attribute \
            where attrelid = to_regclass($1) and attnum > 0 and not attisdropped \
            union \
            select inner_type.oid from types join pg_type t on t.oid = types.oid \
            cross join lateral ( \
                select t.typelem where t.typelem <> 0 \
                union all select t.typbasetype where t.typbasetype <> 0 \
                union all select r.rngsubtype from pg_range r \
                    where t.oid in (r.rngtypid, r.rngmultitypid) \
                union all select a.atttypid from pg_attribute a \
                    where a.attrelid = t.typrelid and t.typtype = 'c' \
                    and a.attnum > 0 and not a.attisdropped \
            ) inner_type(oid)) \
        select exists (select from types join pg_type t on t.oid = types.oid \
            where t.typtype = 'e' or t.typnamespace = 'pg_catalog'::regnamespace \
            and t.typname like 'reg%')";

    /// What to select from for exactly the rows of a table.
    pub(crate) async fn rows_of(
        tx: &mut PgConnection,
        table: &TableName,
    ) -> Result<String, DbError> {
        let partitioned: Option<bool> =
            sqlx::query_scalar("select relkind = 'p' from pg_class where oid = to_regclass($1)")
                .bind(table.sql())
                .fetch_optional(&mut *tx)
                .await?;
        match partitioned {
            Some(true) => Ok(table.sql()),
            Some(false) => Ok(format!("only {}", table.sql())),
            None => Err(DbError::new(
                DbErrorKind::Missing,
                format!("there is no table {table}"),
            )),
        }
    }

    /// Within a transaction, which is left usable; some of its settings change.
    pub(crate) async fn sum(tx: &mut PgConnection, table: &TableName) -> Result<TableSum, DbError> {
        sum_where(tx, table, "true").await
    }

    /// The same of the rows `t` for which a condition holds.
    pub(super) async fn sum_where(
        tx: &mut PgConnection,
        table: &TableName,
        condition: &str,
    ) -> Result<TableSum, DbError> {
        sqlx::query(SETTINGS).execute(&mut *tx).await?;
        let from = format!("{} t where {condition}", rows_of(tx, table).await?);
        let by_catalog: bool = sqlx::query_scalar(HASHED_BY_CATALOG)
            .bind(table.sql())
            .fetch_one(&mut *tx)
            .await?;
        if by_catalog {
            return Ok(sum_by(tx, &from, AS_TEXT).await?);
        }
        let mut inner = tx.begin().await?;
        match sum_by(&mut inner, &from, "hash_record_extended(row(t.*), SEED)").await {
            // A type of a column has no hash (json, xml, point).
            Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("42883") => {
                inner.rollback().await?;
                Ok(sum_by(tx, &from, AS_TEXT).await?)
            }
            done => {
                inner.rollback().await?;
                Ok(done?)
            }
        }
    }

    /// `row(t.*)`, because a plain `t` would be the column of that name in a table that has one.
    async fn sum_by(
        tx: &mut PgConnection,
        from: &str,
        hash: &str,
    ) -> Result<TableSum, sqlx::Error> {
        let sql = format!(
            "select count(*), coalesce(sum({}), 0)::text, \
                    coalesce(sum({}), 0)::text from {from}",
            hash.replace("SEED", "0"),
            hash.replace("SEED", "1"),
        );
        let (rows, first, second): (i64, String, String) = sqlx::query_as(AssertSqlSafe(sql))
            .persistent(false)
            .fetch_one(tx)
            .await?;
        Ok(TableSum {
            rows: rows.unsigned_abs(),
            sum: format!("{:016x}{:016x}", low_bits(&first), low_bits(&second)),
        })
    }

    /// The sum of 64-bit hashes, modulo 2^64.
    pub(super) fn low_bits(sum: &str) -> u64 {
        let sum: i128 = sum
            .parse()
            .expect("fewer than 2^64 rows of 64 bits add up to less than 2^127");
        u64::try_from(sum.rem_euclid(1 << 64)).expect("it is below 2^64")
    }
}

#[cfg(feature = "sqlite")]
pub(crate) mod sqlite {
    use futures_util::TryStreamExt;
    use sqlx::{AssertSqlSafe, SqliteConnection};
    use xxhash_rust::xxh3::xxh3_128;

    use super::TableSum;
    use crate::catalog::sqlite::columns;
    use crate::db::{DbError, DbErrorKind};
    use crate::quote::{TableName, ident};

    pub(crate) async fn sum(
        connection: &mut SqliteConnection,
        table: &TableName,
    ) -> Result<TableSum, DbError> {
        sum_where(connection, table, "true").await
    }

    /// The same of the rows `t` for which a condition holds.
    pub(super) async fn sum_where(
        connection: &mut SqliteConnection,
        table: &TableName,
        condition: &str,
    ) -> Result<TableSum, DbError> {
        let names: Vec<String> = columns(connection, table)
            .await?
            .into_iter()
            .map(|column| column.name)
            .collect();
        if names.is_empty() {
            return Err(DbError::new(
                DbErrorKind::Missing,
                format!("there is no table {table}"),
            ));
        }
        let row = row_text(&names);
        let sql = format!("select {row} from {} as t where {condition}", table.sql());
        let mut rows = sqlx::query_scalar::<_, Vec<u8>>(AssertSqlSafe(sql))
            .persistent(false)
            .fetch(connection);
        let (mut count, mut sum) = (0_u64, 0_u128);
        while let Some(row) = rows.try_next().await? {
            count += 1;
            sum = sum.wrapping_add(xxh3_128(&row));
        }
        Ok(TableSum {
            rows: count,
            sum: format!("{sum:032x}"),
        })
    }

    /// Some columns of a row as one exact text.
    pub(crate) fn row_text(columns: &[String]) -> String {
        let parts: Vec<String> = columns.iter().map(|name| quoted_value(name)).collect();
        concatenated(&parts)
    }

    /// A value with its storage class as text. `quote` stops at a NUL inside a text.
    fn quoted_value(column: &str) -> String {
        let column = ident(column);
        format!(
            "quote({column})||iif(typeof({column})='text' and instr({column},char(0))>0,hex({column}),'')"
        )
    }

    /// `a||','||b…` as a balanced tree: SQLite limits the depth of an expression, not its width.
    fn concatenated(parts: &[String]) -> String {
        match parts {
            [] => "''".to_owned(),
            [one] => one.clone(),
            more => {
                let (left, right) = more.split_at(more.len() / 2);
                format!("({})||','||({})", concatenated(left), concatenated(right))
            }
        }
    }
}
