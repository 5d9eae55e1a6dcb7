//! Runs one command to its end.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use migrate_core::{Cancel, CancelCause, CommandLine};
use tokio::process::{Child, Command};

use super::error::{CommandEnd, CommandError};
use super::group::{EndOnDrop, Group, StillThere};
use super::leftovers::{Leftovers, Log};
use super::line::{problem, show};
use super::output::{Tail, last_lines, read_all};
use super::redact::{Secrets, redact};
use super::watchman::Watchman;

/// How long a command may still print, and its last children end, after it exited.
const SETTLE: Duration = Duration::from_millis(200);

/// Runs commands in one directory.
///
/// A command gets our environment plus the given variables, no input, and a process
/// group of its own, so that a terminal's Ctrl-C reaches us and not it.
#[derive(Debug, Clone)]
pub struct CommandRunner {
    root: PathBuf,
    env: Vec<(String, Variable)>,
    secrets: Secrets,
    grace: Duration,
}

/// A variable's value, kept out of `Debug`: it may be a database URL.
#[derive(Clone)]
struct Variable(String);

impl std::fmt::Debug for Variable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

impl CommandRunner {
    /// A runner for commands in `root`, which is made absolute.
    pub fn new(root: impl AsRef<Path>) -> Self {
        let root = root.as_ref();
        Self {
            root: std::path::absolute(root).unwrap_or_else(|_| root.to_path_buf()),
            env: Vec::new(),
            secrets: Secrets::default(),
            grace: Duration::from_secs(5),
        }
    }

    /// Gives every command this variable.
    #[must_use]
    pub fn with_env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.push((name.into(), Variable(value.into())));
        self
    }

    /// Hides these values in all that is shown of a command.
    #[must_use]
    pub fn with_secrets(mut self, secrets: Secrets) -> Self {
        self.secrets = secrets;
        self
    }

    /// How long a process group may take to end by SIGTERM before it gets SIGKILL; 5 s without this.
    #[must_use]
    pub fn with_grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// The directory that commands run in.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A command line as it may be shown.
    pub fn shown(&self, line: &CommandLine) -> String {
        redact(&show(line), &self.secrets)
    }

    /// Runs a command to its end, whatever its exit status is.
    ///
    /// On timeout and cancel the whole process group gets SIGTERM, SIGKILL after the
    /// grace, and is confirmed gone before this returns. When this future is dropped, or our
    /// process dies, the group gets SIGKILL at once. Processes that put themselves into a session of their
    /// own (`setsid`) are not of the group.
    ///
    /// # Errors
    /// It could not be started, timed out, was cancelled, or could not be ended.
    pub async fn run(&self, call: Call<'_>) -> Result<CommandOutput, CommandError> {
        let command = self.shown(call.line);
        if let Some(cause) = call.cancel.cause() {
            return Err(CommandError::Cancelled {
                command,
                cause,
                lines: Vec::new(),
            });
        }
        // A command that starts a service leaves it behind on purpose.
        let watchman = (call.leftovers == Leftovers::End)
            .then(|| Watchman::ready().ok())
            .flatten();
        let (mut child, log) = self
            .spawn(&call)
            .map_err(|reason| CommandError::NotStarted {
                command: command.clone(),
                reason: redact(&reason, &self.secrets),
            })?;
        let group = child
            .id()
            .and_then(Group::led_by)
            .expect("a child not yet waited for has an id");
        let guard = EndOnDrop::new(group);
        let watchman = watchman.and_then(|one| one.over(child.id()?).ok());
        let (out, all) = (Mutex::new(Tail::default()), Mutex::new(Tail::default()));
        let stop = {
            let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
            let reading = async {
                tokio::join!(
                    read_all(stdout, |chunk| {
                        push(&out, chunk);
                        push(&all, chunk);
                    }),
                    read_all(stderr, |chunk| push(&all, chunk))
                );
            };
            self.watch(&mut child, group, &call, reading).await
        };
        guard.done();
        drop(watchman);
        let mut transcript = take(all).text(&self.secrets);
        if let Some(log) = log {
            transcript = log.read().text(&self.secrets);
        }
        let lines = || last_lines(&transcript);
        match stop {
            Stop::Exited {
                end,
                ended_leftovers,
            } => Ok(CommandOutput {
                end,
                stdout: take(out).text(&self.secrets),
                transcript,
                ended_leftovers,
                command,
            }),
            Stop::TimedOut => Err(CommandError::TimedOut {
                lines: lines(),
                command,
                after: call.timeout,
            }),
            Stop::Cancelled(cause) => Err(CommandError::Cancelled {
                lines: lines(),
                command,
                cause,
            }),
            Stop::NotEnded(StillThere(pids)) => Err(CommandError::NotEnded { command, pids }),
        }
    }

    /// Waits for the first of: exit, deadline, cancel; then sees to it that nothing is left.
    async fn watch(
        &self,
        child: &mut Child,
        group: Group,
        call: &Call<'_>,
        reading: impl Future<Output = ()>,
    ) -> Stop {
        tokio::pin!(reading);
        let mut read = false;
        let deadline = tokio::time::sleep(call.timeout);
        tokio::pin!(deadline);
        let end = loop {
            tokio::select! {
                biased;
                status = child.wait() => break match status {
                    Ok(status) => status.into(),
                    Err(error) => CommandEnd::Signal(error.raw_os_error().unwrap_or(0)),
                },
                cause = call.cancel.cancelled() => {
                    return self.stop(child, group, reading, read, Stop::Cancelled(cause)).await;
                }
                () = &mut deadline => {
                    return self.stop(child, group, reading, read, Stop::TimedOut).await;
                }
                () = &mut reading, if !read => read = true,
            }
        };
        if matches!(call.leftovers, Leftovers::Keep { .. }) {
            return Stop::Exited {
                end,
                ended_leftovers: false,
            };
        }
        let settled = async {
            if !read {
                let _ = tokio::time::timeout(SETTLE, &mut reading).await;
            }
            group.gone_within(SETTLE).await
        };
        if settled.await {
            return Stop::Exited {
                end,
                ended_leftovers: false,
            };
        }
        match group.end(self.grace).await {
            Ok(()) => Stop::Exited {
                end,
                ended_leftovers: true,
            },
            Err(still) => Stop::NotEnded(still),
        }
    }

    /// Ends the group while its output is still read: who ends may have to print first.
    async fn stop(
        &self,
        child: &mut Child,
        group: Group,
        reading: std::pin::Pin<&mut impl Future<Output = ()>>,
        read: bool,
        stop: Stop,
    ) -> Stop {
        let drained = async {
            let reading = async {
                if !read {
                    reading.await;
                }
            };
            let _ = tokio::join!(child.wait(), reading);
        };
        tokio::pin!(drained);
        let ending = group.end(self.grace);
        tokio::pin!(ending);
        let mut all_read = false;
        let ended = loop {
            tokio::select! {
                ended = &mut ending => break ended,
                () = &mut drained, if !all_read => all_read = true,
            }
        };
        if !all_read {
            let _ = tokio::time::timeout(SETTLE, drained).await;
        }
        match ended {
            Ok(()) => stop,
            Err(still) => Stop::NotEnded(still),
        }
    }

    fn spawn(&self, call: &Call<'_>) -> Result<(Child, Option<Log>), String> {
        if let Some((message, hint)) = problem(call.line) {
            return Err(format!("{message}; {hint}"));
        }
        if !self.root.is_dir() {
            return Err(format!("there is no directory {}", self.root.display()));
        }
        let mut command = self.program(call.line);
        command
            .current_dir(&self.root)
            .stdin(Stdio::null())
            .process_group(0);
        command.envs(self.env.iter().map(|(name, value)| (name, &value.0)));
        command.envs(call.env.iter().map(|(name, value)| (name, value)));
        let log = match &call.leftovers {
            Leftovers::End => {
                command.stdout(Stdio::piped()).stderr(Stdio::piped());
                None
            }
            Leftovers::Keep { log } => {
                let opened = Log::open(&self.root.join(log));
                let (log, out, err) = opened.map_err(|e| format!("{}: {e}", log.display()))?;
                command.stdout(out).stderr(err);
                Some(log)
            }
        };
        let child = command.spawn().map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => "no such program".to_owned(),
            io::ErrorKind::PermissionDenied => "no right to run it (is it executable?)".to_owned(),
            _ => error.to_string(),
        })?;
        Ok((child, log))
    }

    fn program(&self, line: &CommandLine) -> Command {
        match line {
            CommandLine::Text(text) => {
                let mut command = Command::new("sh");
                command.arg("-c").arg(text);
                command
            }
            CommandLine::Argv(argv) => {
                // Whose directory a relative program is taken from is otherwise left to the platform.
                let program = argv.first().map_or("", String::as_str);
                let mut command = if program.contains('/') {
                    Command::new(self.root.join(program))
                } else {
                    Command::new(program)
                };
                command.args(argv.iter().skip(1));
                command
            }
        }
    }
}

