//! Named typed migrations of whole configurations: the open set that plans name.

use std::sync::Arc;

use migrate_core::Finding;

use crate::located::parse;
use crate::v1_to_v2::{
    Migrated, Reversed, has_v1_key, is_v2, migrate_text_v1_to_v2, reverse_text_v2_to_v1,
};

/// A migration of a configuration's text that a plan's `migration` names.
///
/// Both methods are pure: the same text gives the same answer, also after a crash.
pub trait ConfigMigration: Send + Sync {
    /// The name that plans use.
    fn name(&self) -> &str;

    /// Whether the text is what [`migrate`](Self::migrate) makes already. A broken text is not.
    fn is_done(&self, file: &str, text: &str) -> bool;

    /// The migrated text, or everything that is wrong, with places. Findings hold no secret.
    ///
    /// # Errors
    /// All findings.
    fn migrate(&self, file: &str, text: &str) -> Result<Migrated, Vec<Finding>>;

    /// A text that was edited after the migration, taken back with its edits; `old` is the text
    /// before it. A text that went back already is given back as it is. None where the
    /// migration knows no such way, which is the default.
    ///
    /// # Errors
    /// All findings.
    fn reverse(
        &self,
        _file: &str,
        _old: &str,
        _edited: &str,
    ) -> Result<Option<Reversed>, Vec<Finding>> {
        Ok(None)
    }
}

/// `etlrs_v1_to_v2`: the configuration of ETLRS from 1.x to 2.0.
#[derive(Debug, Clone, Copy, Default)]
pub struct EtlrsV1ToV2;

impl ConfigMigration for EtlrsV1ToV2 {
    fn name(&self) -> &'static str {
        "etlrs_v1_to_v2"
    }

    fn is_done(&self, file: &str, text: &str) -> bool {
        parse(file, text).is_ok_and(|located| is_v2(&located.value) && !has_v1_key(&located.value))
    }

    fn migrate(&self, file: &str, text: &str) -> Result<Migrated, Vec<Finding>> {
        migrate_text_v1_to_v2(file, text)
    }

    fn reverse(
        &self,
        file: &str,
        old: &str,
        edited: &str,
    ) -> Result<Option<Reversed>, Vec<Finding>> {
        reverse_text_v2_to_v1(file, old, edited).map(Some)
    }
}

/// The migrations that plans can name.
#[derive(Clone)]
pub struct ConfigMigrations(Vec<Arc<dyn ConfigMigration>>);

impl Default for ConfigMigrations {
    fn default() -> Self {
        Self(vec![Arc::new(EtlrsV1ToV2)])
    }
}

impl ConfigMigrations {
    /// Adds one; one of the same name is replaced.
    #[must_use]
    pub fn with(mut self, migration: impl ConfigMigration + 'static) -> Self {
        self.0.retain(|known| known.name() != migration.name());
        self.0.push(Arc::new(migration));
        self
    }

    /// The migration of that name.
    pub fn get(&self, name: &str) -> Option<Arc<dyn ConfigMigration>> {
        self.0.iter().find(|known| known.name() == name).cloned()
    }

    /// All names.
    pub fn names(&self) -> Vec<&str> {
        self.0.iter().map(|known| known.name()).collect()
    }
}
