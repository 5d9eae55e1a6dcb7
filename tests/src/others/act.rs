//! What somebody does while a run is under way.

use crate::deployment::{Deployment, Store};
use crate::sweep::Chance;

use super::try_sql;

/// Something that others do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// A row more in a table that no step touches.
    InsertUntouched,
    /// Another note in it.
    UpdateUntouched,
    /// A row less in it.
    DeleteUntouched,
    /// A row more in the table that is copied.
    InsertSource,
    /// A row of it gets another name.
    UpdateSource,
    /// A row more in the table that is copied into.
    InsertTarget,
    /// A table of their own, with a row.
    CreateTable,
    /// A column more on the untouched table.
    AddColumn,
    /// An index on it.
    CreateIndex,
    /// A privilege on it.
    Grant,
    /// A line at the end of the config file.
    EditConfig,
    /// The copies of the rollback point are deleted.
    DeleteBackups,
    /// A byte of each is changed.
    DamageBackups,
    /// A second run begins.
    SecondRun,
    /// The process stands still for longer than any wait of the tool for a lock.
    StandStill,
}

/// What was committed, to be found again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// A query of what must be there: `1` where it is.
    pub look: Option<String>,
    /// What takes it away again.
    pub back: String,
    /// A word that stands in what was written and nowhere else.
    pub word: String,
    /// Rows of the source that must be in the target when the upgrade succeeds: id and name.
    pub copied: Option<(i64, String)>,
}

impl Act {
    /// Those that fit a database.
    pub fn all(store: Store) -> Vec<Self> {
        use Act::{
            AddColumn, CreateIndex, CreateTable, DamageBackups, DeleteBackups, DeleteUntouched,
            EditConfig, Grant, InsertSource, InsertTarget, InsertUntouched, SecondRun, StandStill,
            UpdateSource, UpdateUntouched,
        };
        let mut all = vec![
            InsertUntouched,
            UpdateUntouched,
            DeleteUntouched,
            InsertSource,
            UpdateSource,
            InsertTarget,
            CreateTable,
            AddColumn,
            CreateIndex,
            EditConfig,
            DeleteBackups,
            DamageBackups,
            SecondRun,
            StandStill,
        ];
        if store == Store::Postgres {
            all.push(Grant);
        }
        all
    }

    /// Does it. `None` where the database or the tool did not let it happen.
    ///
    /// # Panics
    /// If a file of the test can't be written.
    pub fn perform(self, deployment: &Deployment, chance: &mut Chance) -> Option<Done> {
        let random = chance.number() & 0x00ff_ffff;
        let word = match self {
            Self::Grant => "GRANT SELECT ON TABLE public.orders TO PUBLIC".to_owned(),
            _ => format!("others{random:06x}"),
        };
        let number = i64::try_from(chance.below(9)).unwrap_or(0);
        match self {
            Self::EditConfig => return Some(edit_config(deployment, word)),
            Self::DeleteBackups | Self::DamageBackups => {
                spoil_backups(deployment, self == Self::DeleteBackups);
                return None;
            }
            Self::SecondRun => {
                let run = deployment.migrate();
                assert_ne!(run.code(), Some(0), "a second run beside the first: {run}");
                return None;
            }
            Self::StandStill => {
                std::thread::sleep(std::time::Duration::from_secs(2));
                return None;
            }
            _ => {}
        }
        let (sql, look) = self.sql(&word, number);
        let back = self.back(deployment, &word, number);
        if let Err(said) = try_sql(deployment, &sql) {
            let waited = ["lock", "busy", "timeout", "canceling"];
            // A table that an undo has dropped again is no table to write to.
            let gone = ["does not exist", "no such", "has no column"];
            assert!(
                waited.iter().chain(&gone).any(|one| said.contains(one)),
                "{self:?} failed for another reason than a lock: {said}"
            );
            return None;
        }
        let copied = match self {
            Self::InsertSource => Some((900_000 + number, word.clone())),
            Self::UpdateSource => Some((1 + 3 * number, word.clone())),
            _ => None,
        };
        Some(Done {
            look: Some(look),
            back,
            word,
            copied,
        })
    }

