//! The files of a directory: the only place here that reads a disk.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use migrate_core::Finding;

/// A file of a migration directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// Its path relative to the directory, with `/`.
    pub path: Arc<str>,
    /// Its text.
    pub text: Arc<str>,
}

impl SourceFile {
    /// A file.
    pub fn new(path: &str, text: &str) -> Self {
        Self {
            path: path.into(),
            text: text.into(),
        }
    }

    /// The last part of its path.
    pub(super) fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }

    /// The folder that it is in, empty for the directory itself.
    pub(super) fn folder(&self) -> &str {
        self.path.rsplit_once('/').map_or("", |(folder, _)| folder)
    }
}

/// How deep folders are looked into.
const DEPTH: usize = 4;

/// Reads the SQL files of a directory and its folders (`*.sql`, and golang-migrate's
/// `V_name.up.pgsql` and the like), and the settings beside them (`metadata.toml`, `*.sql.conf`), in order
/// of their paths.
///
/// # Errors
/// The file or directory that can't be read, and why.
pub fn read_directory(dir: &Path) -> Result<Vec<SourceFile>, Finding> {
    let mut found = Vec::new();
    read_into(dir, "", DEPTH, &mut found)?;
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

fn read_into(
    dir: &Path,
    prefix: &str,
    depth: usize,
    found: &mut Vec<SourceFile>,
) -> Result<(), Finding> {
    let refuse = |path: &Path, error: std::io::Error| {
        Finding::error(
            "layout.unreadable",
            format!("{} can't be read: {error}", path.display()),
        )
        .hint("name the directory that holds the migrations with --source DIR")
    };
    for entry in fs::read_dir(dir).map_err(|error| refuse(dir, error))? {
        let entry = entry.map_err(|error| refuse(dir, error))?;
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        let shown = format!("{prefix}{name}");
        // A link is followed: some keep their files elsewhere.
        let kind = fs::metadata(&path).map_err(|error| refuse(&path, error))?;
        if kind.is_dir() {
            if depth > 1 && !name.starts_with('.') {
                read_into(&path, &format!("{shown}/"), depth - 1, found)?;
            }
        } else if is_wanted(&name) {
            if !kind.is_file() {
                // Opening a FIFO would wait for a writer.
                let why = "it is not a regular file (a FIFO, a socket or a device)";
                return Err(refuse(&path, std::io::Error::other(why)));
            }
            let bytes = fs::read(&path).map_err(|error| refuse(&path, error))?;
            let text = String::from_utf8(bytes).map_err(|error| {
                let good = error.utf8_error().valid_up_to();
                let line = error.as_bytes()[..good]
                    .iter()
                    .filter(|byte| **byte == b'\n');
                Finding::error(
                    "layout.not-utf8",
                    format!("{shown} is not UTF-8 in line {}", line.count() + 1),
                )
                .hint("convert it to UTF-8")
            })?;
            if let Some(at) = text.find('\0') {
                let line = text[..at].matches('\n').count() + 1;
                return Err(Finding::error(
                    "layout.nul",
                    format!(
                        "{shown} has a NUL byte in line {line}, which ends what a database reads"
                    ),
                )
                .hint("take it out"));
            }
            // Of a program only the name counts: it can't be run here.
            let text = if super::plain::is_program(&name) {
                ""
            } else {
                &text
            };
            found.push(SourceFile::new(&shown, text));
        }
    }
    Ok(())
}

fn is_wanted(name: &str) -> bool {
    super::plain::is_script(name)
        || super::plain::is_program(name)
        || name == "metadata.toml"
        || name.ends_with(".sql.conf")
}
