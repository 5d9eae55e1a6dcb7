//! The deployment's own key, and whose signatures it takes.
//!
//! Made by the first run or backup: the private key in `.etlrs-migrate/key`, for its owner alone,
//! and the public one in `backups/etlrs_key.pub`, for the day when the state directory is lost.
//! What came before it is written down with it: the keys that lay beside the backups (of a state
//! directory that was lost), and the backups without a signature (of older builds).
//!
//! Crash behaviour: the key gets its name last, so one that is there has everything beside it.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use migrate_config::atomic::{self, FileError, NewFile, Root};
use migrate_core::StepError;
use nix::fcntl::OFlag;

use super::key::{PublicKey, SigningKey};
use super::points;
use crate::backup::directory::{self, BACKUPS};
use crate::inventory::{Inventory, Stored};
use crate::state_dir;

/// The private key in the state directory.
pub const KEY_FILE: &str = "key";

/// The public key, relative to the root.
pub const PUBLIC_FILE: &str = "backups/etlrs_key.pub";

/// Public keys that were trusted before the key was made.
const FORMER_FILE: &str = "former_keys.pub";

/// The backups that had no signature when the key was made.
const UNSIGNED_FILE: &str = "unsigned_backups.json";

/// The key that a deployment signs with.
#[derive(Debug)]
pub struct StateKey {
    key: SigningKey,
}

impl StateKey {
    /// The deployment's key; made if there is none.
    ///
    /// # Errors
    /// It can't be read or made, or others may read it.
    pub fn ensure(root: &Path) -> Result<Self, StepError> {
        let state = state_dir::ensure(root)
            .map_err(|error| StepError::caused("can't make the state directory", &error))?;
        let key = match load(&state)? {
            Some(key) => key,
            None => make(root, &state)?,
        };
        publish(root, &state, key.public());
        Ok(Self { key })
    }

    /// The private key.
    pub fn signing(&self) -> &SigningKey {
        &self.key
    }
}

/// Whose signatures a deployment takes.
#[derive(Debug, Clone, Default)]
pub struct Trust {
    keys: Vec<PublicKey>,
    held: Held,
    unsigned: BTreeMap<String, String>,
}

/// Where the trusted keys come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Held {
    /// The deployment's own key is there.
    Here,
    /// Only the public key beside the backups is: the state directory was lost.
    BesideBackups,
    /// There is none: an older build, or everything was lost.
    #[default]
    Nowhere,
}

impl Trust {
    /// Reads whom the deployment trusts. Writes nothing.
    ///
    /// # Errors
    /// The key is there and can't be read, or others may read it.
    pub fn load(root: &Path) -> Result<Self, StepError> {
        let state = state_dir::path(root);
        let Some(key) = load(&state)? else {
            let keys = published(root);
            let held = if keys.is_empty() {
                Held::Nowhere
            } else {
                Held::BesideBackups
            };
            return Ok(Self {
                keys,
                held,
                unsigned: BTreeMap::new(),
            });
        };
        let mut keys = vec![key.public()];
        keys.extend(PublicKey::all_in_pem(&text_of(&state.join(FORMER_FILE))));
        let unsigned = text_of(&state.join(UNSIGNED_FILE));
        Ok(Self {
            keys,
            held: Held::Here,
            unsigned: serde_json::from_str(&unsigned).unwrap_or_default(),
        })
    }

    /// The trusted keys; the deployment's own is the first.
    pub fn keys(&self) -> &[PublicKey] {
        &self.keys
    }

    /// Where they come from.
    pub fn held(&self) -> Held {
        self.held
    }

    /// Whether a backup without a signature is one that was there before the key, unchanged.
    pub(super) fn knows_unsigned(&self, id: &str, digest: &str) -> bool {
        self.unsigned.get(id).is_some_and(|known| known == digest)
    }
}

/// The text of a file of ours; empty if there is none. What can't be read is trusted by nobody.
fn text_of(path: &Path) -> String {
    migrate_config::atomic::read_regular_text(path).unwrap_or_default()
}

fn published(root: &Path) -> Vec<PublicKey> {
    PublicKey::all_in_pem(&text_of(&root.join(PUBLIC_FILE)))
}

/// The key in a state directory; nothing if there is none.
fn load(state: &Path) -> Result<Option<SigningKey>, StepError> {
    let path = state.join(KEY_FILE);
    let failed = |error: &dyn std::fmt::Display| {
        StepError::failed(format!("the key {} can't be used", path.display()))
            .cause(error.to_string())
    };
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits())
        .open(&path);
    let mut file = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(&error)),
    };
    let about = file.metadata().map_err(|error| failed(&error))?;
    if !about.is_file() {
        return Err(failed(&"it is not a regular file"));
    }
    if about.permissions().mode() & 0o077 != 0 {
        return Err(failed(&"others may read or write it").hint(format!(
            "if nobody else had it: chmod 600 {}",
            path.display()
        )));
    }
    let mut text = String::new();
    file.read_to_string(&mut text)
        .map_err(|error| failed(&error))?;
    SigningKey::from_pem(&text)
        .map(Some)
        .map_err(|error| failed(&error))
}

