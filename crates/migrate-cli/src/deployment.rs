//! A deployment as it lies on disk: its root, its settings, its database's URL.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use migrate_config::atomic::read_regular_text;
use migrate_core::Finding;
use migrate_rollback::Retention;
use migrate_schema::db::DatabaseUrl;
use migrate_service::ServiceConfig;
use serde::Deserialize;
use serde_json::Value;

use crate::args::Global;
use crate::environment::EnvSettings;
use crate::failure::Failure;
use crate::files_only;
use crate::trusted;

/// The config file's place below the root.
pub(crate) const CONFIG_FILE: &str = "config/config.toml";
/// Our own optional file at the root.
pub(crate) const SETTINGS_FILE: &str = "etlrs-migrate.toml";

/// What `etlrs-migrate.toml` may say.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Settings {
    /// Whether the commands of plans may run without asking.
    pub(crate) allow_commands: bool,
    /// How backups are made, and how long they are kept.
    pub(crate) backup: BackupSettings,
    /// The services that are stopped round a run.
    pub(crate) services: BTreeMap<String, ServiceConfig>,
    /// Environments, by name.
    pub(crate) env: BTreeMap<String, EnvSettings>,
}

/// `[backup]`.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct BackupSettings {
    /// So many of the newest are kept.
    keep: Option<u32>,
    /// Those younger than so many days are kept.
    keep_days: Option<u32>,
    /// PostgreSQL: so many workers copy the database, into a directory.
    pub(crate) jobs: Option<NonZeroU32>,
}

impl BackupSettings {
    /// Which backups are kept.
    pub(crate) fn retention(self) -> Retention {
        Retention {
            keep: self.keep,
            keep_days: self.keep_days,
        }
    }
}

/// Where the database's URL was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UrlSource {
    /// `--database-url`.
    Flag,
    /// The environment that `--env` chose.
    Chosen,
    /// `$DATABASE_URL`.
    Environment,
    /// The config file.
    ConfigFile,
    /// There is none: a deployment of files alone keeps one for its runs.
    FilesOnly,
}

impl std::fmt::Display for UrlSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Flag => "--database-url",
            Self::Chosen => "--env",
            Self::Environment => "$DATABASE_URL",
            Self::ConfigFile => CONFIG_FILE,
            Self::FilesOnly => "the deployment has files alone",
        })
    }
}

/// A deployment that exists.
#[derive(Debug, Clone)]
pub(crate) struct Deployment {
    /// The root as the user wrote it.
    pub(crate) shown_root: PathBuf,
    /// The root, absolute.
    pub(crate) root: PathBuf,
    pub(crate) settings: Settings,
}

impl Deployment {
    /// Opens the deployment at `-C`.
    pub(crate) fn open(global: &Global) -> Result<Self, Failure> {
        let shown = global.root.clone();
        let root = shown.canonicalize().map_err(|error| {
            Failure::unchanged(format!("the deployment {}: {error}", shown.display()))
                .hint("give its directory with -C DIR")
        })?;
        if !root.is_dir() {
            return Err(Failure::unchanged(format!(
                "the deployment {} is not a directory",
                shown.display()
            )));
        }
        let settings = match &global.environment {
            Some(chosen) => chosen.settings(),
            None => read_settings(&root)?,
        };
        Ok(Self {
            shown_root: shown,
            root,
            settings,
        })
    }

    /// The database's URL: the flag's, else that of `--env`, else `$DATABASE_URL`, else the config file's own.
    pub(crate) fn url(&self, global: &Global) -> Result<(DatabaseUrl, UrlSource), Failure> {
        if let Some(text) = &global.database_url {
            return Ok((self.parsed(text, UrlSource::Flag)?, UrlSource::Flag));
        }
        if let Some(chosen) = &global.environment
            && let Some(text) = chosen.database_url()?
        {
            return Ok((self.parsed(&text, UrlSource::Chosen)?, UrlSource::Chosen));
        }
        if !global.config_url_only
            && let Ok(text) = std::env::var("DATABASE_URL")
            && !text.is_empty()
        {
            let source = UrlSource::Environment;
            return Ok((self.parsed(&text, source)?, source));
        }
        let own = files_only::database(&self.root);
        if !self.root.join(CONFIG_FILE).exists() && own.exists() {
            let source = UrlSource::FilesOnly;
            let text = format!("sqlite:{}", own.display());
            return Ok((self.parsed(&text, source)?, source));
        }
        let source = UrlSource::ConfigFile;
        Ok((self.url_of_config()?, source))
    }

