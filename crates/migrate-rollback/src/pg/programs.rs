//! Which `pg_dump`, `pg_restore` and `psql` to use.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use migrate_core::Finding;
use tokio::process::Command;

/// Where the three programs of one release are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Programs {
    dir: PathBuf,
    pub(crate) major: u32,
}

impl Programs {
    pub(crate) fn pg_dump(&self) -> PathBuf {
        self.dir.join("pg_dump")
    }

    pub(crate) fn pg_restore(&self) -> PathBuf {
        self.dir.join("pg_restore")
    }

    pub(crate) fn psql(&self) -> PathBuf {
        self.dir.join("psql")
    }
}

/// Where to look: each release's own directory first, because what Debian has in `PATH` is
/// a wrapper that picks a release by rules of its own.
pub(crate) fn usual_dirs(path: Option<&OsStr>) -> Vec<PathBuf> {
    let mut dirs = Vec::new();
    for (parent, tail) in [("/usr/lib/postgresql", "bin"), ("/usr", "bin")] {
        let entries = fs::read_dir(parent).into_iter().flatten().flatten();
        for entry in entries {
            let name = entry.file_name();
            if parent != "/usr" || name.to_string_lossy().starts_with("pgsql-") {
                dirs.push(entry.path().join(tail));
            }
        }
    }
    dirs.extend(path.map(std::env::split_paths).into_iter().flatten());
    dirs
}

/// The programs that fit a server: of its own release, else of the next newer one.
///
/// # Errors
/// What is missing or too old, and how to get it.
pub(crate) async fn find(dirs: &[PathBuf], server_major: u32) -> Result<Programs, Finding> {
    let mut found = Vec::new();
    for dir in dirs {
        if let Some(major) = major_of(&dir.join("pg_dump")).await
            && ["pg_restore", "psql"]
                .iter()
                .all(|name| dir.join(name).is_file())
        {
            found.push(Programs {
                dir: dir.clone(),
                major,
            });
        }
    }
    choose(&found, server_major)
}

fn choose(found: &[Programs], server_major: u32) -> Result<Programs, Finding> {
    // The first of equals: the order of the directories is the order of preference.
    let best = found
        .iter()
        .filter(|programs| programs.major >= server_major)
        .min_by_key(|programs| programs.major);
    if let Some(best) = best {
        return Ok(best.clone());
    }
    let newest = found.iter().max_by_key(|programs| programs.major);
    let finding = match newest {
        Some(old) => Finding::error(
            "backup.pg-dump-too-old",
            format!(
                "{} is of PostgreSQL {}, and the server is {server_major}: it can't make a backup",
                old.pg_dump().display(),
                old.major
            ),
        ),
        None => Finding::error(
            "backup.no-pg-dump",
            "pg_dump, pg_restore and psql were not found together in any directory: \
             no backup can be made",
        ),
    };
    Err(finding.hint(format!(
        "install the client programs of the server's release (Debian, Ubuntu: \
         apt install postgresql-client-{server_major}), or go without a rollback point: --no-backup"
    )))
}

async fn major_of(pg_dump: &Path) -> Option<u32> {
    if !pg_dump.is_file() {
        return None;
    }
    let output = Command::new(pg_dump)
        .arg("--version")
        .kill_on_drop(true)
        .output()
        .await
        .ok()?;
    parse_version(&String::from_utf8_lossy(&output.stdout))
}

/// `pg_dump (PostgreSQL) 15.6 (Debian 15.6-1)` is 15.
fn parse_version(text: &str) -> Option<u32> {
    let (_, rest) = text.split_once("(PostgreSQL) ")?;
    let digits = rest.find(|c: char| !c.is_ascii_digit());
    rest[..digits.unwrap_or(rest.len())].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn programs(dir: &str, major: u32) -> Programs {
        Programs {
            dir: dir.into(),
            major,
        }
    }

    #[test]
    fn versions_are_read() {
        for (text, major) in [
            (
                "pg_dump (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n",
                Some(15),
            ),
            ("pg_dump (PostgreSQL) 17devel\n", Some(17)),
            ("pg_dump (PostgreSQL) 9.6.24\n", Some(9)),
            ("something else 15", None),
        ] {
            assert_eq!(parse_version(text), major, "{text}");
        }
    }

    #[test]
    fn the_servers_own_release_wins_then_the_next_newer() {
        let found = [
            programs("a", 14),
            programs("b", 17),
            programs("c", 16),
            programs("d", 16),
        ];
        assert_eq!(choose(&found, 16).unwrap().dir, Path::new("c"));
        assert_eq!(choose(&found, 15).unwrap().dir, Path::new("c"));
        let old = choose(&found, 18).unwrap_err();
        assert_eq!(old.code, "backup.pg-dump-too-old");
        assert!(
            old.message.contains("17") && old.message.contains("18"),
            "{old}"
        );
        let none = choose(&[], 15).unwrap_err();
        assert!(none.hint.unwrap().contains("postgresql-client-15"));
    }

    #[tokio::test]
    async fn an_old_pg_dump_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        for name in ["pg_dump", "pg_restore", "psql"] {
            let file = dir.path().join(name);
            fs::write(&file, "#!/bin/sh\necho \"$0 (PostgreSQL) 12.3\"\n").unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let dirs = [dir.path().to_owned()];
        assert_eq!(find(&dirs, 12).await.unwrap().major, 12);
        let refused = find(&dirs, 15).await.unwrap_err();
        assert_eq!(refused.code, "backup.pg-dump-too-old");
    }
}
