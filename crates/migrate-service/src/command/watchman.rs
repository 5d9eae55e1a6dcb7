//! Ends a process group when we are gone, however we went.

use std::io::{self, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdin, Command, Stdio};

/// `read` fails at the end of its input, which comes when our end of the pipe is closed: with
/// us, also by SIGKILL. A line in it says that the group is over.
const SCRIPT: &str = "read -r _ || kill -9 -\"$1\"";

/// Watches over a command: a shell in a group of its own that waits for our end and then kills
/// the command's group, grandchildren included. Dropped, it goes and kills nobody.
#[derive(Debug)]
pub struct Watchman {
    shell: Child,
    pipe: Option<ChildStdin>,
}

impl Watchman {
    /// Watches over the group whose leader has this process id.
    ///
    /// # Errors
    /// There is no `sh`, or no process can be started.
    pub fn over(leader: u32) -> io::Result<Self> {
        let mut shell = Command::new("sh")
            .args(["-c", SCRIPT, "watchman", &leader.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()?;
        let pipe = shell.stdin.take();
        Ok(Self { shell, pipe })
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
