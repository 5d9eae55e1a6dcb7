//! Format-preserving edits and typed migrations of configuration files.
//!
//! Reading order: [`located`] (a document whose every value knows its place),
//! [`key_path`] and [`edit`] (text in, text out), [`v1_to_v2`] (the typed migration of
//! ETLRS), [`cargo`] (raising a dependency), [`atomic`] (the only place that writes a file), [`kind`] (the step that plans use).
//!
//! Invariants:
//! - An edit replaces the spans that it names and nothing else: every other byte stays,
//!   comments, spacing, line ends and byte order mark included. Each edit is compared with
//!   the same change made on plain values before its text is handed out.
//! - A file is old or new, never half: it is replaced by rename, below its root.
//! - No password leaves this crate in a finding, a diff, a note or an error.

pub mod atomic;
pub mod cargo;
mod diff;
pub mod edit;
pub mod key_path;
pub mod kind;
pub mod located;
pub mod migration;
pub mod secret;
mod source;
mod syntax;
pub mod v1_to_v2;
pub mod written;

pub use atomic::Root;
pub use cargo::{DependencyEdits, dependency_edits};
pub use diff::redacted_diff;
pub use edit::{Edit, edit_text};
pub use key_path::{KeyPath, KeyPathError, PathStep};
pub use kind::{ConfigUpdateKind, DEFAULT_FILE};
pub use located::{Located, parse, parse_json, parse_toml};
pub use migration::{ConfigMigration, ConfigMigrations, EtlrsV1ToV2};
pub use syntax::Format;
pub use v1_to_v2::{
    ConfigError, ConfigMigrator, ConfigV1, ConfigV2, DatabaseConfig, LogLevel, Migrated,
    ObservabilityConfig, PipelineConfig, Reversed, Shape, detect, migrate_config_file,
    migrate_text_v1_to_v2, reverse_text_v2_to_v1,
};
