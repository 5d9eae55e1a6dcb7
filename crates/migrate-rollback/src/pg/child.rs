//! A child process that ends with us: in a group of its own, killed when dropped.

use std::io;
use std::process::{ExitStatus, Stdio};

use migrate_service::command::Watchman;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};

/// How much of what a program says to its error output is kept: its end.
const KEPT: usize = 16 * 1024;

/// A running program. Dropping it kills its whole process group.
///
/// If this process is killed, a watchman kills the group.
pub(crate) struct Group {
    child: Child,
    leader: Option<Pid>,
    watchman: Option<Watchman>,
}

impl Group {
    pub(crate) fn start(mut command: Command, stdin: Stdio, stdout: Stdio) -> io::Result<Self> {
        let watchman = Watchman::ready().ok();
        let child = command
            .process_group(0)
            .kill_on_drop(true)
            .stdin(stdin)
            .stdout(stdout)
            .stderr(Stdio::piped())
            .spawn()?;
        let group = child
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .map(Pid::from_raw);
        let watchman = watchman.and_then(|one| one.over(child.id()?).ok());
        Ok(Self {
            child,
            leader: group,
            watchman,
        })
    }

    pub(crate) fn stdin(&mut self) -> ChildStdin {
        self.child.stdin.take().expect("stdin was asked for")
    }

    pub(crate) fn stdout(&mut self) -> ChildStdout {
        self.child.stdout.take().expect("stdout was asked for")
    }

    pub(crate) fn stderr(&mut self) -> ChildStderr {
        self.child.stderr.take().expect("stderr is always a pipe")
    }

    pub(crate) async fn wait(&mut self) -> io::Result<ExitStatus> {
        let status = self.child.wait().await?;
        // The number may be another process's from here on.
        self.leader = None;
        self.watchman = None;
        Ok(status)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.leader {
            // Fails only if it is gone already.
            let _ = killpg(group, Signal::SIGKILL);
        }
    }
}

/// Reads all, keeps the end of it.
pub(crate) async fn tail(mut from: impl AsyncRead + Unpin) -> String {
    let mut kept = Vec::new();
    let mut piece = [0; 4096];
    while let Ok(read @ 1..) = from.read(&mut piece).await {
        kept.extend_from_slice(&piece[..read]);
        if kept.len() > 2 * KEPT {
            kept.drain(..kept.len() - KEPT);
        }
    }
    String::from_utf8_lossy(&kept).trim().to_owned()
}
