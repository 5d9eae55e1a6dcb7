//! Environments: `[env.NAME]` in `etlrs-migrate.toml`, chosen with `--env NAME`.
//!
//! Chosen once, before any verb: what a verb then sees as the deployment is the environment's.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use migrate_core::{MigrationPlan, RunLog, ValidationCheck};
use migrate_rollback::signing::PublicKey;
use migrate_service::ServiceConfig;
use serde::Deserialize;

use crate::args::Global;
use crate::deployment::{SETTINGS_FILE, Settings, read_settings};
use crate::failure::Failure;
use crate::report::Output;

/// What `[env.NAME]` may say.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct EnvSettings {
    /// The deployment's directory, below the one that holds `etlrs-migrate.toml`.
    pub(crate) root: Option<String>,
    /// The database. Better without a password: see `database_url_var`.
    pub(crate) database_url: Option<Hidden>,
    /// The variable of the process's environment that holds the database's URL.
    pub(crate) database_url_var: Option<String>,
    /// Whether what changes this environment asks for its name to be typed.
    pub(crate) confirm: bool,
    /// `apply` refuses a plan that was not rehearsed within this time, such as `7d`.
    pub(crate) require_rehearsal: Option<String>,
    /// Only plan files run that one of these public keys signed.
    pub(crate) require_signature: Option<Vec<ApprovedKey>>,
    /// Goes before the common `allow_commands`.
    pub(crate) allow_commands: Option<bool>,
    /// Goes before the common services, all of them.
    pub(crate) services: Option<BTreeMap<String, ServiceConfig>>,
    /// Validation checks beside those of the plans.
    pub(crate) checks: Vec<ValidationCheck>,
}

/// A public key of somebody who approves plans: the base64 line of its PEM.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct ApprovedKey(pub(crate) PublicKey);

impl TryFrom<String> for ApprovedKey {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let key = text.parse::<PublicKey>();
        key.map(Self)
            .map_err(|error| format!("require_signature: {text:?}: {error}"))
    }
}

/// A text that is never shown.
#[derive(Clone, Deserialize)]
#[serde(transparent)]
pub(crate) struct Hidden(pub(crate) String);

impl std::fmt::Debug for Hidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// The environment that was chosen, and what the command line said before it was.
#[derive(Debug, Clone)]
pub(crate) struct Chosen {
    pub(crate) name: String,
    /// `-C` as it was written.
    pub(crate) base: PathBuf,
    /// `--migrations` as it was written.
    pub(crate) migrations: Option<PathBuf>,
    pub(crate) own: EnvSettings,
    common: Settings,
}

impl Chosen {
    /// The deployment's settings with the environment's own before them.
    pub(crate) fn settings(&self) -> Settings {
        let mut settings = self.common.clone();
        if let Some(services) = &self.own.services {
            settings.services.clone_from(services);
        }
        settings.allow_commands = self.own.allow_commands.unwrap_or(settings.allow_commands);
        settings
    }

    /// The database's URL, if the environment names one.
    pub(crate) fn database_url(&self) -> Result<Option<String>, Failure> {
        let Some(variable) = &self.own.database_url_var else {
            return Ok(self.own.database_url.as_ref().map(|url| url.0.clone()));
        };
        match std::env::var(variable) {
            Ok(url) if !url.is_empty() => Ok(Some(url)),
            _ => Err(Failure::unchanged(format!(
                "the environment {} has its database in ${variable}, and that is not set",
                self.name
            ))
            .hint(format!(
                "export {variable}=..., or name the database with --database-url"
            ))),
        }
    }
}

/// The global arguments with the environment that they choose.
pub(crate) fn resolve(global: &Global) -> Result<Global, Failure> {
    let Some(name) = &global.env else {
        return Ok(global.clone());
    };
    let base = canonical(&global.root)?;
    let settings = read_settings(&base)?;
    let Some(own) = settings.env.get(name).cloned() else {
        return Err(unknown(name, &settings));
    };
    let below = own.root.as_deref().unwrap_or(".");
    let root = root_of(name, &base, below)?;
    let mut migrations = global.migrations.as_ref().map(|dir| base.join(dir));
    if migrations.is_none() && !root.join("migrations").is_dir() {
        // The same plans for all environments.
        migrations = Some(base.join("migrations")).filter(|dir| dir.is_dir());
    }
    let shown = if below == "." {
        global.root.clone()
    } else {
        global.root.join(below)
    };
    Ok(Global {
        root: shown,
        migrations,
        environment: Some(Chosen {
            name: name.clone(),
            base: global.root.clone(),
            migrations: global.migrations.clone(),
            own,
            common: settings,
        }),
        ..global.clone()
    })
}

