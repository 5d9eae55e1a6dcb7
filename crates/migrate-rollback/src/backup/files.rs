//! Copies of the scope's files, and putting them back.

use std::fs;
use std::io;
use std::path::Path;

use migrate_config::atomic::{self, FileError, NewFile, Root};
use migrate_core::StepError;

use super::directory::BACKUPS;
use crate::point::FileCopy;

/// The config file of the guide; its copy is `config_{version}.toml`.
pub(crate) const CONFIG_FILE: &str = "config/config.toml";

/// Copies each file into the backups, or notes that there is none.
pub(crate) fn copy_all(
    root: &Root,
    label: &str,
    paths: &[String],
) -> Result<Vec<FileCopy>, StepError> {
    paths.iter().map(|path| copy(root, label, path)).collect()
}

fn copy(root: &Root, label: &str, path: &str) -> Result<FileCopy, StepError> {
    let bytes = atomic::read_optional(root, Path::new(path)).map_err(FileError::into_step_error)?;
    let Some(bytes) = bytes else {
        return Ok(FileCopy {
            path: path.to_owned(),
            copy: None,
            sha256: None,
        });
    };
    Ok(FileCopy {
        path: path.to_owned(),
        copy: Some(place(root, label, path, &bytes)?),
        sha256: Some(atomic::sha256(&bytes)),
    })
}

/// Writes the copy under the first name that is free or holds the same bytes already.
fn place(root: &Root, label: &str, path: &str, bytes: &[u8]) -> Result<String, StepError> {
    for number in 0_u32.. {
        let name = copy_name(path, label, number);
        let there =
            atomic::read_optional(root, Path::new(&name)).map_err(FileError::into_step_error)?;
        match there {
            Some(old) if old == bytes => return Ok(name),
            Some(_) => {}
            None => {
                atomic::write_atomic_as(root, Path::new(&name), bytes, NewFile::Private)
                    .map_err(FileError::into_step_error)?;
                return Ok(name);
            }
        }
    }
    unreachable!("some number is free")
}

fn copy_name(path: &str, label: &str, number: u32) -> String {
    let flat = if path == CONFIG_FILE {
        "config.toml".to_owned()
    } else {
        path.replace('/', "_")
    };
    let (stem, kind) = flat.rsplit_once('.').unwrap_or((&flat, "bak"));
    let number = if number == 0 {
        String::new()
    } else {
        format!(".{number}")
    };
    format!("{BACKUPS}/{stem}_{label}{number}.{kind}")
}

/// What a copy of a file leads to that is gone or not what it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Copies {
    /// Nothing is restored.
    #[default]
    All,
    /// Its file stays as it is; all else is restored.
    Readable,
}

/// Refuses, before anything is put back, a copy that is gone or not what it was.
pub(crate) fn check_copies(
    root: &Root,
    files: &[FileCopy],
    copies: Copies,
) -> Result<(), StepError> {
    if copies == Copies::Readable {
        return Ok(());
    }
    files.iter().try_for_each(|file| {
        read_copy(root, file).map(drop).map_err(|error| {
            error.hint(format!(
                "nothing was restored; to restore all but {}, which then stays as it is: the same command \
                 with --skip-check file-copies",
                file.path
            ))
        })
    })
}

/// What was put back.
#[derive(Debug, Default)]
pub(crate) struct Back {
    /// How many files were changed.
    pub(crate) changed: usize,
    /// Files that stay as they are.
    pub(crate) without_copy: Vec<String>,
}

/// Puts every file back that differs, each atomically.
pub(crate) fn put_back(root: &Root, files: &[FileCopy], copies: Copies) -> Result<Back, StepError> {
    let mut done = Back::default();
    for file in files {
        let wanted = match read_copy(root, file) {
            Err(_) if copies == Copies::Readable => {
                done.without_copy.push(file.path.clone());
                continue;
            }
            wanted => wanted?,
        };
        let path = Path::new(&file.path);
        let there = atomic::read_optional(root, path).map_err(FileError::into_step_error)?;
        if there == wanted {
            continue;
        }
        done.changed += 1;
        match wanted {
            Some(bytes) => {
                make_parent(root, path)?;
                atomic::write_atomic(root, path, &bytes).map_err(FileError::into_step_error)?;
            }
            None => remove(root, path)?,
        }
    }
    Ok(done)
}

