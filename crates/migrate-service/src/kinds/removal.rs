//! Removes files and directories below a root, without ever leaving it.

use std::ffi::{CStr, CString};
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use migrate_core::{Cancel, StepError};
use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, open, openat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstatat};
use nix::unistd::{UnlinkatFlags, unlinkat};

/// Our own journal lives there; no plan may remove it.
const STATE_DIR: &str = ".etlrs-migrate";
/// The tool's settings; a directory that holds them is a deployment.
const SETTINGS_FILE: &str = "etlrs-migrate.toml";

/// A path below the root: relative, without `..`, and not the root itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PathBelow(Vec<CString>);

impl PathBelow {
    /// Parses it, or says what is wrong as a lowercase fragment.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text.starts_with('/') {
            return Err(format!("{text:?} is not relative to the root"));
        }
        let mut parts = Vec::new();
        for part in text.split('/').filter(|part| !matches!(*part, "" | ".")) {
            if part == ".." {
                return Err(format!("{text:?} holds \"..\", which could leave the root"));
            }
            let part = CString::new(part).map_err(|_| format!("{text:?} holds a NUL character"))?;
            parts.push(part);
        }
        match parts.first() {
            None => Err(format!("{text:?} is the root itself")),
            Some(first) if first.to_bytes() == STATE_DIR.as_bytes() => {
                Err(format!("{text:?} holds the journal of migrations"))
            }
            Some(_) => Ok(Self(parts)),
        }
    }
}

impl fmt::Display for PathBelow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<_> = self.0.iter().map(|part| part.to_string_lossy()).collect();
        f.write_str(&parts.join("/"))
    }
}

/// How much there was.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Amount {
    /// Everything that is no directory.
    pub(super) files: u64,
    /// Their bytes.
    pub(super) bytes: u64,
}

/// How much is at a path; `None` where there is nothing. Changes nothing.
pub(super) fn measure(
    root: &Path,
    path: &PathBelow,
    cancel: &Cancel,
) -> Result<Option<Amount>, StepError> {
    walk(root, path, Doing::Measure, cancel)
}

/// Removes what is at a path; `None` where there was nothing.
///
/// A symbolic link is removed itself, never what it points to; one on the way to the
/// path is an error. Every name is resolved in the open directory that holds it, so that
/// nobody who swaps a directory for a link meanwhile leads us out.
pub(super) fn remove(
    root: &Path,
    path: &PathBelow,
    cancel: &Cancel,
) -> Result<Option<Amount>, StepError> {
    walk(root, path, Doing::Remove, cancel)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Doing {
    Measure,
    Remove,
}

fn walk(
    root: &Path,
    path: &PathBelow,
    doing: Doing,
    cancel: &Cancel,
) -> Result<Option<Amount>, StepError> {
    let flags = OFlag::O_DIRECTORY | OFlag::O_RDONLY | OFlag::O_CLOEXEC;
    let mut dir =
        open(root, flags, Mode::empty()).map_err(|e| failure("open", &root.display(), e))?;
    let (name, parents) = path.0.split_last().expect("a parsed path has a part");
    for parent in parents {
        match openat(
            &dir,
            parent.as_c_str(),
            flags | OFlag::O_NOFOLLOW,
            Mode::empty(),
        ) {
            Ok(next) => dir = next,
            Err(Errno::ENOENT) => return Ok(None),
            Err(Errno::ELOOP | Errno::ENOTDIR) => {
                let link = parent.to_string_lossy();
                return Err(StepError::failed(format!(
                    "{path} is not removed: {link} on the way to it is a symbolic link or no directory"
                ))
                .hint("name the real path below the root"));
            }
            Err(error) => return Err(failure("open", path, error)),
        }
    }
    let mut visit = Visit {
        doing,
        cancel,
        amount: Amount::default(),
        path,
    };
    let found = visit.entry(dir.as_fd(), name)?;
    Ok(found.then_some(visit.amount))
}

struct Visit<'a> {
    doing: Doing,
    cancel: &'a Cancel,
    amount: Amount,
    path: &'a PathBelow,
}

