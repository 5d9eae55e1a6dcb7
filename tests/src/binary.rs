//! Runs the real `etlrs-migrate`, with nothing of the developer's environment in it.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

/// Names a binary that is built already.
pub const OVERRIDE: &str = "ETLRS_TEST_BIN";

/// Names the one with places to die at that is built already.
pub const OVERRIDE_FAILPOINTS: &str = "ETLRS_TEST_FAILPOINTS_BIN";

/// No run of a test takes this long unless it hangs.
const LIMIT: Duration = Duration::from_mins(2);

/// The binary: `$ETLRS_TEST_BIN`, else built once by this process's cargo.
///
/// # Panics
/// If it does not build.
pub fn path() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| named(OVERRIDE).unwrap_or_else(|| build("etlrs-migrate", &[])))
}

/// The same with the places of `migrate-failpoint` switched on: `$ETLRS_TEST_FAILPOINTS_BIN`,
/// else built once by this process's cargo.
///
/// # Panics
/// If it does not build.
pub fn failpoints() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        named(OVERRIDE_FAILPOINTS).unwrap_or_else(|| {
            let name = "etlrs-migrate-failpoints";
            build(name, &["--features", "failpoints", "--bin", name])
        })
    })
}

fn named(variable: &str) -> Option<PathBuf> {
    let named = PathBuf::from(std::env::var_os(variable)?);
    assert!(named.is_file(), "{variable}={} is no file", named.display());
    Some(named)
}

fn build(name: &str, arguments: &[&str]) -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["build", "-p", "migrate-cli", "--message-format=json"])
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stderr(Stdio::inherit())
        .output()
        .expect("cargo can be started");
    assert!(output.status.success(), "migrate-cli does not build");
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["target"]["name"] == name)
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .expect("cargo names the binary it built")
}

/// The tool about to be run.
#[derive(Debug)]
pub struct Tool {
    command: Command,
    shown: String,
}

impl Tool {
    /// With these arguments, an environment of only PATH, HOME and a UTF-8 locale, the root
    /// directory as working directory, and no terminal.
    pub fn new<A: AsRef<str>>(arguments: &[A]) -> Self {
        Self::of(path(), arguments)
    }

    /// The same of another build of the tool.
    pub fn of<A: AsRef<str>>(binary: &Path, arguments: &[A]) -> Self {
        let mut command = Command::new(binary);
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", "/nonexistent")
            .env("LC_ALL", "C.UTF-8")
            .args(arguments.iter().map(AsRef::as_ref))
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let shown: Vec<&str> = arguments.iter().map(AsRef::as_ref).collect();
        Self {
            command,
            shown: shown.join(" "),
        }
    }

    /// Sets a variable of its environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Starts it, to be watched while it works.
    ///
    /// # Panics
    /// If it can't be started.
    pub fn start(mut self) -> Running {
        let started = Instant::now();
        let mut child = self.command.spawn().expect("the tool can be started");
        let stderr = child.stderr.take().expect("stderr is piped");
        let stdout = child.stdout.take().expect("stdout is piped");
        let (sender, lines) = channel();
        let stdout = std::thread::spawn(move || {
            let mut all = String::new();
            let mut reader = BufReader::new(stdout);
            let mut line = Vec::new();
            while reader.read_until(b'\n', &mut line).unwrap_or(0) > 0 {
                let text = String::from_utf8_lossy(&line).into_owned();
                all.push_str(&text);
                let _ = sender.send(text);
                line.clear();
            }
            all
        });
        let stderr = std::thread::spawn(move || read_all(stderr));
        Running {
            child,
            shown: self.shown,
            started,
            lines,
            stdout,
            stderr,
        }
    }

    /// Runs it to its end.
    ///
    /// # Panics
    /// If it can't be started or hangs.
    #[track_caller]
    pub fn run(self) -> Run {
        self.start().finish()
    }
}

