//! How a run is struck.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::chance::Chance;
use super::place::Place;
use super::world::{Case, Clean, tool};
use crate::binary::{self, Run};
use crate::deployment::{Deployment, Store};

/// One strike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// At a named place: `kill`, `fail`, `enospc`, `rofs`; with `+` at every later passing too.
    At(Place, &'static str),
    /// SIGKILL of the shipped binary so long after it began.
    KillAfter(Duration),
    /// A signal to the shipped binary, once.
    Signal(&'static str, Duration),
    /// The same signal twice.
    SignalTwice(&'static str, Duration),
    /// Every session of the database is ended.
    SessionsEnd(Duration),
    /// The session that holds the lock is ended.
    LockSessionEnds(Duration),
    /// The server stops without a checkpoint and is started again.
    ServerCrash(Duration),
    /// `backups/` is on a full disk while the request runs.
    BackupDiskFull,
    /// `.etlrs-migrate/` is on a disk with so many KiB left.
    JournalDiskFull(u32),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(place, action) => write!(f, "{}:{action}:{}", place.name, place.nth),
            other => write!(f, "{other:?}"),
        }
    }
}

impl Fault {
    /// The line of the table that it counts in.
    pub fn sort(&self) -> &'static str {
        match self {
            Self::At(_, action) => match action.trim_end_matches('+') {
                "kill" => "SIGKILL at a named place",
                "enospc" => "disk full at a named place",
                "rofs" => "read-only at a named place",
                _ => "error at a named place",
            },
            Self::KillAfter(_) => "SIGKILL of the shipped binary at a random moment",
            Self::Signal(..) => "a signal, once",
            Self::SignalTwice(..) => "a signal, twice",
            Self::SessionsEnd(_) => "all sessions ended",
            Self::LockSessionEnds(_) => "the lock's session ended",
            Self::ServerCrash(_) => "server crash and restart",
            Self::BackupDiskFull => "disk of the backups full (tmpfs)",
            Self::JournalDiskFull(_) => "disk of the journal full (tmpfs)",
        }
    }

    /// A random one that fits a case.
    pub fn random(case: Case, clean: &Clean, chance: &mut Chance) -> Self {
        let micros = u64::try_from(clean.took.as_micros()).unwrap_or(1_000_000);
        let moment = Duration::from_micros(chance.number() % micros.max(1));
        let kinds = if case.store == Store::Postgres { 12 } else { 9 };
        match chance.below(kinds) {
            0..=2 => Self::At(chance.one_of(&clean.places).clone(), "kill"),
            3 => Self::At(chance.one_of(&clean.places).clone(), "fail"),
            4 => {
                let action = *chance.one_of(&["enospc", "enospc+", "rofs+", "fail+"]);
                Self::At(chance.one_of(&clean.places).clone(), action)
            }
            7 => {
                let signal = *chance.one_of(&["TERM", "INT", "HUP"]);
                match chance.below(2) {
                    0 => Self::Signal(signal, moment),
                    _ => Self::SignalTwice(signal, moment),
                }
            }
            8 if can_mount() => match chance.below(2) {
                0 => Self::BackupDiskFull,
                _ => Self::JournalDiskFull(u32::try_from(chance.below(120)).unwrap_or(0)),
            },
            5 | 6 | 8 => Self::KillAfter(moment),
            9 => Self::SessionsEnd(moment),
            10 => Self::LockSessionEnds(moment),
            _ => Self::ServerCrash(moment),
        }
    }

    /// Runs a line of arguments on a deployment and strikes it.
    ///
    /// # Panics
    /// If it hangs.
    pub fn strike(&self, deployment: &Deployment, line: &str) -> Run {
        match self {
            Self::At(place, action) => {
                let (action, more) = match action.strip_suffix('+') {
                    Some(action) => (action, "+"),
                    None => (*action, ""),
                };
                let order = format!("{}:{action}:{}{more}", place.name, place.nth);
                tool(deployment, binary::failpoints(), line)
                    .env("ETLRS_FAILPOINT", order)
                    .run()
            }
            Self::KillAfter(moment) => {
                let running = tool(deployment, binary::path(), line).start();
                std::thread::sleep(*moment);
                running.kill()
            }
            Self::Signal(name, moment) => signalled(deployment, line, name, *moment, 1),
            Self::SignalTwice(name, moment) => signalled(deployment, line, name, *moment, 2),
            Self::SessionsEnd(moment) => with_server(deployment, line, *moment, |deployment| {
                end_sessions(deployment, "true");
            }),
            Self::LockSessionEnds(moment) => with_server(deployment, line, *moment, |deployment| {
                end_sessions(deployment, "application_name LIKE 'etlrs-migrate run %'");
            }),
            Self::ServerCrash(moment) => with_server(deployment, line, *moment, |deployment| {
                let server = deployment.postgres().server();
                server.crash();
                server.start_again();
            }),
            Self::BackupDiskFull => {
                let full = SmallDisk::under(deployment.path("backups"), 16, 0);
                let run = tool(deployment, binary::path(), line).run();
                full.give_back();
                run
            }
            Self::JournalDiskFull(left) => {
                let full = SmallDisk::under(deployment.path(".etlrs-migrate"), 64, *left);
                let run = tool(deployment, binary::path(), line).run();
                full.give_back();
                run
            }
        }
    }
}