    /// The URL that the config file names, in either shape.
    pub(crate) fn url_of_config(&self) -> Result<DatabaseUrl, Failure> {
        let path = self.root.join(CONFIG_FILE);
        let text = read_regular_text(&path).map_err(|error| {
            Failure::unchanged(format!("{CONFIG_FILE} can't be read: {error}")).hint(
                "name the database with --database-url or $DATABASE_URL, or give the deployment's directory with -C DIR",
            )
        })?;
        self.url_in(CONFIG_FILE, &text)
    }

    /// The URL that a config file's text names.
    pub(crate) fn url_in(&self, file: &str, text: &str) -> Result<DatabaseUrl, Failure> {
        let located = migrate_config::parse_toml(file, text)
            .map_err(|found| Failure::findings("the config file can't be read", found))?;
        let pointer = ["/database_url", "/database/url"]
            .into_iter()
            .find(|pointer| located.value.pointer(pointer).is_some())
            .ok_or_else(|| {
                Failure::unchanged(format!(
                    "{file} names no database: neither `database_url` nor `[database] url` is there"
                ))
                .hint("add it, or name the database with --database-url")
            })?;
        let Some(url) = located.value.pointer(pointer).and_then(|url| url.as_str()) else {
            let finding =
                Finding::error("config.wrong-type", "the database's URL must be a string")
                    .at(pointer);
            return Err(Failure::findings(
                "the config file can't be used",
                located.locate(vec![finding]),
            ));
        };
        self.parsed(url, UrlSource::ConfigFile)
    }

    /// The services' settings as they are written, without what may be secret in them.
    pub(crate) fn services_as_written(&self) -> Result<BTreeMap<String, Value>, Failure> {
        let text = trusted::settings_text(&self.root)?.unwrap_or_default();
        let located = migrate_config::parse_toml(SETTINGS_FILE, &text)
            .map_err(|found| Failure::findings(format!("{SETTINGS_FILE} can't be read"), found))?;
        let services = located.value.get("services").and_then(Value::as_object);
        Ok(services
            .into_iter()
            .flatten()
            .map(|(name, value)| {
                let shown = migrate_config::secret::redact_value([name.as_str()], value);
                (name.clone(), shown)
            })
            .collect())
    }

    fn parsed(&self, text: &str, source: UrlSource) -> Result<DatabaseUrl, Failure> {
        let url: DatabaseUrl = text
            .parse()
            .map_err(|error| Failure::unchanged(format!("{source}: {error}")))?;
        Ok(url.resolve(&self.root))
    }

    /// What a person should know when the config file names another database than the one used.
    pub(crate) fn other_database(&self, used: &DatabaseUrl, source: UrlSource) -> Option<String> {
        if matches!(source, UrlSource::ConfigFile | UrlSource::FilesOnly) {
            return None;
        }
        let own = self.url_of_config().ok()?;
        (own.secret() != used.secret()).then(|| {
            format!("{source} names {used}, but {CONFIG_FILE} names {own}; {source} is used")
        })
    }
}

/// Reads `etlrs-migrate.toml`. Its text is not shown in errors: it may hold a password.
pub(crate) fn read_settings(root: &Path) -> Result<Settings, Failure> {
    let Some(text) = trusted::settings_text(root)? else {
        return Ok(Settings::default());
    };
    toml_edit::de::from_str(&text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start.min(text.len()));
        let line = text[..at].matches('\n').count() + 1;
        let why = migrate_config::secret::redact_url(error.message());
        Failure::unchanged(format!("{SETTINGS_FILE}:{line}: {why}"))
    })
}
