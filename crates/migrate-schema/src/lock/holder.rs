//! Who holds a lock, for the one who is refused.

use std::fmt;

use chrono::{DateTime, SecondsFormat, Utc};
use migrate_core::RunId;
use serde::{Deserialize, Serialize};

/// Who holds the lock of a deployment. Informs only: what counts is the lock itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Its host.
    pub host: String,
    /// Its process number there.
    pub pid: u32,
    /// Its operating-system user.
    pub user: String,
    /// Since when.
    pub since: DateTime<Utc>,
    /// Its run.
    pub run: String,
    /// Which start of its host it belongs to: a process number of before a restart says nothing.
    #[serde(default)]
    pub boot: String,
    /// When it last said that it is alive.
    #[serde(default)]
    pub heartbeat: Option<DateTime<Utc>>,
}

/// How often a holder says that it is alive.
pub const BEAT: std::time::Duration = std::time::Duration::from_secs(5);

/// Whether the one who took the lock last still has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HolderState {
    /// It holds the lock, and was heard of within a few beats (or stands still, on this host).
    Alive,
    /// It holds the lock and was not heard of for long: stopped, or its disk hangs.
    Silent,
    /// It ended without letting go. Its lock is free; nothing has to be deleted.
    Dead,
}

impl Holder {
    /// This process, from now on.
    pub fn this(run: &RunId) -> Self {
        let host = nix::unistd::gethostname().ok();
        let uid = nix::unistd::Uid::current();
        let user = nix::unistd::User::from_uid(uid).ok().flatten();
        Self {
            host: host.map_or_else(
                || "unknown host".to_owned(),
                |name| name.to_string_lossy().into_owned(),
            ),
            pid: std::process::id(),
            user: user.map_or_else(|| format!("uid {uid}"), |user| user.name),
            since: Utc::now(),
            run: run.to_string(),
            boot: boot_id(),
            heartbeat: Some(Utc::now()),
        }
    }

    /// Whether it was not heard of for several beats.
    pub fn is_silent(&self, now: DateTime<Utc>) -> bool {
        self.heartbeat.is_some_and(|last| {
            (now - last)
                .to_std()
                .is_ok_and(|silence| silence > BEAT.saturating_mul(4))
        })
    }
}

/// The kernel's name for this start of the host; empty where there is none.
fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|id| id.trim().to_owned())
        .unwrap_or_default()
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "run {} of {}@{}, process {}, since {}",
            self.run,
            self.user,
            self.host,
            self.pid,
            self.since.to_rfc3339_opts(SecondsFormat::Secs, true)
        )
    }
}
