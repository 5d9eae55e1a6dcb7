//! A directory of migrations and an empty database.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use migrate_tests::binary::{self, Run, Tool};
use migrate_tests::deployment::Store;
use migrate_tests::postgres::{self, Server, TestDatabase};
use migrate_tests::sqlite;

/// A directory of migrations, and a database that they are for.
pub(crate) struct World<'server> {
    dir: tempfile::TempDir,
    postgres: Option<TestDatabase<'server>>,
}

impl World<'static> {
    pub(crate) fn on(store: Store) -> Self {
        Self::with(match store {
            Store::Sqlite => None,
            Store::Postgres => Some(TestDatabase::create()),
        })
    }

    pub(crate) fn postgres() -> Self {
        Self::on(Store::Postgres)
    }

    /// Where nobody makes roles or settings meanwhile.
    pub(crate) fn undisturbed(store: Store) -> Self {
        Self::with(match store {
            Store::Sqlite => None,
            Store::Postgres => Some(TestDatabase::create_on(postgres::undisturbed())),
        })
    }

    pub(crate) fn sqlite() -> Self {
        Self::on(Store::Sqlite)
    }
}

impl<'server> World<'server> {
    pub(crate) fn on_server(server: &'server Server) -> Self {
        Self::with(Some(TestDatabase::create_on(server)))
    }

    fn with(postgres: Option<TestDatabase<'server>>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("migrations")).unwrap();
        let world = Self { dir, postgres };
        if world.postgres.is_none() {
            sqlite::run(&world.file(), "create table t (a); drop table t;");
        }
        world
    }

    /// Writes files into the directory of migrations.
    pub(crate) fn files(self, files: &[(&str, &str)]) -> Self {
        for (name, text) in files {
            self.write(name, text);
        }
        self
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.source().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub(crate) fn remove(&self, name: &str) {
        std::fs::remove_file(self.source().join(name)).unwrap();
    }

    pub(crate) fn source(&self) -> PathBuf {
        self.dir.path().join("migrations")
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.dir.path().join("app.db")
    }

    pub(crate) fn database(&self) -> &TestDatabase<'server> {
        self.postgres.as_ref().expect("this world is on PostgreSQL")
    }

    pub(crate) fn url(&self) -> String {
        match &self.postgres {
            Some(database) => database.url(),
            None => format!("sqlite:{}", self.file().display()),
        }
    }

    /// `schema VERB … --source DIR --database-url URL`.
    pub(crate) fn tool(&self, arguments: &[&str]) -> Tool {
        self.tool_of(binary::path(), arguments)
    }

    /// The same with another build of the tool.
    pub(crate) fn tool_of(&self, binary: &Path, arguments: &[&str]) -> Tool {
        let (source, url) = (self.source(), self.url());
        let mut all = vec!["schema"];
        all.extend(arguments);
        let source = source.to_str().unwrap();
        all.extend(["--source", source, "--database-url", &url]);
        Tool::of(binary, &all)
    }

    /// `schema VERB … --database-url URL`, without the directory.
    pub(crate) fn bare(&self, arguments: &[&str]) -> Run {
        let url = self.url();
        let mut all = vec!["schema"];
        all.extend(arguments);
        all.extend(["--database-url", &url]);
        Tool::new(&all).run()
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Run {
        self.tool(arguments).run()
    }

    /// The state of each migration by file.
    pub(crate) fn states(&self, more: &[&str]) -> Vec<String> {
        let mut arguments = vec!["status", "--format", "json"];
        arguments.extend(more);
        let status = self.run(&arguments);
        let status = status.expect(0).json();
        status["migrations"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| {
                format!(
                    "{} {}",
                    one["file"].as_str().unwrap_or("not there"),
                    one["state"].as_str().unwrap()
                )
            })
            .collect()
    }

    /// Runs SQL by the database's own command line.
    #[track_caller]
    pub(crate) fn sql(&self, sql: &str) -> String {
        match &self.postgres {
            Some(database) => database.psql(sql),
            None => sqlite::run(&self.file(), sql),
        }
    }

    /// Everything of the user's, catalog and rows, as sorted lines.
    pub(crate) fn snapshot(&self) -> String {
        let text = match &self.postgres {
            Some(database) => dump(database),
            None => sqlite::dump_sorted(&self.file()),
        };
        let mut lines: Vec<&str> = text
            .lines()
            .filter(|line| !line.contains("_etlrs_") && !line.contains("sqlite_sequence"))
            .filter(|line| !line.starts_with("--") && !line.starts_with('\\'))
            .filter(|line| !line.is_empty())
            .collect();
        lines.sort_unstable();
        lines.join("\n")
    }

    /// A session of psql that runs SQL and then stays as it is, in its transaction.
    pub(crate) fn visitor(&self, sql: &str) -> Visitor {
        Visitor::with(self.database(), sql)
    }
}

fn dump(database: &TestDatabase<'_>) -> String {
    let output = Command::new(database.server().binaries().program("pg_dump"))
        .args(["--inserts", "-N", "etlrs_migrate", &database.admin_url()])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Somebody connected to the database.
pub(crate) struct Visitor(Child);

impl Visitor {
    fn with(database: &TestDatabase<'_>, sql: &str) -> Self {
        use std::io::Write as _;
        let mut child = Command::new(database.server().binaries().program("psql"))
            .args(["-X", "-q", &database.admin_url()])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("psql can be started");
        // A name of its own: another visitor may be ready already.
        let ready = format!("visitor-ready-{}.", child.id());
        let stdin = child.stdin.as_mut().unwrap();
        writeln!(stdin, "{sql};\nset application_name = '{ready}';").unwrap();
        stdin.flush().unwrap();
        until("psql is ready", || {
            database
                .server()
                .sessions(database.name())
                .iter()
                .any(|session| session.contains(&ready))
        });
        Self(child)
    }
}

impl Drop for Visitor {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits for something that is about to be so.
#[track_caller]
pub(crate) fn until(what: &str, is: impl Fn() -> bool) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while !is() {
        assert!(
            std::time::Instant::now() < deadline,
            "it never came to be that {what}"
        );
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}
