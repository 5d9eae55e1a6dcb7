//! The typed migration of an ETLRS configuration from 1.x to 2.0.
//!
//! [`ConfigMigrator`] maps one type to the other; [`migrate_text_v1_to_v2`] does the same to the
//! text a user wrote, comments and unknown keys included; [`migrate_config_file`] to a file;
//! [`reverse_text_v2_to_v1`] takes a text that was edited since back.

mod back;
mod file;
mod shapes;
mod text;
mod v1_check;

pub use back::{Reversed, reverse_text_v2_to_v1};
pub use file::migrate_config_file;
pub use shapes::{
    ConfigError, ConfigMigrator, ConfigV1, ConfigV2, DatabaseConfig, LogLevel, ObservabilityConfig,
    PipelineConfig,
};
pub use text::{Migrated, Shape, detect, migrate_text_v1_to_v2};
pub(crate) use text::{has_v1_key, is_v2};
