//! Process groups: who is in one, and ending it for sure.

use std::fs;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

/// How long SIGKILL may take to be seen.
const KILL_WAIT: Duration = Duration::from_secs(2);
const POLL: Duration = Duration::from_millis(5);

/// A process group that a command was started in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Group(Pid);

/// Processes of a group that could not be ended.
#[derive(Debug)]
pub(crate) struct StillThere(pub(crate) Vec<i32>);

impl Group {
    /// The group whose leader has this process id.
    pub(crate) fn led_by(pid: u32) -> Option<Self> {
        let pid = i32::try_from(pid).ok().filter(|pid| *pid > 1)?;
        Some(Self(Pid::from_raw(pid)))
    }

    /// The groups whose processes carry all these entries in the environment that they
    /// were started with; our own is left out. Empty where there is no `/proc`.
    pub(crate) fn marked(entries: &[(String, String)]) -> Vec<Self> {
        let wanted: Vec<Vec<u8>> = entries
            .iter()
            .map(|(name, value)| format!("{name}={value}").into_bytes())
            .collect();
        let own = nix::unistd::getpgrp();
        let mut groups = Vec::new();
        for process in processes().unwrap_or_default() {
            let group = Self(Pid::from_raw(process.group));
            if process.group <= 1 || group.0 == own || groups.contains(&group) {
                continue;
            }
            let environment =
                fs::read(format!("/proc/{}/environ", process.pid)).unwrap_or_default();
            let has = |entry: &Vec<u8>| environment.split(|byte| *byte == 0).any(|e| e == entry);
            if wanted.iter().all(has) {
                groups.push(group);
            }
        }
        groups
    }

    /// Whether a process of it still runs. One that has ended and waits to be reaped
    /// does not count: whether it is reaped is up to its parent, which may be nobody of ours.
    pub(crate) fn alive(self) -> bool {
        match killpg(self.0, None) {
            Err(Errno::ESRCH) => false,
            _ => self.members().is_none_or(|members| !members.is_empty()),
        }
    }

    fn members(self) -> Option<Vec<i32>> {
        let of_group = |p: &Process| p.group == self.0.as_raw();
        Some(
            processes()?
                .iter()
                .filter(|p| of_group(p))
                .map(|p| p.pid)
                .collect(),
        )
    }

    /// Ends all of it: SIGTERM, then SIGKILL after `grace`; returns when nobody is left.
    pub(crate) async fn end(self, grace: Duration) -> Result<(), StillThere> {
        for (signal, patience) in [(Signal::SIGTERM, grace), (Signal::SIGKILL, KILL_WAIT)] {
            // A failure shows in who is left.
            let _ = killpg(self.0, signal);
            if self.gone_within(patience).await {
                return Ok(());
            }
        }
        Err(StillThere(self.members().unwrap_or_default()))
    }

    /// Waits until nobody is left, at most that long.
    pub(crate) async fn gone_within(self, patience: Duration) -> bool {
        let until = tokio::time::Instant::now() + patience;
        let mut pause = POLL;
        while self.alive() {
            if tokio::time::Instant::now() >= until {
                return false;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(100));
        }
        true
    }

    /// Ends all of it at once, without `await`: for the drop of a future.
    fn kill_now(self) {
        let _ = killpg(self.0, Signal::SIGKILL);
        let until = Instant::now() + KILL_WAIT;
        while self.alive() && Instant::now() < until {
            std::thread::sleep(POLL);
        }
    }
}

/// Ends the group when it is dropped, unless the command was seen to end.
pub(crate) struct EndOnDrop(Option<Group>);

impl EndOnDrop {
    pub(crate) fn new(group: Group) -> Self {
        Self(Some(group))
    }

    pub(crate) fn done(mut self) {
        self.0 = None;
    }
}

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            group.kill_now();
        }
    }
}

struct Process {
    pid: i32,
    group: i32,
}

/// All processes that run, without those that only wait to be reaped; `None` without `/proc`.
fn processes() -> Option<Vec<Process>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").ok()?.flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        let Ok(stat) = fs::read(entry.path().join("stat")) else {
            continue;
        };
        if let Some((state, group)) = state_and_group(&String::from_utf8_lossy(&stat))
            && !matches!(state, 'Z' | 'X')
        {
            found.push(Process { pid, group });
        }
    }
    (!found.is_empty()).then_some(found)
}

/// State and process group of a line of `/proc/PID/stat`, whose second field may hold anything.
fn state_and_group(stat: &str) -> Option<(char, i32)> {
    let mut fields = stat[stat.rfind(')')? + 1..].split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    let _parent = fields.next()?;
    Some((state, fields.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_stat_lines() {
        for (line, expected) in [
            ("12 (sh) S 1 12 12 0", Some(('S', 12))),
            ("13 (a) b) (c) Z 1 77 12 0", Some(('Z', 77))),
            ("14 broken", None),
        ] {
            assert_eq!(state_and_group(line), expected, "{line}");
        }
    }

    #[test]
    fn no_group_can_mean_everybody() {
        assert_eq!(Group::led_by(0), None);
        assert_eq!(Group::led_by(1), None);
        assert_eq!(Group::led_by(u32::MAX), None);
    }
}
