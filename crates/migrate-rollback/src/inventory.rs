//! Everything below `backups/` that a database can be restored from.
//!
//! Points are known from the history and, should that be lost, from the file beside each
//! copy. What neither names (the guide's plain `.sql`, a dump of somebody's own) is listed
//! as well, with less known about it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use chrono::{DateTime, Utc};
use migrate_config::atomic::{self, Root};
use migrate_core::{StepError, Version};

use crate::backup::directory::BACKUPS;
use crate::checksum;
use crate::history::RollbackHistory;
use crate::point::{Purpose, RollbackPoint};

/// All that was found, oldest first, and what could not be read.
#[derive(Debug, Clone, Default)]
pub struct Inventory {
    /// What a database can be restored from.
    pub backups: Vec<Stored>,
    /// Files that should tell about backups and can't be read.
    pub problems: Vec<String>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stored {
    /// Made by this tool: its version, checksum and fingerprint are known.
    Point(Box<RollbackPoint>),
    /// A file alone.
    Bare(BareCopy),
}

/// A backup of which only the file is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BareCopy {
    /// The `YYYYMMDD_HHMMSS` of its name.
    pub id: String,
    /// The file, relative to the root.
    pub file: String,
    /// What it is.
    pub form: Form,
    /// Its size.
    pub bytes: u64,
    /// When it was written last.
    pub modified: DateTime<Utc>,
}

/// What a file that is no point of ours holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// SQL as `pg_dump` prints it.
    Sql,
    /// An archive of `pg_dump`, a file or a directory.
    Archive,
    /// A SQLite database.
    Sqlite,
}

impl Form {
    fn of(extension: &str) -> Option<Self> {
        match extension {
            "sql" => Some(Self::Sql),
            "dump" | "dir" => Some(Self::Archive),
            "db" => Some(Self::Sqlite),
            _ => None,
        }
    }

    /// The suffix of the database that it belongs to, as points name it.
    pub fn backend(self) -> &'static str {
        match self {
            Self::Sql | Self::Archive => "postgres",
            Self::Sqlite => "sqlite",
        }
    }
}

impl Stored {
    /// Its name, `YYYYMMDD_HHMMSS`.
    pub fn id(&self) -> &str {
        match self {
            Self::Point(point) => &point.id,
            Self::Bare(bare) => &bare.id,
        }
    }

    /// Its file, relative to the root.
    pub fn file(&self) -> &str {
        match self {
            Self::Point(point) => &point.data_snapshot.file,
            Self::Bare(bare) => &bare.file,
        }
    }

    /// Which sort of database it is a copy of, as points name it.
    pub fn backend(&self) -> &str {
        match self {
            Self::Point(point) => &point.data_snapshot.backend,
            Self::Bare(bare) => bare.form.backend(),
        }
    }

    /// The version that the deployment was at, where that was recorded. A safety copy is of
    /// no certain version.
    pub fn version(&self) -> Option<&Version> {
        match self {
            Self::Point(point) if point.purpose == Purpose::GoBack => Some(&point.version),
            _ => None,
        }
    }

    /// Whether it was made to keep what a restore replaced.
    pub fn is_safety_copy(&self) -> bool {
        matches!(self, Self::Point(point) if point.purpose == Purpose::Safety)
    }

    /// When it was made, as far as that is known.
    pub fn made(&self) -> DateTime<Utc> {
        match self {
            Self::Point(point) => point.timestamp,
            Self::Bare(bare) => bare.modified,
        }
    }

    /// Its size as recorded.
    pub fn bytes(&self) -> u64 {
        match self {
            Self::Point(point) => point.data_snapshot.bytes,
            Self::Bare(bare) => bare.bytes,
        }
    }
}

impl Inventory {
    /// Looks into `backups/`. Read-only.
    ///
    /// # Errors
    /// The directory is there and can't be read.
    pub fn read(root: &Root) -> Result<Self, StepError> {
        let mut found = Self::default();
        let mut points: BTreeMap<String, RollbackPoint> = BTreeMap::new();
        let names = names(root)?;
        for name in names.iter().filter(|name| name.ends_with(".point.json")) {
            match read_point(root, name) {
                Ok(point) => drop(points.insert(point.id.clone(), point)),
                Err(problem) => found.problems.push(problem),
            }
        }
        match RollbackHistory::read(root) {
            Ok(history) => {
                for point in history.0.into_values().flatten() {
                    points.insert(point.id.clone(), point);
                }
            }
            Err(error) => found.problems.push(error.to_string()),
        }
        let recorded: Vec<String> = points
            .values()
            .map(|point| point.data_snapshot.file.clone())
            .collect();
        found.backups = points
            .into_values()
            .map(|point| Stored::Point(Box::new(point)))
            .collect();
        let bare = names.iter().filter_map(|name| bare(root, name));
        found.backups.extend(
            bare.filter(|bare| !recorded.contains(&bare.file))
                .map(Stored::Bare),
        );
        found
            .backups
            .sort_by(|a, b| (a.id(), a.file()).cmp(&(b.id(), b.file())));
        Ok(found)
    }

