//! How many rows a batch has: `1000`, or `"auto"`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Rows of a transaction of a data step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BatchSize {
    /// So many, at least 1.
    Rows(usize),
    /// As many as take about half a second, found while it runs.
    Auto,
}

impl fmt::Display for BatchSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rows(rows) => rows.fmt(f),
            Self::Auto => f.write_str("auto"),
        }
    }
}

impl FromStr for BatchSize {
    type Err = String;

    /// Reads a number or `auto`.
    fn from_str(text: &str) -> Result<Self, String> {
        match text.trim() {
            "auto" => Ok(Self::Auto),
            number => number
                .parse()
                .map(Self::Rows)
                .map_err(|_| format!("{text:?} is no batch size: use a number of rows, or auto")),
        }
    }
}

impl Serialize for BatchSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Rows(rows) => serializer.serialize_u64(*rows as u64),
            Self::Auto => serializer.serialize_str("auto"),
        }
    }
}

impl<'de> Deserialize<'de> for BatchSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "a number of rows, or \"auto\"")]
        enum Written {
            Rows(usize),
            Named(String),
        }
        match Written::deserialize(deserializer)? {
            Written::Rows(rows) => Ok(Self::Rows(rows)),
            Written::Named(name) if name == "auto" => Ok(Self::Auto),
            Written::Named(name) => Err(serde::de::Error::custom(format!(
                "{name:?} is no batch size: use a number of rows, or \"auto\""
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::BatchSize;

    #[test]
    fn sizes_are_read_and_written_as_they_stand_in_plans() {
        for (json, size) in [
            ("1000", BatchSize::Rows(1000)),
            ("\"auto\"", BatchSize::Auto),
        ] {
            assert_eq!(serde_json::from_str::<BatchSize>(json).unwrap(), size);
            assert_eq!(serde_json::to_string(&size).unwrap(), json);
            assert_eq!(size.to_string().parse::<BatchSize>().unwrap(), size);
        }
        for wrong in ["-1", "1.5", "\"1000\"", "\"fast\"", "null"] {
            assert!(serde_json::from_str::<BatchSize>(wrong).is_err(), "{wrong}");
        }
    }
}
