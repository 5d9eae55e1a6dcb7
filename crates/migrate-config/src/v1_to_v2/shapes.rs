//! The configuration at 1.x and at 2.0, as types.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use migrate_core::Finding;
use serde::{Deserialize, Serialize};

use crate::atomic::FileError;
use crate::secret::redact_url;

/// The configuration of ETLRS 1.x.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigV1 {
    /// Where the rows live. May hold a password, which `Debug` does not show.
    pub database_url: String,
    /// Rows per batch.
    pub batch_size: usize,
    /// Tasks at once.
    pub parallel_tasks: usize,
    /// A [`LogLevel`] by name.
    pub log_level: String,
}

impl fmt::Debug for ConfigV1 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConfigV1")
            .field("database_url", &redact_url(&self.database_url))
            .field("batch_size", &self.batch_size)
            .field("parallel_tasks", &self.parallel_tasks)
            .field("log_level", &self.log_level)
            .finish()
    }
}

/// The configuration of ETLRS 2.0. Keys that it does not know are ignored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigV2 {
    /// `[database]`
    pub database: DatabaseConfig,
    /// `[pipeline]`
    pub pipeline: PipelineConfig,
    /// `[observability]`
    pub observability: ObservabilityConfig,
}

/// Where the rows live, and how many connections go there.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabaseConfig {
    /// The URL. May hold a password, which `Debug` does not show.
    pub url: String,
    /// Connections at once.
    pub pool_size: u32,
    /// How long to wait for one; written `{ secs = 30, nanos = 0 }`.
    pub timeout: Duration,
}

impl fmt::Debug for DatabaseConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DatabaseConfig")
            .field("url", &redact_url(&self.url))
            .field("pool_size", &self.pool_size)
            .field("timeout", &self.timeout)
            .finish()
    }
}

/// How pipelines run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PipelineConfig {
    /// Rows per batch.
    pub batch_size: usize,
    /// Tasks at once.
    pub max_parallel_tasks: usize,
    /// How often a failed batch is tried again.
    pub retry_attempts: u32,
    /// How long a pipeline may take; written `{ secs = 300, nanos = 0 }`.
    pub timeout: Duration,
}

/// What is logged and measured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObservabilityConfig {
    /// From which level on.
    pub log_level: LogLevel,
    /// Whether metrics are served.
    pub enable_metrics: bool,
    /// Whether spans are traced.
    pub enable_tracing: bool,
    /// Where metrics are served.
    pub metrics_port: u16,
}

/// A level of logging; read whatever its case, written in lower case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "&'static str")]
#[expect(missing_docs, reason = "the names say what they are")]
pub enum LogLevel {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
}

impl LogLevel {
    /// All, from the most talkative to the quietest.
    pub const ALL: [Self; 5] = [
        Self::Trace,
        Self::Debug,
        Self::Info,
        Self::Warn,
        Self::Error,
    ];

    /// Its name in lower case.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

impl From<LogLevel> for &'static str {
    fn from(level: LogLevel) -> Self {
        level.as_str()
    }
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for LogLevel {
    type Err = ConfigError;

    fn from_str(name: &str) -> Result<Self, ConfigError> {
        Self::ALL
            .into_iter()
            .find(|level| level.as_str().eq_ignore_ascii_case(name))
            .ok_or_else(|| ConfigError::LogLevel(name.to_owned()))
    }
}

impl TryFrom<String> for LogLevel {
    type Error = ConfigError;

    fn try_from(name: String) -> Result<Self, ConfigError> {
        name.parse()
    }
}

/// Why a configuration could not be migrated. Nothing was written.
#[derive(Debug)]
#[non_exhaustive]
pub enum ConfigError {
    /// There is no log level of that name.
    LogLevel(String),
    /// Everything that is wrong with the text, with places.
    Findings(Vec<Finding>),
    /// A file could not be read or written.
    File(FileError),
    /// The output exists and says something else.
    OutputExists(PathBuf),
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LogLevel(name) => {
                let names = LogLevel::ALL.map(LogLevel::as_str).join(", ");
                write!(f, "there is no log level {name:?}; use one of {names}")
            }
            Self::Findings(findings) => {
                let shown: Vec<_> = findings.iter().map(ToString::to_string).collect();
                f.write_str(&shown.join("\n"))
            }
            Self::File(error) => error.fmt(f),
            Self::OutputExists(path) => write!(
                f,
                "{} exists and is different; move it away or name another output",
                path.display()
            ),
        }
    }
}

impl std::error::Error for ConfigError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::File(error) => std::error::Error::source(error),
            _ => None,
        }
    }
}

impl From<FileError> for ConfigError {
    fn from(error: FileError) -> Self {
        Self::File(error)
    }
}

/// Maps the configuration of one version to that of the next.
#[derive(Debug, Clone, Copy, Default)]
pub struct ConfigMigrator;

impl ConfigMigrator {
    /// The same settings at 1.x; what that does not have is left out.
    pub fn migrate_v2_to_v1(v2: ConfigV2) -> ConfigV1 {
        ConfigV1 {
            database_url: v2.database.url,
            batch_size: v2.pipeline.batch_size,
            parallel_tasks: v2.pipeline.max_parallel_tasks,
            log_level: v2.observability.log_level.as_str().to_owned(),
        }
    }

    /// The same settings at 2.0; what is new there gets its default.
    ///
    /// # Errors
    /// The log level does not exist.
    pub fn migrate_v1_to_v2(v1: ConfigV1) -> Result<ConfigV2, ConfigError> {
        Ok(ConfigV2 {
            database: DatabaseConfig {
                url: v1.database_url,
                pool_size: 10,
                timeout: Duration::from_secs(30),
            },
            pipeline: PipelineConfig {
                batch_size: v1.batch_size,
                max_parallel_tasks: v1.parallel_tasks,
                retry_attempts: 3,
                timeout: Duration::from_mins(5),
            },
            observability: ObservabilityConfig {
                log_level: v1.log_level.parse()?,
                enable_metrics: true,
                enable_tracing: true,
                metrics_port: 9090,
            },
        })
    }
}
