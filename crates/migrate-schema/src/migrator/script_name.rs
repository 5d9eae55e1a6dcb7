//! The name by which the history knows a script.

use crate::db::{Backend, Database, DbError};

/// How the keys of scripts begin in the history, which migrations of directories share.
pub(crate) const KEY_PREFIX: &str = "S:";

/// A script's name, the same for its variants for one database and for what rolls it back:
/// `001_a.sql`, `001_a.sqlite.sql` and `001_a.down.sql` are all `001_a.sql`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ScriptName(String);

impl ScriptName {
    /// Of a name as a plan gives it.
    pub(crate) fn of(name: &str) -> Self {
        let name = name.trim().trim_start_matches("./").replace('\\', "/");
        let (folder, file) = match name.rsplit_once('/') {
            Some((folder, file)) => (format!("{folder}/"), file.to_owned()),
            None => (String::new(), name),
        };
        let plain: Vec<&str> = file.split('.').filter(|part| !is_variant(part)).collect();
        Self(format!("{folder}{}", plain.join(".")))
    }

    /// Of the file alone, wherever it lies.
    pub(crate) fn of_file(path: &str) -> Self {
        Self::of(path.rsplit(['/', '\\']).next().unwrap_or(path))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn file(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }

    /// The key in the history. Deployments that share a PostgreSQL database work in schemas of
    /// their own, so that one's script says nothing about the other's.
    ///
    /// # Errors
    /// The database's.
    pub(crate) async fn key(&self, db: &Database) -> Result<String, DbError> {
        Ok(match db.backend() {
            Backend::Sqlite => format!("{KEY_PREFIX}{}", self.0),
            Backend::Postgres => {
                let schema = db.query_json("select current_schema()").await?;
                let schema = schema.as_str().unwrap_or_default();
                format!("{KEY_PREFIX}{schema}/{}", self.0)
            }
        })
    }
}

fn is_variant(part: &str) -> bool {
    matches!(part, "up" | "down")
        || [Backend::Sqlite, Backend::Postgres]
            .iter()
            .any(|backend| part == backend.file_suffix())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variants_of_a_script_have_one_name() {
        for name in [
            "a/001_x.sql",
            "./a/001_x.sqlite.sql",
            "a/001_x.down.postgres.sql",
            "a/001_x.up.sql",
        ] {
            assert_eq!(ScriptName::of(name).as_str(), "a/001_x.sql");
        }
        assert_eq!(ScriptName::of_file("/x/a/001_x.sql").as_str(), "001_x.sql");
        assert_ne!(ScriptName::of("001_x.sql"), ScriptName::of("001_x_v2.sql"));
    }
}
