//! Whether the run fits on the database's own disk, from measured sizes.
//!
//! A run writes the rows of its tables anew, and the log (WAL, or SQLite's journal) takes
//! about as much again. Where the backup goes to the same disk, it counts too.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use migrate_core::{Finding, ScopeObject};
use migrate_schema::db::{Database, DbError};

#[cfg(feature = "postgres")]
use super::tables;
use crate::backup::{BACKUPS, space};

/// What is needed and known.
struct Measured {
    /// The tables of the run.
    tables: u64,
    /// The whole database, for its backup.
    database: u64,
    /// Where the database's files are, where that can be seen from here.
    place: Result<PathBuf, Finding>,
}

#[cfg_attr(
    not(feature = "postgres"),
    expect(
        unused_variables,
        reason = "SQLite does not tell the size of one table"
    )
)]
pub(super) async fn shortage(
    root: &Path,
    database: &Database,
    scope: &[ScopeObject],
) -> Result<Option<Finding>, DbError> {
    let measured = match database {
        #[cfg(feature = "postgres")]
        Database::Postgres(_) => postgres(database, scope).await?,
        #[cfg(feature = "sqlite")]
        Database::Sqlite(_) => sqlite(database).await?,
        #[cfg(not(all(feature = "postgres", feature = "sqlite")))]
        _ => return Err(database.unsupported()),
    };
    let place = match &measured.place {
        Ok(place) => place,
        Err(finding) => return Ok(Some(finding.clone())),
    };
    let Some(free) = space::free(place) else {
        return Ok(Some(unknown(
            &format!("{} can't be looked at", place.display()),
            None,
        )));
    };
    Ok(compare(
        &measured,
        place,
        free,
        same_disk(place, &root.join(BACKUPS)),
    ))
}

fn compare(measured: &Measured, place: &Path, free: u64, with_backup: bool) -> Option<Finding> {
    let backup = if with_backup {
        measured.database.saturating_add(measured.database / 5)
    } else {
        0
    };
    let need = measured.tables.saturating_mul(2).saturating_add(backup);
    if free >= need {
        return None;
    }
    let human = space::human;
    let mut message = format!(
        "the disk of the database ({}) has {} free, and the run needs about {}: {} for rows written \
         anew, as much for the log",
        place.display(),
        human(free),
        human(need),
        human(measured.tables),
    );
    if with_backup {
        message.push_str(&format!(
            ", {} for the backup on the same disk",
            human(backup)
        ));
    }
    Some(
        Finding::error("database.disk", message)
            .hint("make room there; --skip-check disk goes on regardless"),
    )
}

fn same_disk(one: &Path, other: &Path) -> bool {
    let device = |path: &Path| {
        let there = path.ancestors().find(|path| path.exists())?;
        std::fs::metadata(there).ok().map(|found| found.dev())
    };
    device(one).is_some_and(|id| Some(id) == device(other))
}

fn unknown(why: &str, hint: Option<String>) -> Finding {
    let message = format!("whether the database's disk has room can't be measured: {why}");
    let finding = Finding::warning("database.disk-not-measured", message);
    hint.into_iter().fold(finding, Finding::hint)
}

#[cfg(feature = "postgres")]
async fn postgres(database: &Database, scope: &[ScopeObject]) -> Result<Measured, DbError> {
    let Database::Postgres(db) = database else {
        unreachable!("asked for PostgreSQL only")
    };
    let bytes: i64 = sqlx::query_scalar(
        "SELECT coalesce(sum(pg_total_relation_size(to_regclass(name))), 0)::bigint \
         FROM unnest($1::text[]) AS wanted (name) WHERE to_regclass(name) IS NOT NULL",
    )
    .bind(self::tables(db, scope).await?)
    .fetch_one(&mut *db.acquire().await?)
    .await?;
    let (local, role, dir): (bool, String, Option<String>) = sqlx::query_as(
        "SELECT inet_server_addr() IS NULL OR inet_server_addr() = inet_client_addr(), \
                quote_ident(current_user), \
                (SELECT setting FROM pg_settings WHERE name = 'data_directory')",
    )
    .fetch_one(&mut *db.acquire().await?)
    .await?;
    let place = match (local, dir) {
        (false, _) => Err(unknown("the server is on another host", None)),
        (true, None) => Err(unknown(
            "this role is not told where the server keeps its files",
            Some(format!(
                "let a superuser run: GRANT pg_read_all_settings TO {role};"
            )),
        )),
        (true, Some(dir)) => Ok(PathBuf::from(dir)),
    };
    Ok(Measured {
        tables: u64::try_from(bytes).unwrap_or(0),
        database: space::database_bytes(database).await?,
        place,
    })
}

#[cfg(feature = "sqlite")]
async fn sqlite(database: &Database) -> Result<Measured, DbError> {
    let Database::Sqlite(db) = database else {
        unreachable!("asked for SQLite only")
    };
    let options = db.pool().connect_options();
    let file = options.get_filename().to_owned();
    let bytes = space::database_bytes(database).await?;
    let dir = file
        .parent()
        .map_or_else(|| PathBuf::from("."), Path::to_owned);
    Ok(Measured {
        // SQLite does not tell the size of one table.
        tables: bytes,
        database: bytes,
        place: Ok(dir),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_log_and_backup_are_counted() {
        let measured = Measured {
            tables: 1_000_000,
            database: 5_000_000,
            place: Ok(PathBuf::from("/data")),
        };
        let place = Path::new("/data");
        assert!(compare(&measured, place, 2_000_000, false).is_none());
        assert!(compare(&measured, place, 1_999_999, false).is_some());
        let both = compare(&measured, place, 7_900_000, true).unwrap();
        assert!(
            both.message.contains("8.0 MB") && both.message.contains("6.0 MB"),
            "{both}"
        );
        assert!(compare(&measured, place, 8_000_000, true).is_none());
    }
}
