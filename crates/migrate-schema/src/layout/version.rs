//! Versions of migrations: how they are ordered and told apart.

use std::cmp::Ordering;
use std::fmt;

use serde::{Deserialize, Serialize};

/// A migration's version. Ordered as the layout's own tool orders it; two are equal when that
/// tool takes them for the same (`001` and `1`, Flyway's `1.0` and `1`).
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(into = "String", from = "String")]
pub struct Version {
    text: String,
    numbers: Option<Vec<u128>>,
}

impl Version {
    /// A version of whole numbers with dots or underscores between them; by its letters if it is none.
    pub fn numeric(text: &str) -> Self {
        let numbers: Option<Vec<u128>> = text
            .split(['.', '_'])
            .map(|part| part.parse().ok())
            .collect();
        let numbers = numbers.map(|mut numbers| {
            while numbers.len() > 1 && numbers.last() == Some(&0) {
                numbers.pop();
            }
            numbers
        });
        Self {
            text: text.replace('_', "."),
            numbers,
        }
    }

    /// A version that is ordered by its letters.
    pub fn literal(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            numbers: None,
        }
    }

    /// As it stands in the file's name.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// One text for all that are equal: the key in our history.
    pub fn key(&self) -> String {
        match &self.numbers {
            None => self.text.clone(),
            Some(numbers) => {
                let parts: Vec<String> = numbers.iter().map(ToString::to_string).collect();
                parts.join(".")
            }
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl From<Version> for String {
    fn from(version: Version) -> Self {
        version.text
    }
}

impl From<String> for Version {
    fn from(text: String) -> Self {
        Self::numeric(&text)
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Version {}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        match (&self.numbers, &other.numbers) {
            (Some(mine), Some(theirs)) => mine.cmp(theirs),
            _ => self.text.cmp(&other.text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_as_their_tools_order_them() {
        let numeric =
            |texts: [&str; 2]| Version::numeric(texts[0]).cmp(&Version::numeric(texts[1]));
        for (texts, expected) in [
            (["1", "001"], Ordering::Equal),
            (["2", "10"], Ordering::Less),
            (["1_2", "1.2"], Ordering::Equal),
            (["1.0", "1"], Ordering::Equal),
            (["1.10", "1.9"], Ordering::Greater),
            (["20240101000000", "3"], Ordering::Greater),
        ] {
            assert_eq!(numeric(texts), expected, "{texts:?}");
        }
        assert!(Version::literal("10") < Version::literal("9"));
        assert_eq!(Version::numeric("001_020").key(), "1.20");
    }
}