fn read_all(mut from: impl Read) -> String {
    let mut bytes = Vec::new();
    let _ = from.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The tool at work.
#[derive(Debug)]
pub struct Running {
    child: Child,
    shown: String,
    started: Instant,
    lines: Receiver<String>,
    stdout: JoinHandle<String>,
    stderr: JoinHandle<String>,
}

impl Running {
    /// Its process number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has not ended yet.
    ///
    /// # Panics
    /// If it hangs.
    #[track_caller]
    pub fn is_running(&mut self) -> bool {
        if self.started.elapsed() > LIMIT {
            self.hangs();
        }
        let ended = self.child.try_wait().expect("a child can be waited for");
        ended.is_none()
    }

    /// Waits for the next line on its stdout; `None` when it ended.
    ///
    /// # Panics
    /// If it hangs.
    #[track_caller]
    pub fn next_line(&mut self) -> Option<String> {
        use std::sync::mpsc::RecvTimeoutError::{Disconnected, Timeout};
        match self.lines.recv_timeout(LIMIT) {
            Ok(line) => Some(line),
            Err(Disconnected) => None,
            Err(Timeout) => self.hangs(),
        }
    }

    /// Waits for the next JSON line that fits; `None` when it ended without one.
    ///
    /// # Panics
    /// If it hangs.
    #[track_caller]
    pub fn wait_for(&mut self, fits: impl Fn(&Value) -> bool) -> Option<Value> {
        while let Some(line) = self.next_line() {
            if let Ok(event) = serde_json::from_str(&line)
                && fits(&event)
            {
                return Some(event);
            }
        }
        None
    }

    /// Ends it as SIGKILL does, at whatever it is doing.
    ///
    /// # Panics
    /// If it can't be signalled.
    #[track_caller]
    pub fn kill(mut self) -> Run {
        self.child.kill().expect("the tool can be killed");
        self.finish()
    }

    /// Sends it a signal by name, such as `TERM`.
    ///
    /// # Panics
    /// If it can't be signalled.
    #[track_caller]
    pub fn signal(&self, name: &str) {
        let status = Command::new("sh")
            .args(["-c", &format!("kill -{name} {}", self.pid())])
            .status()
            .expect("sh can be started");
        assert!(status.success(), "kill -{name} of {}", self.shown);
    }

    /// Waits until it has stopped itself, as the action `stop` of a failpoint orders; false
    /// when it ended without.
    ///
    /// # Panics
    /// If it hangs.
    #[track_caller]
    pub fn is_stopped(&mut self) -> bool {
        let stat = format!("/proc/{}/stat", self.pid());
        while self.is_running() {
            let state = std::fs::read_to_string(&stat).unwrap_or_default();
            // After the name, which is in parentheses and can hold anything.
            if state
                .rsplit(") ")
                .next()
                .is_some_and(|rest| rest.starts_with('T'))
            {
                return true;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        false
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// If it hangs.
    #[track_caller]
    pub fn finish(mut self) -> Run {
        let deadline = self.started + LIMIT;
        let status = loop {
            match self.child.try_wait().expect("a child can be waited for") {
                Some(status) => break status,
                None if Instant::now() > deadline => self.hangs(),
                None => std::thread::sleep(Duration::from_millis(2)),
            }
        };
        Run {
            shown: self.shown,
            status,
            stdout: self.stdout.join().expect("the reader does not panic"),
            stderr: self.stderr.join().expect("the reader does not panic"),
        }
    }

    #[track_caller]
    fn hangs(&mut self) -> ! {
        let _ = self.child.kill();
        panic!("etlrs-migrate {} hangs", self.shown);
    }
}

/// What a run came to.
#[derive(Debug)]
pub struct Run {
    shown: String,
    status: ExitStatus,
    /// What it wrote for programs.
    pub stdout: String,
    /// What it wrote for people.
    pub stderr: String,
}

impl Run {
    /// Its exit code; `None` if a signal ended it.
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// Both outputs, for searching.
    pub fn output(&self) -> String {
        format!("{}\n{}", self.stdout, self.stderr)
    }

    /// Demands an exit code.
    ///
    /// # Panics
    /// With everything it wrote, if it is another.
    #[track_caller]
    pub fn expect(&self, code: i32) -> &Self {
        self.expect_one_of(&[code])
    }

    /// Demands one of some exit codes.
    ///
    /// # Panics
    /// With everything it wrote, if it is another.
    #[track_caller]
    pub fn expect_one_of(&self, codes: &[i32]) -> &Self {
        assert!(
            self.code().is_some_and(|code| codes.contains(&code)),
            "expected exit {codes:?}, {self}"
        );
        self
    }

    /// Demands that a word is nowhere in the outputs.
    ///
    /// # Panics
    /// With everything it wrote, if it is there.
    #[track_caller]
    pub fn must_not_say(&self, word: &str) -> &Self {
        assert!(!self.output().contains(word), "{word:?} is said, {self}");
        self
    }

    /// Demands words somewhere in the outputs, each.
    ///
    /// # Panics
    /// With everything it wrote, if one is missing.
    #[track_caller]
    pub fn says(&self, words: &[&str]) -> &Self {
        let output = self.output();
        for word in words {
            assert!(output.contains(word), "nothing said of {word:?}, {self}");
        }
        self
    }

    /// Its stdout as one JSON document.
    ///
    /// # Panics
    /// If it is none.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("stdout is not one JSON document ({error}), {self}"))
    }

    /// Its stdout as JSON lines.
    ///
    /// # Panics
    /// If a line is none.
    #[track_caller]
    pub fn json_lines(&self) -> Vec<Value> {
        let parse = |line| {
            serde_json::from_str(line)
                .unwrap_or_else(|error| panic!("{line:?} is not JSON ({error}), {self}"))
        };
        self.stdout.lines().map(parse).collect()
    }
}

impl std::fmt::Display for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "etlrs-migrate {} ended with {}\n--- stdout\n{}\n--- stderr\n{}",
            self.shown, self.status, self.stdout, self.stderr
        )
    }
}
