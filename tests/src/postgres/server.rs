//! One throwaway server: started in a temporary directory, ended by a supervisor that
//! outlives the test process by a moment.

use std::net::TcpListener;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use super::binaries::Binaries;
use super::client::quiet;
use super::{ADMIN, ADMIN_PASSWORD, PASSWORD, ROLE};

/// Waits for the end of its input, which comes when the test process ends in whatever way,
/// and then stops the server by its own data directory. Signals for the foreground group
/// (Ctrl-C) must not end it before it has cleaned up.
const SUPERVISOR: &str = r#"
trap '' INT TERM HUP QUIT
cat > /dev/null
for attempt in 1 2 3 4 5 6 7 8 9 10; do
    "$1/pg_ctl" stop --silent --mode immediate --timeout 20 --pgdata "$2/data"
    rm -rf "$2" && exit 0
    sleep 0.3
done
"#;

/// A unix socket's path has room for 107 bytes on Linux.
const LONGEST_TEMP_DIR: usize = 60;

/// A running PostgreSQL server of this process's own.
///
/// Over TCP it asks for passwords; the unix socket in its directory, which only its user
/// and root can enter, does not.
#[derive(Debug)]
pub struct Server {
    binaries: Binaries,
    user: Option<User>,
    directory: PathBuf,
    port: u16,
    supervisor: Child,
}

#[derive(Debug, Clone, Copy)]
struct User {
    uid: u32,
    gid: u32,
}

impl Server {
    /// Starts one. Most tests want [`shared`](super::shared); this is for those that crash it.
    ///
    /// # Panics
    /// If PostgreSQL is not installed (the message says how to get it) or does not start.
    #[must_use = "the server is stopped with this value"]
    pub fn start() -> Self {
        let binaries = Binaries::find();
        let directory = new_directory();
        let user = unprivileged(&directory);
        let supervisor = supervise(&binaries, &directory, user);
        let mut server = Self {
            binaries,
            user,
            directory,
            port: 0,
            supervisor,
        };
        server.init();
        server.first_start();
        server.admin_psql(
            "postgres",
            &format!(
                "ALTER ROLE {ADMIN} PASSWORD '{ADMIN_PASSWORD}';\n\
                 CREATE ROLE {ROLE} LOGIN CREATEDB NOSUPERUSER PASSWORD '{PASSWORD}'"
            ),
        );
        server
    }

    /// The loopback port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The directory with its socket, data (`data/`) and log (`log`).
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The programs it was started from.
    pub fn binaries(&self) -> &Binaries {
        &self.binaries
    }

    /// A URL over TCP. Role and password are put in as they are: encode them if they need it.
    pub fn url(&self, role: &str, password: &str, database: &str) -> String {
        format!(
            "postgres://{role}:{password}@127.0.0.1:{}/{database}",
            self.port
        )
    }

    /// The process number of its postmaster, `None` while it is down.
    pub fn pid(&self) -> Option<u32> {
        let file = std::fs::read_to_string(self.data().join("postmaster.pid")).ok()?;
        file.lines().next()?.trim().parse().ok()
    }

    /// The sessions of a database, as `pid application state` lines.
    pub fn sessions(&self, database: &str) -> Vec<String> {
        let sql = format!(
            "SELECT pid || ' ' || application_name || ' ' || coalesce(state, '') \
             FROM pg_stat_activity WHERE datname = '{database}' AND pid <> pg_backend_pid()"
        );
        let found = self.admin_psql("postgres", &sql);
        found.lines().map(str::to_owned).collect()
    }

    /// Ends the server without a checkpoint, as a crash of its machine's power would end its
    /// processes: every session is gone, and the next start recovers from its log.
    ///
    /// # Panics
    /// If it does not stop.
    pub fn crash(&self) {
        self.control(&["stop", "--mode", "immediate"])
            .expect("the server stops at once");
    }

