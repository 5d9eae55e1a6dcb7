//! Dotted paths to values: `pipeline.timeout`, `a."b.c"`, `servers[0].host`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// One step into a document.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PathStep {
    /// Into a table or object.
    Key(String),
    /// Into an array, from 0.
    Index(usize),
}

/// A path to a value. Parsed once; the empty path is the document itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyPath(Vec<PathStep>);

impl KeyPath {
    /// The document itself.
    pub fn root() -> Self {
        Self(Vec::new())
    }

    /// A path of keys only.
    pub fn keys<'a>(keys: impl IntoIterator<Item = &'a str>) -> Self {
        Self(
            keys.into_iter()
                .map(|key| PathStep::Key(key.to_owned()))
                .collect(),
        )
    }

    /// The steps, outermost first.
    pub fn steps(&self) -> &[PathStep] {
        &self.0
    }

    /// Goes one step further.
    pub fn push(&mut self, step: PathStep) {
        self.0.push(step);
    }

    /// This path, one key further.
    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        let mut path = self.clone();
        path.push(PathStep::Key(key.to_owned()));
        path
    }

    /// The path of the table or array that holds the value, and the last step.
    pub fn split_last(&self) -> Option<(Self, &PathStep)> {
        let (last, parent) = self.0.split_last()?;
        Some((Self(parent.to_vec()), last))
    }

    /// The first steps of a path.
    pub(crate) fn root_of(path: &Self, steps: usize) -> Self {
        Self(path.0[..steps].to_vec())
    }

    /// Whether `self` is `other` or lies inside of it.
    pub fn starts_with(&self, other: &Self) -> bool {
        self.0.starts_with(&other.0)
    }

    /// The same path as a JSON pointer.
    pub fn pointer(&self) -> String {
        self.0
            .iter()
            .map(|step| match step {
                PathStep::Key(key) => format!("/{}", key.replace('~', "~0").replace('/', "~1")),
                PathStep::Index(index) => format!("/{index}"),
            })
            .collect()
    }
}

impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, step) in self.0.iter().enumerate() {
            match step {
                PathStep::Index(index) => write!(f, "[{index}]")?,
                PathStep::Key(key) => {
                    if place > 0 {
                        f.write_str(".")?;
                    }
                    if is_bare(key) {
                        f.write_str(key)?;
                    } else {
                        write!(f, "{}", serde_json::Value::from(key.as_str()))?;
                    }
                }
            }
        }
        Ok(())
    }
}

fn is_bare(key: &str) -> bool {
    !key.is_empty() && key.chars().all(is_bare_char)
}

/// Wider than TOML's bare keys, so that `größe` needs no quotes on our side.
fn is_bare_char(c: char) -> bool {
    !c.is_whitespace() && !c.is_control() && !matches!(c, '.' | '"' | '\'' | '[' | ']')
}

/// A text that is not a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPathError {
    /// What was given.
    pub input: String,
    /// Why it is not a path.
    pub reason: &'static str,
}

impl fmt::Display for KeyPathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is not a key path: {}", self.input, self.reason)
    }
}

impl std::error::Error for KeyPathError {}

impl FromStr for KeyPath {
    type Err = KeyPathError;

    fn from_str(input: &str) -> Result<Self, KeyPathError> {
        let fail = |reason| KeyPathError {
            input: input.to_owned(),
            reason,
        };
        let mut steps = Vec::new();
        let mut rest = input;
        loop {
            let (key, after) = take_key(rest).map_err(fail)?;
            steps.push(PathStep::Key(key));
            rest = after;
            while let Some(inside) = rest.strip_prefix('[') {
                let (index, after) = inside
                    .split_once(']')
                    .ok_or_else(|| fail("'[' is not closed"))?;
                let index = index
                    .parse()
                    .map_err(|_| fail("between '[' and ']' stands a number from 0"))?;
                steps.push(PathStep::Index(index));
                rest = after;
            }
            if rest.is_empty() {
                return Ok(Self(steps));
            }
            rest = rest
                .strip_prefix('.')
                .ok_or_else(|| fail("after a key comes '.', '[' or the end"))?;
        }
    }
}

fn take_key(text: &str) -> Result<(String, &str), &'static str> {
    if text.starts_with('"') {
        let mut parsed = serde_json::Deserializer::from_str(text).into_iter::<String>();
        let key = parsed
            .next()
            .and_then(Result::ok)
            .ok_or("a quoted key is not closed or has a wrong escape")?;
        return Ok((key, &text[parsed.byte_offset()..]));
    }
    if let Some(inside) = text.strip_prefix('\'') {
        let (key, after) = inside
            .split_once('\'')
            .ok_or("a quoted key is not closed")?;
        return Ok((key.to_owned(), after));
    }
    let end = text.find(|c| !is_bare_char(c)).unwrap_or(text.len());
    if end == 0 {
        return Err("a key is empty; quote keys with dots, spaces or brackets: a.\"b.c\"");
    }
    Ok((text[..end].to_owned(), &text[end..]))
}

impl TryFrom<String> for KeyPath {
    type Error = KeyPathError;

    fn try_from(input: String) -> Result<Self, KeyPathError> {
        input.parse()
    }
}

impl From<KeyPath> for String {
    fn from(path: KeyPath) -> String {
        path.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_and_prints_back() {
        for text in [
            "a",
            "a.b",
            "a.\"b.c\"",
            "servers[0].host",
            "m[1][2]",
            "größe.x-y",
            "\"\"",
        ] {
            let path: KeyPath = text.parse().unwrap();
            assert_eq!(path.to_string(), text);
        }
        let quoted: KeyPath = "a.'b.c'".parse().unwrap();
        assert_eq!(quoted, KeyPath::keys(["a", "b.c"]));
        assert_eq!(quoted.pointer(), "/a/b.c");
    }

    #[test]
    fn refuses_what_is_no_path() {
        for text in [
            "", ".", "a.", "a..b", "[0]", "a[", "a[x]", "a[0]b", "a b", "\"a", "'a",
        ] {
            let error = text.parse::<KeyPath>().unwrap_err();
            assert!(error.to_string().contains("not a key path"), "{text}");
        }
    }
}