fn make(root: &Path, state: &Path) -> Result<SigningKey, StepError> {
    let failed = |error: &dyn std::fmt::Display| {
        StepError::failed("the deployment's key can't be made").cause(error.to_string())
    };
    let (key, text) = SigningKey::generate().map_err(|error| failed(&error))?;
    let former: String = published(root).into_iter().map(PublicKey::to_pem).collect();
    write(state, FORMER_FILE, former.as_bytes())?;
    let unsigned =
        serde_json::to_vec_pretty(&unsigned_points(root)?).map_err(|error| failed(&error))?;
    write(state, UNSIGNED_FILE, &unsigned)?;
    let mut file = tempfile::NamedTempFile::new_in(state).map_err(|error| failed(&error))?;
    file.write_all(text.as_bytes())
        .and_then(|()| file.as_file().sync_all())
        .map_err(|error| failed(&error))?;
    match file.persist_noclobber(state.join(KEY_FILE)) {
        Ok(_) => {}
        // Another process made one just now: that is the key.
        Err(error) if error.error.kind() == std::io::ErrorKind::AlreadyExists => {
            return load(state)?.ok_or_else(|| failed(&"it was removed just now"));
        }
        Err(error) => return Err(failed(&error.error)),
    }
    File::open(state)
        .and_then(|dir| dir.sync_all())
        .map_err(|error| failed(&error))?;
    Ok(key)
}

/// The backups that nobody can tell the writer of, and that were taken until now.
fn unsigned_points(root: &Path) -> Result<BTreeMap<String, String>, StepError> {
    let root = Root::open(root).map_err(FileError::into_step_error)?;
    let trust = Trust::load(root.path())?;
    let all = Inventory::read(&root)?.backups.into_iter();
    Ok(all
        .filter_map(|stored| match stored {
            Stored::Point(point) if points::is_unsigned(&trust, &point) => {
                Some((point.id.clone(), points::digest(&point)))
            }
            _ => None,
        })
        .collect())
}

fn write(state: &Path, name: &str, bytes: &[u8]) -> Result<(), StepError> {
    let dir = Root::open(state).map_err(FileError::into_step_error)?;
    atomic::write_atomic_as(&dir, Path::new(name), bytes, NewFile::Private)
        .map_err(FileError::into_step_error)
}

/// Puts the public keys beside the backups. Best effort: without them a lost state directory
/// costs a question, and a place that can't be written fails the backup itself, with its reason.
fn publish(root: &Path, state: &Path, own: PublicKey) {
    let mut text = own.to_pem();
    text.push_str(&text_of(&state.join(FORMER_FILE)));
    if text_of(&root.join(PUBLIC_FILE)) == text {
        return;
    }
    let written = directory::ensure(root)
        .ok()
        .and_then(|dir: PathBuf| Root::open(&dir).ok())
        .map(|dir| {
            let name = Path::new(
                PUBLIC_FILE
                    .trim_start_matches(BACKUPS)
                    .trim_start_matches('/'),
            );
            atomic::write_atomic_as(&dir, name, text.as_bytes(), NewFile::Private)
        });
    let _ = written;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_made_once_for_its_owner_and_its_public_half_lies_beside_the_backups() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(Trust::load(root.path()).unwrap().held(), Held::Nowhere);
        let key = StateKey::ensure(root.path()).unwrap().signing().public();
        let again = StateKey::ensure(root.path()).unwrap().signing().public();
        assert_eq!(key, again);
        let file = root.path().join(".etlrs-migrate/key");
        let mode = std::fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let beside = std::fs::read_to_string(root.path().join(PUBLIC_FILE)).unwrap();
        assert_eq!(beside, key.to_pem());
        let trust = Trust::load(root.path()).unwrap();
        assert_eq!((trust.held(), trust.keys()), (Held::Here, &[key][..]));
    }

    #[test]
    fn a_lost_key_is_still_trusted_and_one_that_is_put_beside_the_backups_later_is_not() {
        let root = tempfile::tempdir().unwrap();
        let first = StateKey::ensure(root.path()).unwrap().signing().public();
        std::fs::remove_dir_all(root.path().join(".etlrs-migrate")).unwrap();
        let trust = Trust::load(root.path()).unwrap();
        assert_eq!(
            (trust.held(), trust.keys()),
            (Held::BesideBackups, &[first][..])
        );
        let second = StateKey::ensure(root.path()).unwrap().signing().public();
        let (foreign, _) = SigningKey::generate().unwrap();
        std::fs::write(root.path().join(PUBLIC_FILE), foreign.public().to_pem()).unwrap();
        let trust = Trust::load(root.path()).unwrap();
        assert_eq!(trust.keys(), [second, first]);
        StateKey::ensure(root.path()).unwrap();
        let beside = std::fs::read_to_string(root.path().join(PUBLIC_FILE)).unwrap();
        assert_eq!(PublicKey::all_in_pem(&beside), [second, first]);
    }

    #[test]
    fn a_key_that_others_may_read_is_refused() {
        let root = tempfile::tempdir().unwrap();
        StateKey::ensure(root.path()).unwrap();
        let file = root.path().join(".etlrs-migrate/key");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
        let error = StateKey::ensure(root.path()).unwrap_err();
        assert!(error.to_string().contains("chmod 600"), "{error}");
        std::fs::remove_file(&file).unwrap();
        std::os::unix::fs::symlink("/dev/zero", &file).unwrap();
        assert!(Trust::load(root.path()).is_err());
    }
}
