//! Which other processes have a SQLite file open.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// A line for each other process that has a file open, as far as they can be seen from here:
/// those of the same user, or all for root, and only where `/proc` tells.
pub fn openers(file: &Path) -> Vec<String> {
    let id = |path: &Path| {
        let found = std::fs::metadata(path).ok()?;
        Some((found.dev(), found.ino()))
    };
    let Some(wanted) = id(file) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for process in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let name = process.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        if pid == std::process::id() {
            continue;
        }
        let fds = std::fs::read_dir(process.path().join("fd"));
        let has = fds
            .into_iter()
            .flatten()
            .flatten()
            .any(|fd| id(&fd.path()) == Some(wanted));
        if has {
            let program = std::fs::read_to_string(process.path().join("comm"));
            let program = program.unwrap_or_default();
            found.push(format!(
                "process {pid} ({}) has {} open",
                program.trim(),
                file.display()
            ));
        }
    }
    found
}
