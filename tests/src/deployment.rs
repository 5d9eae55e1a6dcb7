//! The 1.5.0 deployment of the guide, made without the tool's own demo.

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::binary::{Run, Tool};
use crate::expected::{ConfigV2, Row, config_v2, rows_must_fit};
use crate::hostile::{SourceRow, TargetRow, ordinary_row, source_rows, target_rows};
use crate::postgres::TestDatabase;
use crate::snapshot::{Files, Snapshot, files};
use crate::sqlite;

/// Which database a deployment stands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Store {
    /// One file below the root.
    Sqlite,
    /// A database of its own on the process's throwaway server.
    Postgres,
}

/// Comments that a migrated config must still hold.
const COMMENTS: &[&str] = &[
    "# ETLRS in production, edited by hand",
    "# where the pipelines live",
    "# not shared",
    "# tuned for the small machine",
    "# one per core",
    "# our own key",
    "# the end",
];

/// Keys that the tool does not know, which stay as they are, byte for byte.
const UNKNOWN: &str =
    "[custom]\nteam = \"data\"   # our own key\n\"quoted key\" = { a = 1, b = [1, 2,   3] }\n";

const DATABASE_FILE: &str = "data/etlrs.db";

/// A deployment about to be made.
#[derive(Debug, Clone, Copy)]
pub struct Blueprint {
    rows: u32,
}

impl Blueprint {
    /// How many ordinary rows there are beside the hostile ones.
    #[must_use]
    pub fn rows(self, rows: u32) -> Self {
        Self { rows }
    }

    /// Makes it on SQLite.
    pub fn sqlite(self) -> Deployment {
        self.on(Store::Sqlite)
    }

    /// Makes it on PostgreSQL.
    pub fn postgres(self) -> Deployment {
        self.on(Store::Postgres)
    }

    /// Makes it on either.
    ///
    /// # Panics
    /// If a file can't be written or the database is not there.
    pub fn on(self, store: Store) -> Deployment {
        let mut source: Vec<SourceRow> = (0..i64::from(self.rows))
            .map(|at| ordinary_row(1 + 3 * at))
            .collect();
        source.extend(source_rows());
        let target = target_rows(&source);
        let root = TempDir::new().expect("a temporary directory can be made");
        let database = match store {
            Store::Sqlite => Database::Sqlite(root.path().join(DATABASE_FILE)),
            Store::Postgres => Database::Postgres(TestDatabase::create()),
        };
        let deployment = Deployment {
            root,
            database,
            source,
            target,
        };
        deployment.write("config/config.toml", &deployment.config_v1());
        let mode = std::fs::Permissions::from_mode(0o640);
        std::fs::set_permissions(deployment.path("config/config.toml"), mode)
            .expect("a file of ours can get a mode");
        deployment.write("data/README", "files beside the database\n");
        deployment.sql(&deployment.tables());
        deployment
    }
}

#[derive(Debug)]
enum Database {
    Sqlite(PathBuf),
    Postgres(TestDatabase<'static>),
}

/// A deployment in a temporary directory; gone with the value.
#[derive(Debug)]
pub struct Deployment {
    root: TempDir,
    database: Database,
    /// What `pipelines_old` holds.
    pub source: Vec<SourceRow>,
    /// What `pipelines` holds before the migration.
    pub target: Vec<TargetRow>,
}

impl Deployment {
    /// The 1.5.0 one.
    pub fn v1() -> Blueprint {
        Blueprint { rows: 200 }
    }

    /// Its root directory.
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// A path below its root.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root().join(name)
    }

    /// Which database it stands on.
    pub fn store(&self) -> Store {
        match self.database {
            Database::Sqlite(_) => Store::Sqlite,
            Database::Postgres(_) => Store::Postgres,
        }
    }

