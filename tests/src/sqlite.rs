//! SQLite through its own command line, a witness independent of the tool's driver.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

/// Runs SQL and returns what `sqlite3 -list` prints, without the last newline.
///
/// # Panics
/// If `sqlite3` is not installed or a statement fails.
#[track_caller]
pub fn run(file: &Path, sql: &str) -> String {
    call(file, &["-bail", "-list"], sql)
}

/// Runs one query, changing nothing, and returns its rows as JSON objects.
///
/// # Panics
/// If it fails.
#[track_caller]
pub fn rows(file: &Path, sql: &str) -> Vec<Value> {
    let text = call(file, &["-bail", "-readonly", "-json"], sql);
    if text.is_empty() {
        return Vec::new();
    }
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in {text}"))
}

/// Everything in the file: sorted lines of the catalog, the settings kept in the file, and
/// all rows.
///
/// # Panics
/// If the file can't be read.
#[track_caller]
pub fn dump_sorted(file: &Path) -> String {
    let dump = call(
        file,
        &["-bail", "-readonly", "-list"],
        ".dump\n\
         SELECT type, name, tbl_name, sql FROM sqlite_master;\n\
         SELECT 'journal_mode', * FROM pragma_journal_mode;\n\
         SELECT 'user_version', * FROM pragma_user_version;\n\
         SELECT 'application_id', * FROM pragma_application_id;\n\
         SELECT 'encoding', * FROM pragma_encoding;\n",
    );
    let mut lines: Vec<&str> = dump.lines().collect();
    lines.sort_unstable();
    lines.join("\n")
}

#[track_caller]
fn call(file: &Path, options: &[&str], sql: &str) -> String {
    let mut child = Command::new("sqlite3")
        .args(options)
        .arg(file)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", "/nonexistent")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the tests need sqlite3: `apt-get install sqlite3` (scripts/test.sh does)");
    let mut stdin = child.stdin.take().expect("stdin is piped");
    let text = format!(".timeout 10000\n{sql}\n");
    let writer = std::thread::spawn(move || stdin.write_all(text.as_bytes()));
    let output = child.wait_with_output().expect("sqlite3 ends");
    let _ = writer.join();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && said.is_empty(),
        "sqlite3 {} failed: {said}\n{sql}",
        file.display()
    );
    let mut text = String::from_utf8(output.stdout).expect("sqlite3 prints UTF-8");
    if text.ends_with('\n') {
        text.pop();
    }
    text
}
