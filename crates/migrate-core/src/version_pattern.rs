//! The versions that a plan starts from: one, or a range of releases.

use std::fmt;
use std::str::FromStr;

use crate::version::{Version, VersionError};

/// `1.5.0` is that version alone; `1.5.x` every release of 1.5, `1.x` every release of 1.
/// Pre-releases are covered only by their own name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum VersionPattern {
    /// One version.
    Exact(Version),
    /// `MAJOR.MINOR.x`.
    Minor(u64, u64),
    /// `MAJOR.x`.
    Major(u64),
}

impl VersionPattern {
    /// Whether a plan that starts from this starts from `version`.
    pub fn covers(&self, version: &Version) -> bool {
        let release = !version.is_prerelease();
        match self {
            Self::Exact(exact) => exact == version,
            Self::Minor(major, minor) => {
                release && version.major() == *major && version.minor() == *minor
            }
            Self::Major(major) => release && version.major() == *major,
        }
    }

    /// Whether it stands for more than one version.
    pub fn is_range(&self) -> bool {
        !matches!(self, Self::Exact(_))
    }

    /// The lowest version that it covers.
    pub fn lowest(&self) -> Version {
        match self {
            Self::Exact(version) => version.clone(),
            Self::Minor(major, minor) => Version::release(*major, *minor, 0),
            Self::Major(major) => Version::release(*major, 0, 0),
        }
    }
}

impl fmt::Display for VersionPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(version) => version.fmt(f),
            Self::Minor(major, minor) => write!(f, "{major}.{minor}.x"),
            Self::Major(major) => write!(f, "{major}.x"),
        }
    }
}

impl FromStr for VersionPattern {
    type Err = VersionError;

    fn from_str(input: &str) -> Result<Self, VersionError> {
        let Some(fixed) = input.strip_suffix(".x") else {
            return input.parse().map(Self::Exact);
        };
        let numbers: Option<Vec<u64>> = fixed
            .split('.')
            .map(|part| part.parse().ok().filter(|n: &u64| n.to_string() == part))
            .collect();
        match numbers.as_deref() {
            Some([major]) => Ok(Self::Major(*major)),
            Some([major, minor]) => Ok(Self::Minor(*major, *minor)),
            _ => Err(VersionError {
                input: input.to_owned(),
                reason: "a range of versions is written 1.5.x or 1.x".to_owned(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn covers_releases_of_its_line() {
        for (pattern, version, covered) in [
            ("1.5.0", "1.5.0", true),
            ("1.5.0", "1.5.1", false),
            ("1.5.x", "1.5.0", true),
            ("1.5.x", "1.5.19", true),
            ("1.5.x", "1.6.0", false),
            ("1.x", "1.0.0", true),
            ("1.x", "1.99.3", true),
            ("1.x", "10.0.0", false),
            ("1.5.x", "1.5.1-rc.1", false),
            ("2.0.0-rc.1", "2.0.0-rc.1", true),
        ] {
            let parsed: VersionPattern = pattern.parse().unwrap();
            assert_eq!(parsed.to_string(), pattern);
            let covers = parsed.covers(&version.parse().unwrap());
            assert_eq!(covers, covered, "{pattern} {version}");
        }
    }

    #[test]
    fn refuses_other_shapes() {
        for text in ["x", ".x", "1.2.3.x", "1.*", "v1.x", "01.x", "1..x", "1.x.0"] {
            assert!(text.parse::<VersionPattern>().is_err(), "{text}");
        }
    }
}
