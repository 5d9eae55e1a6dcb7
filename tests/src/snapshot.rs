//! What a deployment is at a moment, complete enough that equality means "nothing changed".

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Files by path below a directory, with mode and content.
pub type Files = BTreeMap<String, (u32, Vec<u8>)>;

/// A deployment at a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The whole database as sorted lines.
    pub database: String,
    /// All files but the tool's own directories and the database's.
    pub files: Files,
}

impl Snapshot {
    /// Demands that nothing differs.
    ///
    /// # Panics
    /// With what differs.
    #[track_caller]
    pub fn must_equal(&self, other: &Self, when: &str) {
        if let Some(difference) = self.difference(other) {
            panic!("{when}, this differs:\n{difference}");
        }
    }

    /// The same without what the tool keeps in the database for itself: for comparing two
    /// moments of a run that is not taken back.
    #[must_use]
    pub fn of_the_user(&self) -> Self {
        let ours = |line: &&str| {
            !["etlrs_migrate", "_etlrs_"]
                .iter()
                .any(|name| line.contains(name))
        };
        let lines: Vec<&str> = self.database.lines().filter(ours).collect();
        Self {
            database: lines.join("\n"),
            files: self.files.clone(),
        }
    }

    /// What differs, some lines of each kind; `None` if nothing does.
    pub fn difference(&self, other: &Self) -> Option<String> {
        let mut out = String::new();
        let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
        differing(&mut out, &lines(&self.database), &lines(&other.database));
        out.push_str(&files_differing(&self.files, &other.files));
        if out.is_empty() && self != other {
            out.push_str("something that the comparison does not show");
        }
        (!out.is_empty()).then_some(out)
    }
}

/// The names of files that are new, gone or changed, a line each.
pub fn files_differing(before: &Files, after: &Files) -> String {
    let mut out = String::new();
    for (name, file) in before {
        match after.get(name) {
            None => writeln!(out, "file {name} is gone"),
            Some(now) if now.0 != file.0 => writeln!(out, "file {name} has mode {:o}", now.0),
            Some(now) if now != file => writeln!(out, "file {name} has another content"),
            Some(_) => Ok(()),
        }
        .expect("writing to a string does not fail");
    }
    for name in after.keys().filter(|name| !before.contains_key(*name)) {
        writeln!(out, "file {name} is new").expect("writing to a string does not fail");
    }
    out
}

/// Sorted lines, so one walk through both finds what only one of them has.
fn differing(out: &mut String, before: &[String], after: &[String]) {
    let (mut a, mut b, mut shown) = (0, 0, 0);
    while (a < before.len() || b < after.len()) && shown < 40 {
        let order = match (before.get(a), after.get(b)) {
            (Some(x), Some(y)) => x.cmp(y),
            (Some(_), None) => std::cmp::Ordering::Less,
            _ => std::cmp::Ordering::Greater,
        };
        match order {
            std::cmp::Ordering::Equal => (a, b) = (a + 1, b + 1),
            std::cmp::Ordering::Less => {
                writeln!(out, "- {}", before[a]).expect("writing to a string does not fail");
                (a, shown) = (a + 1, shown + 1);
            }
            std::cmp::Ordering::Greater => {
                writeln!(out, "+ {}", after[b]).expect("writing to a string does not fail");
                (b, shown) = (b + 1, shown + 1);
            }
        }
    }
}

/// Reads all files below a directory whose path the filter takes.
///
/// # Panics
/// If one can't be read.
pub fn files(root: &Path, takes: impl Fn(&str) -> bool) -> Files {
    let mut found = Files::new();
    let mut open = vec![root.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(&directory).expect("a directory of ours can be listed") {
            let path = entry.expect("a directory of ours can be listed").path();
            let name = path.strip_prefix(root).expect("it is below the root");
            let name = name.to_string_lossy().into_owned();
            if !takes(&name) {
                continue;
            }
            let meta = path
                .symlink_metadata()
                .expect("a file of ours has metadata");
            if meta.is_dir() {
                open.push(path);
                found.insert(format!("{name}/"), (meta.permissions().mode(), Vec::new()));
            } else if meta.is_symlink() && path.is_dir() {
                // Where it leads, not what is there.
                let target = std::fs::read_link(&path).expect("a link of ours can be read");
                let target = target.to_string_lossy().into_owned().into_bytes();
                found.insert(name, (meta.permissions().mode(), target));
            } else {
                let content = std::fs::read(&path).expect("a file of ours can be read");
                found.insert(name, (meta.permissions().mode(), content));
            }
        }
    }
    found
}
