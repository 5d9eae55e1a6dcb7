//! Ends a process group when we are gone, however we went.

use std::io::{self, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdin, Command, Stdio};

/// `read` fails at the end of its input, which comes when our end of the pipe is closed: with
/// us, also by SIGKILL. The first line names the group's leader, the last says that it is over.
const SCRIPT: &str = "read -r leader || exit 0; [ \"$leader\" = over ] && exit 0; \
                      read -r _ || kill -9 -\"$leader\"";

/// Watches over a command: a shell in a group of its own that waits for our end and then kills
/// the command's group, grandchildren included. Dropped, it goes and kills nobody.
#[derive(Debug)]
pub struct Watchman {
    shell: Child,
    pipe: Option<ChildStdin>,
}

impl Watchman {
    /// One that stands ready. Called before the command is started, so that no moment is left in
    /// which nobody watches but the one between its start and [`over`](Self::over).
    ///
    /// # Errors
    /// There is no `sh`, or no process can be started.
    pub fn ready() -> io::Result<Self> {
        let mut shell = Command::new("sh")
            .args(["-c", SCRIPT, "watchman"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()?;
        let pipe = shell.stdin.take();
        Ok(Self { shell, pipe })
    }

    /// Watches over the group whose leader has this process id.
    ///
    /// # Errors
    /// It is gone.
    pub fn over(mut self, leader: u32) -> io::Result<Self> {
        if let Some(pipe) = &mut self.pipe {
            pipe.write_all(format!("{leader}\n").as_bytes())?;
        }
        Ok(self)
    }
}

impl Drop for Watchman {
    fn drop(&mut self) {
        if let Some(mut pipe) = self.pipe.take() {
            // Fails only if the shell is gone already.
            let _ = pipe.write_all(b"over\n");
        }
        let _ = self.shell.wait();
    }
}
