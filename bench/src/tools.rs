//! The programs that are compared.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::pairs::say;

/// A program in PATH; it says so when there is none.
pub(crate) fn installed(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .map(|dir| dir.join(name))
        .find(|file| file.is_file());
    if found.is_none() {
        say(&format!("({name} is not in PATH: its rows are missing)"));
    }
    found
}

/// Our tool, built the same way as this program.
pub(crate) fn ours() -> PathBuf {
    let here = std::env::current_exe().expect("this program has a path");
    let tool = here.with_file_name("etlrs-migrate");
    assert!(
        tool.is_file(),
        "build it first: cargo build --release -p migrate-cli"
    );
    tool
}

/// Runs a program to its end, which must be a good one.
pub(crate) fn run(program: &Path, arguments: &[&str]) {
    let output = Command::new(program)
        .args(arguments)
        .env_remove("DATABASE_URL")
        .stdin(Stdio::null())
        .output()
        .expect("it starts");
    assert!(
        output.status.success(),
        "{} {arguments:?}: {}{}",
        program.display(),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}