/// The directory may have gone with its file.
fn make_parent(root: &Root, path: &Path) -> Result<(), StepError> {
    let Some(parent) = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
    else {
        return Ok(());
    };
    let there = root.path().join(parent);
    if there.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(&there)
        .map_err(|error| StepError::caused(format!("can't make {}", parent.display()), &error))
}

fn read_copy(root: &Root, file: &FileCopy) -> Result<Option<Vec<u8>>, StepError> {
    let (Some(copy), Some(sha256)) = (&file.copy, &file.sha256) else {
        return Ok(None);
    };
    let bytes = atomic::read(root, Path::new(copy)).map_err(FileError::into_step_error)?;
    if &atomic::sha256(&bytes) != sha256 {
        let what = format!(
            "{copy}, the copy of {}, was changed since it was made",
            file.path
        );
        return Err(StepError::failed(what).hint("nothing was restored from it"));
    }
    Ok(Some(bytes))
}

fn remove(root: &Root, path: &Path) -> Result<(), StepError> {
    let real = root.resolve(path).map_err(FileError::into_step_error)?;
    match fs::remove_file(&real) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StepError::caused(
            format!(
                "can't remove {}, which the rollback point does not have",
                path.display()
            ),
            &error,
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("config")).unwrap();
        let root = Root::open(dir.path()).unwrap();
        (dir, root)
    }

    #[test]
    fn copies_are_named_reused_and_numbered() {
        let (dir, root) = root();
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
        write(CONFIG_FILE, "a = 1\n");
        write("config/other.json", "{}");
        let paths: Vec<String> = [CONFIG_FILE, "config/other.json", "absent.toml"]
            .map(str::to_owned)
            .into();
        let names = || -> Vec<Option<String>> {
            let copies = copy_all(&root, "1.5.0", &paths).unwrap();
            copies.into_iter().map(|file| file.copy).collect()
        };
        let first = names();
        assert_eq!(first[0].as_deref(), Some("backups/config_1.5.0.toml"));
        assert_eq!(first[1].as_deref(), Some("backups/config_other_1.5.0.json"));
        assert_eq!(first[2], None);
        assert_eq!(names(), first);
        write(CONFIG_FILE, "a = 2\n");
        assert_eq!(names()[0].as_deref(), Some("backups/config_1.5.0.1.toml"));
        assert_eq!(names()[0].as_deref(), Some("backups/config_1.5.0.1.toml"));
    }

    #[test]
    fn files_come_back_and_new_ones_go() {
        let (dir, root) = root();
        let config = dir.path().join(CONFIG_FILE);
        let new = dir.path().join("new.toml");
        fs::write(&config, b"\xff\x00a").unwrap();
        let paths = [CONFIG_FILE.to_owned(), "new.toml".to_owned()];
        let copies = copy_all(&root, "1.5.0", &paths).unwrap();
        fs::write(&config, "changed").unwrap();
        fs::write(&new, "made since").unwrap();
        assert_eq!(put_back(&root, &copies, Copies::All).unwrap().changed, 2);
        assert_eq!(fs::read(&config).unwrap(), b"\xff\x00a");
        assert!(!new.exists());
        assert_eq!(put_back(&root, &copies, Copies::All).unwrap().changed, 0);
        fs::write(dir.path().join("backups/config_1.5.0.toml"), "damaged").unwrap();
        let refused = check_copies(&root, &copies, Copies::All).unwrap_err();
        assert!(refused.message.contains("was changed since"), "{refused}");
    }
}
