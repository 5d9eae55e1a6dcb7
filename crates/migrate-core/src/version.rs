//! Released versions.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A released version of the migrated product, `MAJOR.MINOR.PATCH` by semver's rules.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Version(semver::Version);

impl Version {
    /// `MAJOR.MINOR.PATCH`.
    pub fn release(major: u64, minor: u64, patch: u64) -> Self {
        Self(semver::Version::new(major, minor, patch))
    }

    /// The major number: `1` of `1.5.0`.
    pub fn major(&self) -> u64 {
        self.0.major
    }

    /// The minor number: `5` of `1.5.0`.
    pub fn minor(&self) -> u64 {
        self.0.minor
    }

    /// The patch number: `0` of `1.5.0`.
    pub fn patch(&self) -> u64 {
        self.0.patch
    }

    /// Whether it is a pre-release, like `2.0.0-rc.1`.
    pub fn is_prerelease(&self) -> bool {
        !self.0.pre.is_empty()
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A text that is not a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionError {
    /// What was given.
    pub input: String,
    /// Why it is not a version.
    pub reason: String,
}

impl fmt::Display for VersionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} is not a version ({}); a version has three numbers, like 1.5.0",
            self.input, self.reason
        )
    }
}

impl std::error::Error for VersionError {}

impl FromStr for Version {
    type Err = VersionError;

    fn from_str(input: &str) -> Result<Self, VersionError> {
        semver::Version::parse(input)
            .map(Version)
            .map_err(|reason| VersionError {
                input: input.to_owned(),
                reason: reason.to_string(),
            })
    }
}

impl TryFrom<String> for Version {
    type Error = VersionError;

    fn try_from(input: String) -> Result<Self, VersionError> {
        input.parse()
    }
}

impl From<Version> for String {
    fn from(version: Version) -> String {
        version.to_string()
    }
}
