//! The lock file of a deployment: `.etlrs-migrate/lock`.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use chrono::Utc;
use migrate_core::{MigrationError, StepError};
use migrate_schema::lock::{BEAT, Holder, HolderState, POLL};
use nix::fcntl::OFlag;
use tokio::time::Instant;

use crate::state_dir;

/// Neither follows a link that was put in the file's place nor waits for a FIFO.
const NO_LINK: i32 = OFlag::O_NOFOLLOW.bits() | OFlag::O_NONBLOCK.bits();

const LOCK_FILE: &str = "lock";

/// No holder's text is longer.
const LARGEST: u64 = 64 << 10;

/// The held lock. Dropping it empties the file and lets go.
#[derive(Debug)]
pub(crate) struct StateLock {
    file: File,
    heart: tokio::task::JoinHandle<()>,
}

impl StateLock {
    pub(crate) async fn acquire(
        dir: &Path,
        me: &Holder,
        until: Instant,
    ) -> Result<Self, MigrationError> {
        let path = dir.join(LOCK_FILE);
        loop {
            match try_take(&path, me) {
                Ok(Some(lock)) => return Ok(lock),
                Ok(None) if Instant::now() < until => tokio::time::sleep(POLL).await,
                Ok(None) => {
                    let who = read_holder(&path).map_or_else(
                        || format!("a process that holds {}", path.display()),
                        |holder| holder.to_string(),
                    );
                    return Err(MigrationError::Locked(who));
                }
                Err(error) => {
                    let what = format!("can't lock {}", path.display());
                    return Err(MigrationError::Unchanged(StepError::caused(what, &error)));
                }
            }
        }
    }
}

impl Drop for StateLock {
    fn drop(&mut self) {
        self.heart.abort();
        // Content informs only; a failure to empty it harms nobody.
        let _ = self.file.set_len(0);
        let _ = self.file.unlock();
    }
}

fn try_take(path: &Path, me: &Holder) -> io::Result<Option<StateLock>> {
    state_dir::refuse_special(path)?;
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(NO_LINK)
        .open(path)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    // Somebody may have deleted the file after it was opened: then the lock is on nothing.
    let named = fs::metadata(path);
    let opened = file.metadata()?;
    if !named.is_ok_and(|named| (named.dev(), named.ino()) == (opened.dev(), opened.ino())) {
        return Ok(None);
    }
    write_holder(&mut file, me)?;
    let heart = tokio::spawn(beat(file.try_clone()?, me.clone()));
    Ok(Some(StateLock { file, heart }))
}

/// One write of the whole text: a reader sees the old one or the new one, or reads again.
fn write_holder(file: &mut File, me: &Holder) -> io::Result<()> {
    let mut text = serde_json::to_string_pretty(me).map_err(io::Error::other)?;
    text.push('\n');
    file.rewind()?;
    file.write_all(text.as_bytes())?;
    file.set_len(text.len() as u64)
}

/// Says again and again that the holder is alive. Best effort: it informs only.
async fn beat(mut file: File, mut me: Holder) {
    loop {
        tokio::time::sleep(BEAT).await;
        me.heartbeat = Some(Utc::now());
        let _ = write_holder(&mut file, &me);
    }
}

/// Who took the lock in `dir` last and has not let go, and whether it still holds it.
pub(super) fn holder(dir: &Path) -> Option<(Holder, HolderState)> {
    let path = dir.join(LOCK_FILE);
    let file = open_for_reading(&path).ok()?;
    let free = file.try_lock_shared().is_ok();
    let holder = read_holder(&path)?;
    let state = match (free, holder.is_silent(Utc::now())) {
        (true, _) => HolderState::Dead,
        (false, true) => HolderState::Silent,
        (false, false) => HolderState::Alive,
    };
    Some((holder, state))
}

fn open_for_reading(path: &Path) -> io::Result<File> {
    state_dir::refuse_special(path)?;
    OpenOptions::new()
        .read(true)
        .custom_flags(NO_LINK)
        .open(path)
}

fn read_holder(path: &Path) -> Option<Holder> {
    let mut text = String::new();
    let file = open_for_reading(path).ok()?;
    file.take(LARGEST).read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}