    /// Starts it again after [`crash`](Self::crash), on the same port.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start_again(&self) {
        self.launch().expect("the server starts again");
    }

    fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    fn init(&self) {
        let mut command = self.own("initdb");
        command
            .arg("--pgdata")
            .arg(self.data())
            .args(["--username", ADMIN, "--encoding", "UTF8", "--locale", "C"])
            .args(["--auth-local", "trust", "--auth-host", "scram-sha-256"])
            .args(["--no-sync", "--no-instructions"]);
        let output = command.output().expect("initdb can be started");
        assert!(
            output.status.success(),
            "initdb failed: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    /// Another process can take the port between our look and the server's start.
    fn first_start(&mut self) {
        let mut said = String::new();
        for _ in 0..5 {
            self.port = free_port();
            match self.launch() {
                Ok(()) => return,
                Err(message) => said = message,
            }
        }
        panic!("the throwaway PostgreSQL did not start: {said}");
    }

    fn launch(&self) -> Result<(), String> {
        let log = self.directory.join("log");
        // No synchronous_commit=off: a commit must outlive `crash`, which fsync=off allows
        // because only processes die.
        let options = format!(
            "-c fsync=off -c full_page_writes=off -c max_connections=200 -c shared_buffers=64MB \
             -c listen_addresses=127.0.0.1 -c port={} -c unix_socket_directories='{}'",
            self.port,
            self.directory.display()
        );
        let log = log.to_str().expect("a path that we chose is UTF-8");
        self.control(&["start", "--log", log, "--options", &options])
            .map_err(|error| {
                let log = std::fs::read_to_string(log).unwrap_or_default();
                format!("{error}\n{log}")
            })
    }

    fn control(&self, args: &[&str]) -> Result<(), String> {
        // Not captured through pipes: the server would inherit them and keep them open.
        let status = self
            .own("pg_ctl")
            .args(["--silent", "--wait", "--timeout", "60", "--pgdata"])
            .arg(self.data())
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .map_err(|error| error.to_string())?;
        if status.success() {
            Ok(())
        } else {
            Err(format!("pg_ctl {} ended with {status}", args[0]))
        }
    }

    fn own(&self, program: &str) -> Command {
        let mut command = quiet(&self.binaries, program);
        command.current_dir(&self.directory);
        become_user(&mut command, self.user);
        command
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.supervisor.stdin.take());
        let _ = self.supervisor.wait();
    }
}

fn supervise(binaries: &Binaries, directory: &Path, user: Option<User>) -> Child {
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", SUPERVISOR, "etlrs-test-postgres"])
        .arg(binaries.dir())
        .arg(directory)
        .current_dir("/")
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    become_user(&mut command, user);
    command.spawn().expect("/bin/sh can be started")
}

fn become_user(command: &mut Command, user: Option<User>) {
    if let Some(user) = user {
        command.uid(user.uid).gid(user.gid);
    }
}

fn new_directory() -> PathBuf {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let mut base = std::env::temp_dir();
    if base.as_os_str().len() > LONGEST_TEMP_DIR {
        base = PathBuf::from("/tmp");
    }
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.subsec_nanos());
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let directory = base.join(format!("etlrs-pg-{}-{number}-{now:x}", std::process::id()));
    std::fs::DirBuilder::new()
        .mode(0o700)
        .create(&directory)
        .expect("a directory of our own can be made in the temporary directory");
    directory
}

/// PostgreSQL refuses to run as root: then another user, who is given the directory.
fn unprivileged(directory: &Path) -> Option<User> {
    let owner = std::fs::metadata(directory)
        .expect("the directory was just made")
        .uid();
    if owner != 0 {
        return None;
    }
    let passwd = std::fs::read_to_string("/etc/passwd").expect("/etc/passwd can be read");
    let user = ["postgres", "nobody"]
        .iter()
        .find_map(|name| find_user(&passwd, name))
        .expect("run as root, tests need a user postgres or nobody for the server");
    std::os::unix::fs::chown(directory, Some(user.uid), Some(user.gid))
        .expect("root can give a directory away");
    Some(user)
}

fn find_user(passwd: &str, name: &str) -> Option<User> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == name).then_some(())?;
        Some(User {
            uid: fields.nth(1)?.parse().ok()?,
            gid: fields.next()?.parse().ok()?,
        })
    })
}

fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0))
        .and_then(|listener| listener.local_addr())
        .expect("the loopback interface has a free port")
        .port()
}
