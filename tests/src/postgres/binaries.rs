//! Finding the programs of an installed PostgreSQL.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Names a directory that holds `initdb`, `pg_ctl`, `psql` and the rest.
const OVERRIDE: &str = "ETLRS_TEST_PG_BIN";

/// The directory of one installation's programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binaries(PathBuf);

impl Binaries {
    /// The newest installation: `$ETLRS_TEST_PG_BIN`, else `/usr/lib/postgresql/*/bin`, else
    /// `pg_config --bindir`, else `PATH`.
    ///
    /// # Panics
    /// If there is none, saying how to get it: a missing server is never a skipped test.
    pub fn find() -> Self {
        if let Some(named) = std::env::var_os(OVERRIDE) {
            let dir = PathBuf::from(named);
            assert!(
                complete(&dir),
                "{OVERRIDE}={} holds no initdb, pg_ctl, psql and pg_dump",
                dir.display()
            );
            return Self(dir);
        }
        let found = debian()
            .into_iter()
            .chain(pg_config())
            .chain(search_path())
            .find(|dir| complete(dir));
        Self(found.unwrap_or_else(|| {
            panic!(
                "no PostgreSQL server programs found; install them with \
                 `apt-get install postgresql` (scripts/test.sh does), or name their \
                 directory in {OVERRIDE}"
            )
        }))
    }

    /// The path of one program.
    pub fn program(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.0
    }
}

fn complete(dir: &Path) -> bool {
    ["initdb", "pg_ctl", "psql", "pg_dump"]
        .iter()
        .all(|name| dir.join(name).is_file())
}

fn debian() -> Vec<PathBuf> {
    let mut versions: Vec<(u32, PathBuf)> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let major = entry.file_name().to_str()?.parse().ok()?;
            Some((major, entry.path().join("bin")))
        })
        .collect();
    versions.sort();
    versions.into_iter().rev().map(|(_, dir)| dir).collect()
}

fn pg_config() -> Option<PathBuf> {
    let output = Command::new("pg_config").arg("--bindir").output().ok()?;
    let dir = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| dir.trim().into())
}

fn search_path() -> Vec<PathBuf> {
    std::env::var_os("PATH")
        .map(|path| std::env::split_paths(&path).collect())
        .unwrap_or_default()
}