fn canonical(root: &Path) -> Result<PathBuf, Failure> {
    root.canonicalize().map_err(|error| {
        Failure::unchanged(format!("the directory {}: {error}", root.display())).hint(format!(
            "give the directory that holds {SETTINGS_FILE} with -C DIR"
        ))
    })
}

fn unknown(name: &str, settings: &Settings) -> Failure {
    let names: Vec<&str> = settings.env.keys().map(String::as_str).collect();
    let failure = Failure::unchanged(format!("no environment is called {name:?}"));
    if names.is_empty() {
        failure.hint(format!(
            "{SETTINGS_FILE} has no [env.NAME]; see docs/environments.md"
        ))
    } else {
        failure.hint(format!("there are: {}", names.join(", ")))
    }
}

fn root_of(name: &str, base: &Path, below: &str) -> Result<PathBuf, Failure> {
    let plain = |part| matches!(part, Component::Normal(_) | Component::CurDir);
    let outside = || {
        Failure::unchanged(format!(
            "[env.{name}] root = {below:?} leads outside the directory that holds {SETTINGS_FILE}"
        ))
        .hint("name a directory below it, without '..'")
    };
    if !Path::new(below).components().all(plain) {
        return Err(outside());
    }
    let root = base.join(below).canonicalize().map_err(|error| {
        Failure::unchanged(format!(
            "the directory {below:?} of the environment {name}: {error}"
        ))
    })?;
    if root.starts_with(base) {
        Ok(root)
    } else {
        Err(outside())
    }
}

/// Asks for the environment's name, where it wants that, before something changes it.
pub(crate) fn confirm(global: &Global, output: &Output, what: &str) -> Result<(), Failure> {
    let Some(chosen) = global.environment.as_ref().filter(|one| one.own.confirm) else {
        return Ok(());
    };
    let name = &chosen.name;
    let typed = match &global.confirm {
        Some(typed) => typed.clone(),
        None => output.typed(&format!("{what} in the environment {name}"), name)?,
    };
    if &typed == name {
        Ok(())
    } else {
        Err(Failure::refused(format!(
            "not confirmed: {typed:?} is not {name:?}; nothing was changed"
        )))
    }
}

/// A journal belongs to the environment that its runs were made in.
pub(crate) fn refuse_other(global: &Global, runs: &[RunLog]) -> Result<(), Failure> {
    let of_run = |log: &RunLog| {
        let mut flags = log.header.flags.iter();
        let name = flags.find_map(|flag| flag.strip_prefix("--env "));
        name.map(str::to_owned)
    };
    let Some(then) = runs.last().and_then(of_run) else {
        return Ok(());
    };
    let skipped = global.skip_check.iter().any(|check| check == "environment");
    if skipped || global.env.as_ref() == Some(&then) {
        return Ok(());
    }
    let now = match &global.env {
        Some(name) => format!("--env {name}"),
        None => "no --env".to_owned(),
    };
    Err(Failure::unchanged(format!(
        "the last run here was made in the environment {then}, and this is {now}"
    ))
    .hint(format!(
        "give --env {then} (with -C the directory that holds {SETTINGS_FILE}); two environments need a `root` each; if it was only renamed: --skip-check environment"
    )))
}

/// Adds the environment's own checks to a plan.
pub(crate) fn add_checks(global: &Global, plan: &mut MigrationPlan) -> Result<(), Failure> {
    let Some(chosen) = &global.environment else {
        return Ok(());
    };
    for check in &chosen.own.checks {
        if plan
            .validation_checks
            .iter()
            .any(|one| one.name == check.name)
        {
            return Err(Failure::unchanged(format!(
                "the environment {} has a check {:?}, and so has the plan {} -> {}",
                chosen.name, check.name, plan.from_version, plan.to_version
            ))
            .hint(format!("give it another name in {SETTINGS_FILE}")));
        }
        plan.validation_checks.push(check.clone());
    }
    Ok(())
}