    /// The backup of a name: `YYYYMMDD_HHMMSS`, or the file's name in `backups/`. Where a
    /// name fits a point and a bare file, it is the point.
    pub fn find(&self, name: &str) -> Option<&Stored> {
        let file = name.strip_prefix("backups/").unwrap_or(name);
        let by_file = |stored: &&Stored| stored.file().strip_prefix("backups/") == Some(file);
        self.backups.iter().find(by_file).or_else(|| {
            let mut of_id = self.backups.iter().filter(|stored| stored.id() == name);
            let first = of_id.clone().next();
            of_id
                .find(|stored| matches!(stored, Stored::Point(_)))
                .or(first)
        })
    }

    /// The newest that leads back to a version for certain.
    pub fn newest_of(&self, version: &Version) -> Option<&Stored> {
        self.backups
            .iter()
            .filter(|stored| stored.version() == Some(version))
            .max_by_key(|stored| (stored.made(), stored.id().to_owned()))
    }

    /// The newest file of which no version is recorded, for a database of that sort.
    pub fn newest_bare(&self, backend: &str) -> Option<&Stored> {
        self.backups
            .iter()
            .filter(|stored| matches!(stored, Stored::Bare(bare) if bare.form.backend() == backend))
            .max_by_key(|stored| stored.id().to_owned())
    }
}

fn names(root: &Root) -> Result<Vec<String>, StepError> {
    let dir = root.path().join(BACKUPS);
    let failed = |error| StepError::caused(format!("can't read {}", dir.display()), &error);
    let entries = match fs::read_dir(&dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed)?,
    };
    let mut names = Vec::new();
    for entry in entries {
        names.push(entry.map_err(failed)?.file_name());
    }
    let mut names: Vec<String> = names
        .into_iter()
        .flat_map(std::ffi::OsString::into_string)
        .collect();
    names.sort();
    Ok(names)
}

fn read_point(root: &Root, name: &str) -> Result<RollbackPoint, String> {
    let path = format!("{BACKUPS}/{name}");
    let bytes = atomic::read(root, Path::new(&path)).map_err(|error| error.to_string())?;
    serde_json::from_slice(&bytes).map_err(|error| format!("{path} can't be read: {error}"))
}

/// What a name says: `etlrs_backup_YYYYMMDD_HHMMSS.sql`.
fn bare(root: &Root, name: &str) -> Option<BareCopy> {
    let rest = [Purpose::GoBack, Purpose::Safety]
        .iter()
        .find_map(|purpose| name.strip_prefix(purpose.prefix()))?;
    let (id, extension) = rest.split_once('.')?;
    let form = Form::of(extension)?;
    let file = format!("{BACKUPS}/{name}");
    let path = root.path().join(&file);
    let modified = fs::metadata(&path).ok()?.modified().ok()?;
    Some(BareCopy {
        id: id.to_owned(),
        form,
        bytes: checksum::bytes_of_copy(&path).ok()?,
        modified: modified.into(),
        file,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_alone_are_found_by_their_names() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        assert!(Inventory::read(&root).unwrap().backups.is_empty());
        fs::create_dir(dir.path().join(BACKUPS)).unwrap();
        for name in [
            "etlrs_backup_20231201_140000.sql",
            "etlrs_backup_20231202_140000.dump",
            "etlrs_backup_20231201_140000.db",
            "etlrs_backup_x.point.json",
            "notes.sql",
            ".etlrs_backup_1_x.tmp",
        ] {
            fs::write(dir.path().join(BACKUPS).join(name), "x").unwrap();
        }
        let found = Inventory::read(&root).unwrap();
        let files: Vec<&str> = found.backups.iter().map(Stored::file).collect();
        assert_eq!(
            files,
            [
                "backups/etlrs_backup_20231201_140000.db",
                "backups/etlrs_backup_20231201_140000.sql",
                "backups/etlrs_backup_20231202_140000.dump",
            ]
        );
        assert!(found.problems[0].contains("etlrs_backup_x.point.json"));
        let newest = found.newest_bare("postgres").unwrap();
        assert_eq!(newest.id(), "20231202_140000");
        let by_name = found.find("etlrs_backup_20231201_140000.sql").unwrap();
        assert_eq!(by_name.file(), files[1]);
        assert!(found.find("20240101_000000").is_none());
    }
}
