//! A version requirement as Cargo reads it, raised in the way it is written.

use migrate_core::Version;
use semver::{Comparator, Op, VersionReq};

/// What becomes of a requirement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Raised {
    /// This text instead.
    To(String),
    /// It starts at the version already.
    There,
    /// It is open and allows the version; nothing is changed.
    Allows,
}

/// Raises `requirement` so that it starts at `to`; its operator stays.
pub(super) fn raise(requirement: &str, to: &Version) -> Result<Raised, String> {
    let parsed = VersionReq::parse(requirement).map_err(|error| error.to_string())?;
    let wanted: semver::Version = to
        .to_string()
        .parse()
        .map_err(|error: semver::Error| error.to_string())?;
    let [one] = parsed.comparators.as_slice() else {
        return open(&parsed, &wanted);
    };
    match one.op {
        Op::Exact | Op::Caret | Op::Tilde => {
            let lowest = lowest(one);
            if lowest == wanted {
                return Ok(Raised::There);
            }
            if lowest > wanted {
                return Err(format!("it asks for a newer version than {to}"));
            }
            let operator = requirement.trim_start().find(|c: char| c.is_ascii_digit());
            let operator = &requirement.trim_start()[..operator.unwrap_or(0)];
            Ok(Raised::To(format!("{operator}{to}")))
        }
        Op::Wildcard if parsed.matches(&wanted) => Ok(Raised::Allows),
        Op::Wildcard if lowest(one) > wanted => {
            Err(format!("it asks for a newer version than {to}"))
        }
        Op::Wildcard => Ok(Raised::To(match one.minor {
            Some(_) => format!("{}.{}.*", wanted.major, wanted.minor),
            None => format!("{}.*", wanted.major),
        })),
        _ => open(&parsed, &wanted),
    }
}

/// `*`, `>=1.1`, `>=1.1, <2`: left where it allows the version, else nobody can tell what was meant.
fn open(parsed: &VersionReq, wanted: &semver::Version) -> Result<Raised, String> {
    if parsed.matches(wanted) {
        Ok(Raised::Allows)
    } else {
        Err(format!("it does not allow {wanted}"))
    }
}

fn lowest(one: &Comparator) -> semver::Version {
    semver::Version {
        major: one.major,
        minor: one.minor.unwrap_or(0),
        patch: one.patch.unwrap_or(0),
        pre: one.pre.clone(),
        build: semver::BuildMetadata::EMPTY,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_operator() {
        let to: Version = "1.2.0".parse().unwrap();
        for (before, after) in [
            ("1.1.0", "1.2.0"),
            ("1.1", "1.2.0"),
            ("1", "1.2.0"),
            ("^1.1.0", "^1.2.0"),
            ("~1.1.0", "~1.2.0"),
            ("=1.1.0", "=1.2.0"),
            ("= 1.1.0", "= 1.2.0"),
            ("1.2.0-rc.1", "1.2.0"),
            ("1.1.*", "1.2.*"),
            ("0.*", "1.*"),
        ] {
            assert_eq!(
                raise(before, &to),
                Ok(Raised::To(after.to_owned())),
                "{before}"
            );
        }
        for there in ["1.2.0", "1.2", "=1.2.0", "~1.2"] {
            assert_eq!(raise(there, &to), Ok(Raised::There), "{there}");
        }
        for open in ["*", "1.*", ">=1.1", ">=1.1, <2", ">1.1, <1.3"] {
            assert_eq!(raise(open, &to), Ok(Raised::Allows), "{open}");
        }
        for refused in ["1.3.0", "2", "=1.2.1", "2.*", ">=1.0, <1.2", "<1.2", "one"] {
            assert!(raise(refused, &to).is_err(), "{refused}");
        }
    }
}