    /// Its PostgreSQL database.
    ///
    /// # Panics
    /// If it stands on SQLite.
    pub fn postgres(&self) -> &TestDatabase<'static> {
        match &self.database {
            Database::Postgres(database) => database,
            Database::Sqlite(_) => panic!("this deployment is on SQLite"),
        }
    }

    /// The file of its SQLite database.
    ///
    /// # Panics
    /// If it stands on PostgreSQL.
    pub fn database_file(&self) -> PathBuf {
        match &self.database {
            Database::Sqlite(file) => file.clone(),
            Database::Postgres(_) => panic!("this deployment is on PostgreSQL"),
        }
    }

    /// The URL as the config names it.
    pub fn url(&self) -> String {
        match &self.database {
            Database::Sqlite(_) => format!("sqlite:{DATABASE_FILE}"),
            Database::Postgres(database) => database.url(),
        }
    }

    /// The tool with `-C` this deployment.
    pub fn tool(&self, arguments: &[&str]) -> Tool {
        let root = self.root().to_str().expect("a temporary path is UTF-8");
        let mut all = vec!["-C", root];
        all.extend(arguments);
        Tool::new(&all)
    }

    /// Runs the tool on this deployment to its end.
    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> Run {
        self.tool(arguments).run()
    }

    /// Migrates it to 2.0.0, with consent to what the plan shows.
    #[track_caller]
    pub fn migrate(&self) -> Run {
        self.run(&["--from", "1.5.0", "--to", "2.0.0", "--yes"])
    }

    /// Rolls it back to 1.5.0 with a strategy.
    #[track_caller]
    pub fn rollback(&self, strategy: &str) -> Run {
        self.run(&[
            "--rollback",
            "--to",
            "1.5.0",
            "--strategy",
            strategy,
            "--yes",
        ])
    }

    /// Writes a file below the root.
    ///
    /// # Panics
    /// If it can't be written.
    #[track_caller]
    pub fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        let parent = path.parent().expect("it is below the root");
        std::fs::create_dir_all(parent).expect("a directory of ours can be made");
        std::fs::write(path, text).expect("a file of ours can be written");
    }

    /// Reads a file below the root.
    ///
    /// # Panics
    /// If it can't be read.
    #[track_caller]
    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name))
            .unwrap_or_else(|error| panic!("{name} can't be read: {error}"))
    }

    /// The SHA-256 of a file below the root, in hexadecimal digits, by `sha256sum`.
    ///
    /// # Panics
    /// Without the program or the file.
    pub fn sha256(&self, name: &str) -> String {
        let mut sum = std::process::Command::new("sha256sum");
        let out = sum.arg(self.path(name)).output().expect("sha256sum runs");
        assert!(out.status.success(), "{name}");
        String::from_utf8_lossy(&out.stdout)[..64].to_owned()
    }

    /// Replaces text in a file below the root.
    ///
    /// # Panics
    /// If the text is not there.
    #[track_caller]
    pub fn edit(&self, name: &str, old: &str, new: &str) {
        let text = self.read(name);
        assert!(text.contains(old), "{name} holds no {old:?}:\n{text}");
        self.write(name, &text.replacen(old, new, 1));
    }

    /// Runs SQL in its database and returns what it prints, columns by `|`.
    #[track_caller]
    pub fn sql(&self, sql: &str) -> String {
        match &self.database {
            Database::Sqlite(file) => sqlite::run(file, sql),
            Database::Postgres(database) => database.psql(sql),
        }
    }

    /// Database, config and all other files, without what the tool keeps for itself
    /// (`.etlrs-migrate/`, `backups/`) and the bytes of the database's files.
    pub fn snapshot(&self) -> Snapshot {
        let database = match &self.database {
            Database::Sqlite(file) => sqlite::dump_sorted(file),
            Database::Postgres(database) => database.dump_sorted(),
        };
        let takes = |name: &str| {
            !name.starts_with(DATABASE_FILE) && name != ".etlrs-migrate" && name != "backups"
        };
        Snapshot {
            database,
            files: files(self.root(), takes),
        }
    }

    /// Every file below the root, byte for byte.
    pub fn all_files(&self) -> Files {
        files(self.root(), |_| true)
    }

    /// Every file below the root but the tool's own state directory.
    pub fn files_of_user(&self) -> Files {
        files(self.root(), |name| name != ".etlrs-migrate")
    }

    /// Demands that everything is as at 2.0.0: every row, the config, the schema's version.
    ///
    /// # Panics
    /// With what differs.
    #[track_caller]
    pub fn must_be_v2(&self) {
        rows_must_fit(&self.pipelines(), &self.source, &self.target);
        self.config_must_be_v2();
        assert_eq!(self.sql("SELECT max(version) FROM schema_versions"), "2");
        let kept = format!("{}", self.source.len());
        assert_eq!(self.sql("SELECT count(*) FROM pipelines_old"), kept);
    }

    /// Demands that the config is the guide's `ConfigV2` with everything else kept.
    ///
    /// # Panics
    /// With what differs.
    #[track_caller]
    pub fn config_must_be_v2(&self) {
        let text = self.read("config/config.toml");
        let found: ConfigV2 = toml_edit::de::from_str(&text)
            .unwrap_or_else(|error| panic!("the config is no ConfigV2: {error}\n{text}"));
        assert_eq!(found, config_v2(&self.url()));
        for comment in COMMENTS {
            assert!(text.contains(comment), "{comment:?} is gone:\n{text}");
        }
        assert!(text.contains(UNKNOWN), "unknown keys were touched:\n{text}");
        let mode = std::fs::metadata(self.path("config/config.toml"))
            .expect("the config is there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o7777, 0o640, "the config's mode was changed");
    }

    /// All rows of `pipelines` at 2.0.0.
    #[track_caller]
    pub fn pipelines(&self) -> Vec<Row> {
        let read = |row| serde_json::from_value(row).expect("a row has the columns of 2.0.0");
        match &self.database {
            Database::Sqlite(file) => sqlite::rows(file, "SELECT * FROM pipelines ORDER BY id")
                .into_iter()
                .map(read)
                .collect(),
            Database::Postgres(database) => database
                .psql("SELECT row_to_json(p) FROM pipelines p ORDER BY id")
                .lines()
                .map(|line| read(serde_json::from_str(line).expect("PostgreSQL writes JSON")))
                .collect(),
        }
    }

    fn config_v1(&self) -> String {
        format!(
            "{}\n\n{}\ndatabase_url = \"{}\" {}\n\n{}\nbatch_size = 1000\n\
             parallel_tasks   =   4     {}\nlog_level = \"info\"\n\n{UNKNOWN}\n{}\n",
            COMMENTS[0],
            COMMENTS[1],
            self.url(),
            COMMENTS[2],
            COMMENTS[3],
            COMMENTS[4],
            COMMENTS[6],
        )
    }

    fn tables(&self) -> String {
        let moment = match self.store() {
            Store::Sqlite => "text",
            Store::Postgres => "timestamptz",
        };
        let mut sql = match self.store() {
            Store::Sqlite => String::new(),
            // A server far from UTC: `created_at` must not move by its offset.
            Store::Postgres => format!(
                "ALTER DATABASE {} SET timezone = 'America/Sao_Paulo';\nSET timezone = 'UTC';\n",
                self.postgres().name()
            ),
        };
        write!(
            sql,
            "BEGIN;\n\
             CREATE TABLE pipelines (id integer primary key, name text not null, \
               config text not null, status text not null);\n\
             CREATE TABLE pipelines_old (id integer primary key, name text not null, \
               config text not null, status text not null, created_at {moment} not null);\n"
        )
        .expect("writing to a string does not fail");
        for row in &self.source {
            let texts = [&row.name, &row.config, &row.status, &row.created_at]
                .map(|text| literal(self.store(), text));
            let line = format!(
                "INSERT INTO pipelines_old VALUES ({}, {});\n",
                row.id,
                texts.join(", ")
            );
            sql.push_str(&line);
        }
        for row in &self.target {
            let texts =
                [&row.name, &row.config, &row.status].map(|text| literal(self.store(), text));
            let line = format!(
                "INSERT INTO pipelines VALUES ({}, {});\n",
                row.id,
                texts.join(", ")
            );
            sql.push_str(&line);
        }
        sql.push_str("COMMIT;\n");
        sql
    }
}

/// A literal that both databases read alike. The `sqlite3` program would drop a carriage
/// return at the end of a line.
fn literal(store: Store, text: &str) -> String {
    if store == Store::Sqlite && text.contains('\r') {
        let hex: String = text.bytes().fold(String::new(), |mut hex, byte| {
            write!(hex, "{byte:02x}").expect("writing to a string does not fail");
            hex
        });
        return format!("CAST(X'{hex}' AS TEXT)");
    }
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests;
