//! Which files below the root are the tool's own: what it trusts, no plan may write or remove.

use std::fs;
use std::path::{Component, Path, PathBuf};

use migrate_core::own_files::{OwnFiles, Touch};

use super::root::Root;

/// Names that are the tool's own wherever they lie: a root may hold other deployments.
const OWN_NAMES: [&str; 2] = [".etlrs-migrate", "etlrs-migrate.toml"];

/// So many files of our own are compared with a hard link, at most.
const COMPARED: usize = 10_000;

/// The rule for a root, with these files and directories as the tool's own (absolute, or
/// relative to the root; they need not exist).
///
/// A path is refused if it, or what it leads to, is one of them, lies in one of them, or (for
/// a removal) contains one of them. Upper and lower case count as the same, since some file
/// systems take them so.
pub fn own_files(root: &Root, own: impl IntoIterator<Item = PathBuf>) -> OwnFiles {
    let rule = Rule {
        root: root.clone(),
        own: own
            .into_iter()
            .map(|path| root.path().join(path))
            .flat_map(|path| [real(&path), path])
            .collect(),
    };
    std::sync::Arc::new(move |path, touch| rule.refuses(path, touch))
}

struct Rule {
    root: Root,
    own: Vec<PathBuf>,
}

impl Rule {
    fn refuses(&self, relative: &Path, touch: Touch) -> Option<String> {
        let shown = relative.display();
        let named = relative.components().any(|part| {
            let part = part.as_os_str().to_string_lossy().to_lowercase();
            OWN_NAMES.contains(&part.as_str())
        });
        if named {
            return Some(format!("{shown} is the tool's own"));
        }
        let plain = self.root.path().join(relative);
        for target in [real_target(&plain, touch), plain] {
            if let Some(own) = self.own.iter().find(|own| overlap(&target, own, touch)) {
                let own = own.strip_prefix(self.root.path()).unwrap_or(own);
                return Some(format!(
                    "{shown} is the tool's own: it keeps {} for itself",
                    own.display()
                ));
            }
            if self.is_link_to_own(&target) {
                return Some(format!(
                    "{shown} is the tool's own: it is a hard link to one of its files"
                ));
            }
        }
        None
    }

    #[cfg(unix)]
    fn is_link_to_own(&self, target: &Path) -> bool {
        use std::os::unix::fs::MetadataExt as _;

        let Ok(file) = fs::symlink_metadata(target) else {
            return false;
        };
        if !file.is_file() || file.nlink() < 2 {
            return false;
        }
        let mut left: Vec<PathBuf> = OWN_NAMES
            .iter()
            .map(|name| self.root.path().join(name))
            .collect();
        left.extend(self.own.iter().cloned());
        let mut looked_at = 0;
        while let Some(path) = left.pop() {
            looked_at += 1;
            let Ok(about) = fs::symlink_metadata(&path) else {
                continue;
            };
            // Too many to compare: a link that can't be told from ours counts as ours.
            if looked_at > COMPARED || (about.dev(), about.ino()) == (file.dev(), file.ino()) {
                return true;
            }
            if about.is_dir() {
                let entries = fs::read_dir(&path).into_iter().flatten().flatten();
                left.extend(entries.map(|entry| entry.path()));
            }
        }
        false
    }
}

/// A path with its links followed, as far as it exists.
fn real(path: &Path) -> PathBuf {
    if let Ok(real) = path.canonicalize() {
        return real;
    }
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => real(parent).join(name),
        _ => path.to_owned(),
    }
}

/// What is touched: a link is written through, but removed itself.
fn real_target(path: &Path, touch: Touch) -> PathBuf {
    match (touch, path.parent(), path.file_name()) {
        (Touch::Remove, Some(parent), Some(name)) => real(parent).join(name),
        _ => real(path),
    }
}

fn overlap(target: &Path, own: &Path, touch: Touch) -> bool {
    let (target, own) = (lowercase(target), lowercase(own));
    let below = |path: &[String], top: &[String]| path.starts_with(top);
    below(&target, &own) || (touch == Touch::Remove && below(&own, &target))
}

fn lowercase(path: &Path) -> Vec<String> {
    path.components()
        .filter(|part| *part != Component::CurDir)
        .map(|part| part.as_os_str().to_string_lossy().to_lowercase())
        .collect()
}