    /// The statement, and the query that finds what it did.
    fn sql(self, word: &str, number: i64) -> (String, String) {
        let id = 900_000 + number;
        let old = 1 + 3 * number;
        let one = |query: String| format!("SELECT count(*) FROM {query}");
        match self {
            Self::InsertUntouched => (
                format!("INSERT INTO orders VALUES ({id}, '{word}');"),
                one(format!("orders WHERE id = {id} AND note = '{word}'")),
            ),
            Self::UpdateUntouched => (
                format!("UPDATE orders SET note = '{word}' WHERE id = {old};"),
                one(format!("orders WHERE id = {old} AND note = '{word}'")),
            ),
            Self::DeleteUntouched => (
                format!("DELETE FROM orders WHERE id = {old};"),
                format!("SELECT 1 - count(*) FROM orders WHERE id = {old}"),
            ),
            Self::InsertSource => (
                format!(
                    "INSERT INTO pipelines_old (id, name, config, status, created_at) \
                     SELECT {id}, '{word}', config, status, created_at FROM pipelines_old WHERE id = 1;"
                ),
                one(format!("pipelines_old WHERE id = {id} AND name = '{word}'")),
            ),
            Self::UpdateSource => (
                format!("UPDATE pipelines_old SET name = '{word}' WHERE id = {old};"),
                one(format!("pipelines_old WHERE id = {old} AND name = '{word}'")),
            ),
            Self::InsertTarget => (
                format!(
                    "INSERT INTO pipelines (id, name, config, status) \
                     SELECT {id} + 50, '{word}', config, status FROM pipelines_old WHERE id = 1;"
                ),
                one(format!("pipelines WHERE id = {id} + 50 AND name = '{word}'")),
            ),
            Self::CreateTable => (
                format!("CREATE TABLE {word} (a text); INSERT INTO {word} VALUES ('{word}');"),
                one(word.to_owned()),
            ),
            Self::AddColumn => (
                format!("ALTER TABLE orders ADD COLUMN {word} text DEFAULT 'x';"),
                format!("SELECT CASE WHEN max({word}) = 'x' THEN 1 ELSE 0 END FROM orders"),
            ),
            Self::CreateIndex => (
                format!("CREATE INDEX {word} ON orders (note);"),
                format!("SELECT CASE WHEN to_regclass('{word}') IS NULL THEN 0 ELSE 1 END"),
            ),
            Self::Grant => (
                "GRANT SELECT ON orders TO PUBLIC;".to_owned(),
                "SELECT CASE WHEN has_table_privilege('pg_monitor', 'orders', 'SELECT') THEN 1 ELSE 0 END".to_owned(),
            ),
            Self::EditConfig
            | Self::DeleteBackups
            | Self::DamageBackups
            | Self::SecondRun
            | Self::StandStill => unreachable!("they are no SQL"),
        }
    }
}

impl Act {
    /// The statement that takes it away again, made before it is done.
    fn back(self, deployment: &Deployment, word: &str, number: i64) -> String {
        let id = 900_000 + number;
        let old = 1 + 3 * number;
        match self {
            Self::InsertUntouched => format!("DELETE FROM orders WHERE id = {id};"),
            Self::UpdateUntouched => format!("UPDATE orders SET note = 'old' WHERE id = {old};"),
            Self::DeleteUntouched => format!("INSERT INTO orders VALUES ({old}, 'old');"),
            Self::InsertSource => format!("DELETE FROM pipelines_old WHERE id = {id};"),
            Self::UpdateSource => {
                let name = format!("SELECT name FROM pipelines_old WHERE id = {old}");
                let name = try_sql(deployment, &name).unwrap_or_default();
                let name = name.replace('\'', "''");
                format!("UPDATE pipelines_old SET name = '{name}' WHERE id = {old};")
            }
            Self::InsertTarget => format!("DELETE FROM pipelines WHERE id = {};", id + 50),
            Self::CreateTable => format!("DROP TABLE {word};"),
            Self::AddColumn => format!("ALTER TABLE orders DROP COLUMN {word};"),
            Self::CreateIndex => format!("DROP INDEX {word};"),
            Self::Grant => "REVOKE SELECT ON orders FROM PUBLIC;".to_owned(),
            _ => String::new(),
        }
    }
}

impl Done {
    /// Takes it away again, when the run is over.
    ///
    /// # Panics
    /// If the database refuses.
    pub fn take_away(&self, deployment: &Deployment) {
        if self.look.is_none() {
            deployment.write("config/config.toml", &self.back);
        } else if let Err(said) = try_sql(deployment, &self.back) {
            panic!("{}: {said}", self.back);
        }
    }

    /// Whether it is still there.
    pub fn is_there(&self, deployment: &Deployment) -> bool {
        let Some(look) = &self.look else {
            return deployment.read("config/config.toml").contains(&self.word);
        };
        let look = match deployment.store() {
            Store::Sqlite if look.contains("to_regclass") => format!(
                "SELECT count(*) FROM sqlite_master WHERE name = '{}'",
                self.word
            ),
            _ => look.clone(),
        };
        try_sql(deployment, &look).is_ok_and(|found| found == "1")
    }
}

fn edit_config(deployment: &Deployment, word: String) -> Done {
    let text = deployment.read("config/config.toml");
    deployment.write("config/config.toml", &format!("{text}\n# {word}\n"));
    Done {
        look: None,
        back: text,
        word,
        copied: None,
    }
}

fn spoil_backups(deployment: &Deployment, delete: bool) {
    let Ok(entries) = std::fs::read_dir(deployment.path("backups")) else {
        return;
    };
    for path in entries.flatten().map(|entry| entry.path()) {
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or("");
        let is_copy = name.starts_with("etlrs_backup_")
            && [".db", ".dump", ".sql"]
                .iter()
                .any(|end| name.ends_with(end));
        if !is_copy {
            continue;
        }
        if delete {
            std::fs::remove_file(&path).expect("a backup can be deleted");
            continue;
        }
        let mut bytes = std::fs::read(&path).expect("a backup can be read");
        let at = bytes.len() / 2;
        bytes[at] ^= 0x5a;
        std::fs::write(&path, bytes).expect("a backup can be written");
    }
}
