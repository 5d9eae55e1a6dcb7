//! Dropping what is there and making what the copy has.

use migrate_schema::own::SQLITE_PREFIX;
use migrate_schema::quote::{TableName, ident, literal};
use sqlx::SqliteConnection;

use super::schema::{Object, objects};
use super::{POINT, rows, run};

/// The planner's statistics: droppable, unlike other tables of SQLite's own.
const STATISTICS: [&str; 2] = ["sqlite_stat1", "sqlite_stat4"];

/// The tables in `kept` stay as they are, with their rows; everything that hangs on them is made
/// again.
pub(super) async fn rebuild(
    connection: &mut SqliteConnection,
    kept: &[TableName],
) -> Result<(), sqlx::Error> {
    drop_all(connection, kept).await?;
    let wanted = objects(connection, POINT).await?;
    let make = |object: &&Object| !object.is_internal() && object.sql.is_some();
    for table in wanted
        .iter()
        .filter(make)
        .filter(|o| o.is("table") && !o.is_virtual && !stays(kept, &o.name))
    {
        make_by_text(connection, table).await?;
        rows::copy(connection, &table.name).await?;
    }
    for index in wanted.iter().filter(make).filter(|o| o.is("index")) {
        make_by_text(connection, index).await?;
    }
    for table in wanted.iter().filter(|o| o.is_virtual) {
        make_virtual(connection, table).await?;
    }
    reread_schema(connection).await?;
    for kind in ["view", "trigger"] {
        for object in wanted.iter().filter(make).filter(|o| o.is(kind)) {
            make_by_text(connection, object).await?;
        }
    }
    copy_sequences(connection, kept).await?;
    copy_statistics(connection).await?;
    copy_numbers(connection).await
}

fn stays(kept: &[TableName], table: &str) -> bool {
    kept.iter().any(|one| one.table() == table)
}

async fn drop_all(
    connection: &mut SqliteConnection,
    kept: &[TableName],
) -> Result<(), sqlx::Error> {
    let there = objects(connection, "main").await?;
    for kind in ["trigger", "view"] {
        for object in there.iter().filter(|o| o.is(kind)) {
            run(
                connection,
                format!("DROP {kind} main.{}", ident(&object.name)),
            )
            .await?;
        }
    }
    // A virtual table goes as a row of the schema: its module may be one that this program
    // does not have. Its shadow tables are ordinary tables after that.
    for table in there.iter().filter(|o| o.is_virtual) {
        let sql = format!(
            "DELETE FROM main.sqlite_master WHERE type = 'table' AND name = {}",
            literal(&table.name)
        );
        run(connection, sql).await?;
    }
    reread_schema(connection).await?;
    let index = |o: &&Object| o.is("index") && o.sql.is_some() && stays(kept, &o.table);
    for object in there.iter().filter(index) {
        run(
            connection,
            format!("DROP INDEX main.{}", ident(&object.name)),
        )
        .await?;
    }
    let goes = |o: &&Object| o.is("table") && !o.is_virtual && !stays(kept, &o.name);
    for table in there.iter().filter(goes) {
        if !table.is_internal() || STATISTICS.contains(&table.name.as_str()) {
            run(
                connection,
                format!("DROP TABLE main.{}", ident(&table.name)),
            )
            .await?;
        }
    }
    Ok(())
}

async fn make_by_text(
    connection: &mut SqliteConnection,
    object: &Object,
) -> Result<(), sqlx::Error> {
    let sql = object.sql.clone().unwrap_or_default();
    run(connection, sql).await
}

async fn make_virtual(
    connection: &mut SqliteConnection,
    table: &Object,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO main.sqlite_master (type, name, tbl_name, rootpage, sql) \
         VALUES ('table', ?, ?, 0, ?)",
    )
    .bind(&table.name)
    .bind(&table.table)
    .bind(&table.sql)
    .execute(connection)
    .await
    .map(drop)
}

/// Makes this connection, and every other one from the commit on, read the schema again.
async fn reread_schema(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    let version: i64 = sqlx::query_scalar("PRAGMA main.schema_version")
        .fetch_one(&mut *connection)
        .await?;
    // The schema's number is 32 bits wide and may wrap.
    let next = (version + 1).rem_euclid(i64::from(i32::MAX));
    run(
        connection,
        format!("PRAGMA main.schema_version = {next}; PRAGMA writable_schema = RESET; PRAGMA writable_schema = ON"),
    )
    .await
}

async fn has_table(
    connection: &mut SqliteConnection,
    schema: &str,
    name: &str,
) -> Result<bool, sqlx::Error> {
    let sql = format!(
        "SELECT count(*) FROM {schema}.sqlite_master WHERE type = 'table' AND name = {}",
        literal(name)
    );
    let found: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
        .fetch_one(connection)
        .await?;
    Ok(found > 0)
}

/// AUTOINCREMENT counters. Dropping a table has removed its own; those of ours and of tables that
/// were kept stay.
async fn copy_sequences(
    connection: &mut SqliteConnection,
    kept: &[TableName],
) -> Result<(), sqlx::Error> {
    let kept: Vec<String> = kept.iter().map(|table| literal(table.table())).collect();
    let ours = format!(
        "(substr(name, 1, {}) = {} OR name IN ({}))",
        SQLITE_PREFIX.len(),
        literal(SQLITE_PREFIX),
        kept.join(", ")
    );
    if has_table(connection, "main", "sqlite_sequence").await? {
        run(
            connection,
            format!("DELETE FROM main.sqlite_sequence WHERE NOT {ours}"),
        )
        .await?;
    }
    if has_table(connection, POINT, "sqlite_sequence").await? {
        let sql = format!(
            "INSERT INTO main.sqlite_sequence (name, seq) \
             SELECT name, seq FROM {POINT}.sqlite_sequence WHERE NOT {ours} ORDER BY rowid"
        );
        run(connection, sql).await?;
    }
    Ok(())
}

async fn copy_statistics(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    for table in STATISTICS {
        if !has_table(connection, POINT, table).await? {
            continue;
        }
        if !has_table(connection, "main", table).await? {
            // Makes the tables of statistics, empty.
            run(connection, "ANALYZE main.sqlite_master".to_owned()).await?;
        }
        if has_table(connection, "main", table).await? {
            let sql = format!(
                "DELETE FROM main.{table}; \
                 INSERT INTO main.{table} SELECT * FROM {POINT}.{table} ORDER BY rowid"
            );
            run(connection, sql).await?;
        }
    }
    Ok(())
}

async fn copy_numbers(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    for pragma in ["user_version", "application_id"] {
        let read = format!("PRAGMA {POINT}.{pragma}");
        let number: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(read))
            .fetch_one(&mut *connection)
            .await?;
        run(connection, format!("PRAGMA main.{pragma} = {number}")).await?;
    }
    Ok(())
}
