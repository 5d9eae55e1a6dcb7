//! A deployment with services.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use migrate_core::Finding;
use migrate_service::{CommandRunner, ServiceConfig, Services};
use serde_json::Value;

/// A deployment in a directory of its own; whatever runs in it is ended with it.
pub(crate) struct Deployment(tempfile::TempDir);

impl Deployment {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn services(&self, toml: &str) -> Result<Services, Vec<Finding>> {
        let configured: BTreeMap<String, ServiceConfig> = toml_edit::de::from_str(toml).unwrap();
        Services::new(CommandRunner::new(self.path()), &configured)
    }

    /// `NAME` as a background process with a pid file; `extra` goes into its table.
    pub(crate) fn own(name: &str, extra: &str) -> String {
        format!(
            r#"[{name}]
manager = "command"
start = "sleep 600 & echo $! > {name}.pid"
stop = "kill $(cat {name}.pid)"
status = "test -f {name}.pid && kill -0 $(cat {name}.pid) 2>/dev/null && ! grep -q '^State:.Z' /proc/$(cat {name}.pid)/status"
{extra}
"#
        )
    }

    pub(crate) fn pid(&self, name: &str) -> String {
        let pid = std::fs::read_to_string(self.path().join(format!("{name}.pid"))).unwrap();
        pid.trim().to_owned()
    }

    pub(crate) fn script(&self, name: &str, text: &str) -> String {
        let path = self.path().join(name);
        let draft = path.with_extension("draft");
        std::fs::write(&draft, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(&draft, PermissionsExt::from_mode(0o755)).unwrap();
        // Another test's fork may hold what we wrote open, and then it can't be executed.
        let copied = std::process::Command::new("cp")
            .arg(&draft)
            .arg(&path)
            .status()
            .unwrap();
        assert!(copied.success());
        path.to_str().unwrap().to_owned()
    }

    pub(crate) fn log(&self) -> Vec<String> {
        let log = std::fs::read_to_string(self.path().join("log")).unwrap_or_default();
        log.lines().map(str::to_owned).collect()
    }
}

impl Drop for Deployment {
    fn drop(&mut self) {
        for entry in std::fs::read_dir(self.path())
            .into_iter()
            .flatten()
            .flatten()
        {
            if entry
                .path()
                .extension()
                .is_some_and(|ending| ending == "pid")
                && let Ok(pid) = std::fs::read_to_string(entry.path())
                && let Ok(pid) = pid.trim().parse()
            {
                let pid = nix::unistd::Pid::from_raw(pid);
                let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
            }
        }
    }
}

/// The names in what `running` answers.
pub(crate) fn names(running: &Value) -> Vec<&str> {
    if running.is_null() {
        return Vec::new();
    }
    let services = running["services"].as_array().unwrap();
    services
        .iter()
        .map(|service| service["name"].as_str().unwrap())
        .collect()
}
