//! Whether a copy fits, told before it is begun.

use std::path::Path;

use migrate_core::Finding;
use migrate_schema::db::{Database, DbError};
use nix::sys::statvfs::statvfs;

/// How large the database is on disk, in bytes.
pub(crate) async fn database_bytes(database: &Database) -> Result<u64, DbError> {
    let bytes: i64 = match database {
        #[cfg(feature = "postgres")]
        Database::Postgres(db) => {
            sqlx::query_scalar("SELECT pg_database_size(current_database())")
                .fetch_one(&mut *db.acquire().await?)
                .await?
        }
        #[cfg(feature = "sqlite")]
        Database::Sqlite(db) => {
            sqlx::query_scalar(
                "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()",
            )
            .fetch_one(&mut *db.acquire().await?)
            .await?
        }
        #[cfg(not(all(feature = "postgres", feature = "sqlite")))]
        _ => return Err(database.unsupported()),
    };
    Ok(u64::try_from(bytes).unwrap_or(0))
}

/// A finding with the figures if the file system of `dir` has no room for a copy.
/// `dir` need not exist yet.
pub(crate) fn shortage(dir: &Path, database_bytes: u64) -> Option<Finding> {
    compare(dir, database_bytes, free(dir)?)
}

/// What is free where `dir` is, or will be.
pub(crate) fn free(dir: &Path) -> Option<u64> {
    let there = dir.ancestors().find(|dir| dir.exists())?;
    let stat = statvfs(there).ok()?;
    // The types of these figures differ between platforms.
    #[expect(clippy::useless_conversion, reason = "u32 on some platforms")]
    let free = u64::from(stat.blocks_available()).saturating_mul(u64::from(stat.fragment_size()));
    Some(free)
}

fn compare(dir: &Path, database_bytes: u64, free: u64) -> Option<Finding> {
    let need = database_bytes.saturating_add(database_bytes / 5);
    (free < need).then(|| {
        Finding::error(
            "backup.disk",
            format!(
                "{} has {} free, and a copy of the database needs about {}",
                dir.display(),
                human(free),
                human(need)
            ),
        )
        .hint("make room there, or put `backups` on a larger disk by a mount")
    })
}

/// Bytes as people read them.
pub fn human(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["bytes", "kB", "MB", "GB", "TB"];
    let mut rest = bytes;
    let mut unit = 0;
    let mut tenths = 0;
    while rest >= 1000 && unit + 1 < UNITS.len() {
        tenths = rest % 1000 / 100;
        rest /= 1000;
        unit += 1;
    }
    if unit == 0 {
        format!("{rest} {}", UNITS[unit])
    } else {
        format!("{rest}.{tenths} {}", UNITS[unit])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shortage_names_its_figures() {
        let dir = Path::new("backups");
        assert!(compare(dir, 1000, 1200).is_none());
        let finding = compare(dir, 2_500_000_000, 1_200_000).unwrap();
        assert!(finding.message.contains("1.2 MB free"), "{finding}");
        assert!(finding.message.contains("3.0 GB"), "{finding}");
        assert_eq!(human(999), "999 bytes");
    }
}