fn signalled(deployment: &Deployment, line: &str, name: &str, moment: Duration, times: u32) -> Run {
    let mut running = tool(deployment, binary::path(), line).start();
    std::thread::sleep(moment);
    for _ in 0..times {
        if running.is_running() {
            running.signal(name);
            std::thread::sleep(Duration::from_millis(2));
        }
    }
    running.finish()
}

fn with_server(
    deployment: &Deployment,
    line: &str,
    moment: Duration,
    strike: impl Fn(&Deployment),
) -> Run {
    let running = tool(deployment, binary::path(), line).start();
    std::thread::sleep(moment);
    strike(deployment);
    running.finish()
}

fn end_sessions(deployment: &Deployment, which: &str) {
    let database = deployment.postgres();
    let sql = format!(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
         WHERE datname = '{}' AND pid <> pg_backend_pid() AND {which}",
        database.name()
    );
    database.server().admin_psql("postgres", &sql);
}

/// Whether this process may mount a small disk.
pub fn can_mount() -> bool {
    use std::sync::OnceLock;
    static CAN: OnceLock<bool> = OnceLock::new();
    *CAN.get_or_init(|| {
        let Ok(dir) = tempfile::tempdir() else {
            return false;
        };
        let mounted = mount(dir.path(), 64);
        if mounted {
            unmount(dir.path());
        }
        mounted
    })
}

fn mount(at: &Path, kib: u32) -> bool {
    Command::new("mount")
        .args(["-t", "tmpfs", "-o", &format!("size={kib}k"), "none"])
        .arg(at)
        .output()
        .is_ok_and(|output| output.status.success())
}

fn unmount(at: &Path) {
    let done = Command::new("umount").arg("-l").arg(at).output();
    assert!(
        done.is_ok_and(|output| output.status.success()),
        "{} stays mounted",
        at.display()
    );
}

/// A directory on a small disk of its own, with what was in it before.
struct SmallDisk {
    at: PathBuf,
}

impl SmallDisk {
    fn under(at: PathBuf, kib: u32, left_kib: u32) -> Self {
        std::fs::create_dir_all(&at).expect("a directory of ours can be made");
        let aside = aside(&at);
        copy(&at, &aside);
        let room = kib + used_kib(&aside) + left_kib;
        assert!(mount(&at, room), "a small disk can be mounted");
        let disk = Self { at };
        copy(&aside, &disk.at);
        std::fs::remove_dir_all(&aside).expect("a directory of ours can be removed");
        fill(&disk.at, left_kib);
        disk
    }

    /// What is on the disk now goes where it belongs.
    fn give_back(self) {
        let _ = std::fs::remove_file(self.at.join("filler"));
        let aside = aside(&self.at);
        copy(&self.at, &aside);
        let at = self.at.clone();
        drop(self);
        let _ = std::fs::remove_dir_all(&at);
        std::fs::rename(&aside, &at).expect("a directory of ours can be moved");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        unmount(&self.at);
    }
}

/// Where the files are while the disk comes or goes: out of the tool's sight.
fn aside(at: &Path) -> PathBuf {
    let name = at.file_name().unwrap_or_default().to_string_lossy();
    at.with_file_name(format!("{name}.aside"))
}

fn used_kib(at: &Path) -> u32 {
    let files = crate::snapshot::files(at, |_| true);
    let pages: usize = files
        .values()
        .map(|(_, bytes)| bytes.len().div_ceil(4096) + 1)
        .sum();
    u32::try_from(pages * 4).unwrap_or(u32::MAX)
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a directory of ours can be made");
    let mut source = from.as_os_str().to_owned();
    source.push("/.");
    let done = Command::new("cp").arg("-a").arg(source).arg(to).output();
    assert!(
        done.is_ok_and(|output| output.status.success()),
        "{} can be copied",
        from.display()
    );
}

fn fill(at: &Path, left_kib: u32) {
    use std::io::Write as _;
    let mut file = std::fs::File::create(at.join("filler")).expect("a file can be made");
    while file.write_all(&[0; 1024]).is_ok() {}
    let size = file.metadata().map_or(0, |meta| meta.len());
    let _ = file.set_len(size.saturating_sub(u64::from(left_kib) * 1024));
}