enum Stop {
    Exited {
        end: CommandEnd,
        ended_leftovers: bool,
    },
    TimedOut,
    Cancelled(CancelCause),
    NotEnded(StillThere),
}

fn push(tail: &Mutex<Tail>, chunk: &[u8]) {
    tail.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(chunk);
}

fn take(tail: Mutex<Tail>) -> Tail {
    tail.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// One command to be run.
#[derive(Debug, Clone)]
pub struct Call<'a> {
    line: &'a CommandLine,
    timeout: Duration,
    cancel: &'a Cancel,
    env: Vec<(String, String)>,
    leftovers: Leftovers,
}

impl<'a> Call<'a> {
    /// A command that may take that long and leaves nothing behind.
    pub fn new(line: &'a CommandLine, timeout: Duration, cancel: &'a Cancel) -> Self {
        Self {
            line,
            timeout,
            cancel,
            env: Vec::new(),
            leftovers: Leftovers::End,
        }
    }

    /// Gives it these variables besides the runner's. Not for secrets.
    #[must_use]
    pub fn env(mut self, variables: &[(String, String)]) -> Self {
        self.env.extend_from_slice(variables);
        self
    }

    /// Says what becomes of the processes that it leaves.
    #[must_use]
    pub fn leftovers(mut self, leftovers: Leftovers) -> Self {
        self.leftovers = leftovers;
        self
    }
}

/// What a command that came to its own end did. All texts are redacted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandOutput {
    /// How it ended.
    pub end: CommandEnd,
    /// The last 64 KiB of its standard output; empty where its processes stay.
    pub stdout: String,
    /// The last 64 KiB of both its outputs, in the order in which they came.
    pub transcript: String,
    /// It left processes of its group running, and they were ended.
    pub ended_leftovers: bool,
    command: String,
}

impl CommandOutput {
    /// Takes any end but exit status 0 for an error.
    ///
    /// # Errors
    /// [`CommandError::Failed`] with the last lines.
    pub fn success(self) -> Result<Self, CommandError> {
        if self.end == CommandEnd::Code(0) {
            return Ok(self);
        }
        Err(CommandError::Failed {
            lines: last_lines(&self.transcript),
            command: self.command,
            end: self.end,
        })
    }

    /// The last lines that it printed, safe for a terminal.
    pub fn last_lines(&self) -> Vec<String> {
        last_lines(&self.transcript)
    }
}
