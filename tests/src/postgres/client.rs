//! `psql` and `pg_dump` against the throwaway server, over its socket.

use std::io::Write;
use std::process::{Command, Stdio};

use super::server::Server;
use super::{ADMIN, binaries::Binaries};

impl Server {
    /// Runs SQL as a role and returns what `psql -At` prints, without the last newline.
    ///
    /// # Panics
    /// If a statement fails, with the database's message.
    #[track_caller]
    pub fn psql(&self, role: &str, database: &str, sql: &str) -> String {
        self.try_psql(role, database, sql)
            .unwrap_or_else(|message| panic!("psql on {database} failed: {message}\n{sql}"))
    }

    /// Runs SQL as the superuser.
    ///
    /// # Panics
    /// If a statement fails, with the database's message.
    #[track_caller]
    pub fn admin_psql(&self, database: &str, sql: &str) -> String {
        self.psql(ADMIN, database, sql)
    }

    /// Runs SQL as a role; the error is what the database said.
    ///
    /// # Errors
    /// If a statement fails.
    pub fn try_psql(&self, role: &str, database: &str, sql: &str) -> Result<String, String> {
        let mut command = self.client("psql", role, database);
        command.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-f", "-"]);
        let mut out = run(command, sql)?;
        if out.ends_with('\n') {
            out.pop();
        }
        Ok(out)
    }

    /// SQL as this server's build takes it: one without ICU gets collations of libc instead, one
    /// without libxml gets texts.
    ///
    /// # Panics
    /// If the server does not answer.
    #[track_caller]
    pub fn fitted(&self, sql: &str) -> String {
        let mut sql = sql.to_owned();
        let icu = "SELECT EXISTS (SELECT FROM pg_collation WHERE collname = 'de-x-icu')";
        if self.admin_psql("template1", icu) != "t" {
            sql = sql.replace(
                "provider = icu, locale = 'de'",
                "provider = libc, locale = 'C'",
            );
        }
        let xml = self.try_psql(ADMIN, "template1", "SELECT '<a/>'::xml");
        if xml.is_err() {
            sql = sql.replace("xm xml", "xm text");
        }
        sql
    }

    /// Its release, such as 15.
    ///
    /// # Panics
    /// If the server does not answer.
    #[track_caller]
    pub fn major(&self) -> u32 {
        let number = self.admin_psql("template1", "SHOW server_version_num");
        number.parse::<u32>().expect("it is a number") / 10_000
    }

    /// Everything in a database as sorted lines of a `pg_dump`; see
    /// [`TestDatabase::dump_sorted`](super::TestDatabase::dump_sorted).
    ///
    /// # Panics
    /// If `pg_dump` fails.
    #[track_caller]
    pub fn dump_sorted(&self, database: &str) -> String {
        self.sorted(database, "--inserts")
    }

    /// The schema alone, in the same way.
    ///
    /// # Panics
    /// If `pg_dump` fails.
    #[track_caller]
    pub fn schema_sorted(&self, database: &str) -> String {
        self.sorted(database, "--schema-only")
    }

    #[track_caller]
    fn sorted(&self, database: &str, what: &str) -> String {
        let mut command = self.client("pg_dump", ADMIN, database);
        command.args([what, "--encoding=UTF8"]);
        let dump = run(command, "")
            .unwrap_or_else(|message| panic!("pg_dump of {database} failed: {message}"));
        let mut lines = named_as_ours(&dump);
        lines.retain(|line| !volatile(line));
        lines.sort_unstable();
        lines.join("\n")
    }

    fn client(&self, program: &str, role: &str, database: &str) -> Command {
        let mut command = quiet(self.binaries(), program);
        command.arg("-h").arg(self.directory()).args([
            "-p",
            &self.port().to_string(),
            "-U",
            role,
            "-d",
            database,
        ]);
        command
    }
}

/// A program of the installation that sees none of the developer's own `PG*` settings.
pub(super) fn quiet(binaries: &Binaries, program: &str) -> Command {
    let mut command = Command::new(binaries.program(program));
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("LC_ALL", "C.UTF-8")
        .env("HOME", "/nonexistent");
    command
}

/// The lines of a dump; of the blocks of the tool's own schema each with its name.
fn named_as_ours(dump: &str) -> Vec<String> {
    let mut ours = false;
    let lines: Vec<&str> = dump.lines().collect();
    let line = |(at, line): (usize, &&str)| {
        let next = lines.get(at + 1).filter(|_| *line == "--");
        if let Some(head) = next.filter(|next| next.starts_with("-- ")) {
            ours = head.contains("etlrs_migrate");
        }
        if ours && !line.is_empty() && !line.starts_with("SET default_") {
            format!("{line} -- of etlrs_migrate")
        } else {
            (*line).to_owned()
        }
    };
    lines.iter().enumerate().map(line).collect()
}

fn volatile(line: &str) -> bool {
    line.is_empty()
        || [
            "-- Dumped from",
            "-- Dumped by",
            "\\restrict",
            "\\unrestrict",
        ]
        .iter()
        .any(|start| line.starts_with(start))
}

fn run(mut command: Command, input: &str) -> Result<String, String> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| error.to_string())?;
    let mut stdin = child.stdin.take().expect("stdin is piped");
    let input = input.to_owned();
    // A thread of its own, so that much input and much output do not wait for each other.
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child
        .wait_with_output()
        .map_err(|error| error.to_string())?;
    // A program that stopped at an error did not read the rest; its status tells.
    let _ = writer.join();
    if output.status.success() {
        String::from_utf8(output.stdout).map_err(|error| error.to_string())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}