impl Visit<'_> {
    /// Handles one entry of an open directory; `false` if there is none of that name.
    fn entry(&mut self, dir: BorrowedFd<'_>, name: &CStr) -> Result<bool, StepError> {
        if self.cancel.cause().is_some() {
            return Err(StepError::interrupted(format!(
                "removing {} was asked to stop",
                self.path
            )));
        }
        let own = [STATE_DIR, SETTINGS_FILE];
        if own.iter().any(|own| own.as_bytes() == name.to_bytes()) {
            return Err(StepError::failed(format!(
                "{} is not removed: it holds {}, which is the tool's own",
                self.path,
                name.to_string_lossy()
            ))
            .hint("a plan removes no deployment of the tool; name what shall go more closely"));
        }
        let stat = match fstatat(dir, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::ENOENT) => return Ok(false),
            Err(error) => return Err(self.failure("look at", name, error)),
        };
        let flag = if is_dir(&stat) {
            self.children(dir, name)?;
            UnlinkatFlags::RemoveDir
        } else {
            self.amount.files += 1;
            self.amount.bytes += u64::try_from(stat.st_size).unwrap_or(0);
            UnlinkatFlags::NoRemoveDir
        };
        if self.doing == Doing::Remove {
            match unlinkat(dir, name, flag) {
                Ok(()) | Err(Errno::ENOENT) => {}
                Err(error) => return Err(self.failure("remove", name, error)),
            }
        }
        Ok(true)
    }

    fn children(&mut self, dir: BorrowedFd<'_>, name: &CStr) -> Result<(), StepError> {
        let flags = OFlag::O_DIRECTORY | OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let opened: OwnedFd = openat(dir, name, flags, Mode::empty())
            .map_err(|error| self.failure("open", name, error))?;
        let listed = opened
            .try_clone()
            .map_err(|error| self.failure("open", name, error))?;
        let mut list = Dir::from_fd(listed).map_err(|error| self.failure("read", name, error))?;
        let mut names = Vec::new();
        for entry in list.iter() {
            let entry = entry.map_err(|error| self.failure("read", name, error))?;
            if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
                names.push(entry.file_name().to_owned());
            }
        }
        drop(list);
        for child in names {
            self.entry(opened.as_fd(), &child)?;
        }
        Ok(())
    }

    fn failure(&self, doing: &str, name: &CStr, error: impl Into<io::Error>) -> StepError {
        failure(
            doing,
            &format!("{} (at {})", self.path, name.to_string_lossy()),
            error,
        )
    }
}

fn is_dir(stat: &FileStat) -> bool {
    SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == SFlag::S_IFDIR
}

fn failure(doing: &str, what: &impl fmt::Display, error: impl Into<io::Error>) -> StepError {
    StepError::caused(format!("can't {doing} {what}"), &error.into())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn at(text: &str) -> PathBelow {
        PathBelow::parse(text).unwrap()
    }

    #[test]
    fn only_paths_below_the_root_parse() {
        for (text, expected) in [
            ("a/b", Ok("a/b")),
            ("./a//b/", Ok("a/b")),
            ("...", Ok("...")),
            ("/etc", Err("not relative")),
            ("../x", Err("..")),
            ("a/../../x", Err("..")),
            ("", Err("root itself")),
            ("./.", Err("root itself")),
            ("a\0b", Err("NUL")),
            (".etlrs-migrate/journal.db", Err("journal")),
            ("./.etlrs-migrate", Err("journal")),
        ] {
            match (PathBelow::parse(text), expected) {
                (Ok(path), Ok(shown)) => assert_eq!(path.to_string(), shown),
                (Err(message), Err(part)) => assert!(message.contains(part), "{message}"),
                (other, _) => panic!("{text:?}: {other:?}"),
            }
        }
    }

    #[test]
    fn removes_trees_and_counts_them_and_again_finds_nothing() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("old/deep/er")).unwrap();
        fs::write(root.path().join("old/a"), "12345").unwrap();
        fs::write(root.path().join("old/deep/er/b"), "123").unwrap();
        fs::write(root.path().join("keep"), "x").unwrap();
        let all = Some(Amount { files: 2, bytes: 8 });
        assert_eq!(measure(root.path(), &at("old"), &Cancel::new()), Ok(all));
        assert!(root.path().join("old/deep/er/b").exists());
        assert_eq!(remove(root.path(), &at("old"), &Cancel::new()), Ok(all));
        assert!(!root.path().join("old").exists());
        assert!(root.path().join("keep").exists());
        assert_eq!(remove(root.path(), &at("old"), &Cancel::new()), Ok(None));
        assert_eq!(
            remove(root.path(), &at("no/such/place"), &Cancel::new()),
            Ok(None)
        );
    }

    #[test]
    fn never_follows_a_link_out() {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("precious"), "x").unwrap();
        let root = tempfile::tempdir().unwrap();
        symlink(outside.path(), root.path().join("link")).unwrap();
        fs::create_dir(root.path().join("dir")).unwrap();
        symlink(outside.path(), root.path().join("dir/link")).unwrap();

        let error = remove(root.path(), &at("link/precious"), &Cancel::new()).unwrap_err();
        assert!(error.message.contains("symbolic link"), "{error}");
        remove(root.path(), &at("dir"), &Cancel::new()).unwrap();
        remove(root.path(), &at("link"), &Cancel::new()).unwrap();
        assert!(!root.path().join("dir").exists());
        assert!(root.path().join("link").symlink_metadata().is_err());
        assert_eq!(
            fs::read_to_string(outside.path().join("precious")).unwrap(),
            "x"
        );
    }

    #[test]
    fn a_cancelled_removal_removes_nothing_more() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("a"), "x").unwrap();
        let cancel = Cancel::new();
        cancel.cancel(migrate_core::CancelCause::Signal(15));
        let error = remove(root.path(), &at("a"), &cancel).unwrap_err();
        assert_eq!(error.kind, migrate_core::StepErrorKind::Interrupted);
        assert!(root.path().join("a").exists());
    }
}
