//! Many small migrations, against other tools and against one transaction of the database's
//! own command line.

use std::path::{Path, PathBuf};
use std::time::Duration;

use migrate_tests::postgres::TestDatabase;

use crate::pairs::{Rounds, Spread, row, time};
use crate::sqlite::sqlite3;
use crate::tools::{installed, ours, run};

/// A directory of migrations, and all of them as one transaction.
struct Files {
    dir: tempfile::TempDir,
}

impl Files {
    /// A table, an index and a row each.
    fn generate(count: u64) -> Self {
        Self::of(count, |number| {
            format!(
                "CREATE TABLE t{number} (id INTEGER PRIMARY KEY, name TEXT NOT NULL);\n\
                 CREATE INDEX t{number}_name ON t{number} (name);\n\
                 INSERT INTO t{number} (id, name) VALUES (1, 'first');\n"
            )
        })
    }

    /// A row each: what a thousand tables cost is SQLite's own affair, and grows with their square.
    fn rows(count: u64) -> Self {
        Self::of(count, |number| match number {
            1 => "CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT NOT NULL);\n".to_owned(),
            row => format!("INSERT INTO t (id, name) VALUES ({row}, 'row');\n"),
        })
    }

    fn of(count: u64, text: impl Fn(u64) -> String) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        std::fs::create_dir(dir.path().join("m")).expect("it can be made");
        let mut whole = String::from("BEGIN;\n");
        for number in 1..=count {
            let text = text(number);
            let path = dir.path().join(format!("m/{number:06}_t{number}.sql"));
            std::fs::write(path, &text).expect("it can be written");
            whole.push_str(&text);
        }
        whole.push_str("COMMIT;\n");
        std::fs::write(dir.path().join("whole.sql"), whole).expect("it can be written");
        Self { dir }
    }

    fn source(&self) -> String {
        self.dir.path().join("m").display().to_string()
    }

    fn whole(&self) -> PathBuf {
        self.dir.path().join("whole.sql")
    }

    fn database(&self) -> PathBuf {
        self.dir.path().join("bench.db")
    }

    fn fresh(&self) {
        for suffix in ["", "-wal", "-shm", "-journal"] {
            let _ = std::fs::remove_file(self.dir.path().join(format!("bench.db{suffix}")));
        }
        // An empty database, so that nobody has to make it.
        sqlite3(&self.database(), "VACUUM");
    }

    fn apply(&self, url: &str) {
        let source = self.source();
        let arguments = [
            "schema",
            "apply",
            "-q",
            "--layout",
            "sqlx",
            "--source",
            &source,
            "--database-url",
            url,
        ];
        run(&ours(), &arguments);
    }
}

fn sqlite_url(file: &Path) -> String {
    format!("sqlite:{}", file.display())
}

/// On SQLite.
pub(crate) fn sqlite(count: u64, rounds: u64) {
    let files = Files::generate(count);
    let url = sqlite_url(&files.database());
    let source = files.source();
    let (one, sqlx) = ("sqlite3, one transaction", "sqlx-cli");
    let their_tool = installed("sqlx");
    let mut contest = Rounds::new(count)
        .with(
            one,
            || files.fresh(),
            || {
                sqlite3(
                    &files.database(),
                    &format!(".read {}", files.whole().display()),
                );
            },
        )
        .with("ours", || files.fresh(), || files.apply(&url));
    if let Some(tool) = &their_tool {
        contest = contest.with(
            sqlx,
            || files.fresh(),
            || {
                run(
                    tool,
                    &[
                        "migrate",
                        "run",
                        "--source",
                        &source,
                        "--database-url",
                        &url,
                    ],
                );
            },
        );
    }
    let done = contest.run(rounds);
    done.compare("small migrations, SQLite", one, "ours", 0.4);
    if their_tool.is_some() {
        done.compare("small migrations, SQLite", sqlx, "ours", 4.0);
    }
    files.fresh();
    files.apply(&url);
    nothing_pending("nothing pending, SQLite", count, rounds, || {
        files.apply(&url);
    });
}

/// On PostgreSQL.
pub(crate) fn postgres(count: u64, rounds: u64) {
    let files = Files::generate(count);
    let test = TestDatabase::create();
    let url = test.admin_url();
    let psql = test.server().binaries().program("psql");
    let whole = files.whole().display().to_string();
    let empty = || {
        test.admin_psql("drop schema if exists etlrs_migrate cascade");
        // In parts: one transaction can't lock everything.
        while test.admin_psql("select count(*) from pg_tables where schemaname = 'public'") != "0" {
            test.admin_psql(
                "do $$ declare n name; begin for n in select tablename from pg_tables where schemaname = 'public' limit 500 loop execute format('drop table public.%I', n); end loop; end $$",
            );
        }
        test.admin_psql("checkpoint");
    };
    let one = "psql, one transaction";
    let done = Rounds::new(count)
        .with(one, empty, || {
            run(
                &psql,
                &["-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", &whole, &url],
            );
        })
        .with("ours", empty, || files.apply(&url))
        .run(rounds);
    done.compare("small migrations, PostgreSQL", one, "ours", 0.87);
    nothing_pending("nothing pending, PostgreSQL", count, rounds, || {
        files.apply(&url);
    });
}

/// Against an aim of 60 ms.
fn nothing_pending(what: &str, count: u64, rounds: u64, apply: impl Fn()) {
    let times: Vec<Duration> = (0..rounds.max(5)).map(|_| time(&apply)).collect();
    let ratios = Spread::of(times.iter().map(|took| 0.060 / took.as_secs_f64()));
    let figures = format!("{:.0} ms", 60.0 / ratios.median);
    row(&format!("{what} / 60 ms"), count, &ratios, 1.0, &figures);
}

/// Whether ten times as many take ten times as long.
pub(crate) fn linear(count: u64, rounds: u64) {
    let (few, many) = (Files::rows(count / 10), Files::rows(count));
    let took = |files: &Files| {
        files.fresh();
        time(|| files.apply(&sqlite_url(&files.database())))
    };
    let times: Vec<(Duration, Duration)> = (0..rounds).map(|_| (took(&few), took(&many))).collect();
    let ratios = Spread::of(
        times
            .iter()
            .map(|(few, many)| few.as_secs_f64() * 10.0 / many.as_secs_f64()),
    );
    let last = times.last().map_or(0.0, |(_, many)| many.as_secs_f64());
    let figures = format!("{last:.1} s for all of them");
    row(
        "ten times as many, SQLite / ten times the time",
        count,
        &ratios,
        0.8,
        &figures,
    );
}

/// Linting so many files, against a second.
pub(crate) fn lint(count: u64, rounds: u64) {
    let files = Files::generate(count);
    let source = files.source();
    let arguments = ["schema", "lint", "--source", &source, "--for", "postgres"];
    let times: Vec<Duration> = (0..rounds.max(5))
        .map(|_| time(|| run(&ours(), &arguments)))
        .collect();
    let ratios = Spread::of(times.iter().map(|took| 1.0 / took.as_secs_f64()));
    let figures = format!("{:.0} ms", 1000.0 / ratios.median);
    row("lint / 1 s", count, &ratios, 1.0, &figures);
}
