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
        }
    }
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
