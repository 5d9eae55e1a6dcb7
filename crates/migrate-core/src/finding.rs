//! What a check found: reported all together, each with its place and a way out.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::printable::{lines, one_line};

/// How much a finding weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing; nothing is refused.
    Warning,
    /// The run does not start.
    Error,
}

/// A place in a file, for people and editors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The file's name as the user knows it.
    pub file: String,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// The text of that line, where it is known and not secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// One thing that a check has to say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// How much it weighs.
    pub severity: Severity,
    /// A stable name, `area.reason`, such as `plan.unknown-field`.
    pub code: String,
    /// What is wrong, on what.
    pub message: String,
    /// The JSON pointer into the document that was checked, empty where there is none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub pointer: String,
    /// Where it stands in a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
    /// Lines that show it, such as those of a diff.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Finding {
    /// An error: the run does not start.
    pub fn error(code: &str, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, code, message.into())
    }

    /// A warning: shown, nothing is refused.
    pub fn warning(code: &str, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, code, message.into())
    }

    fn new(severity: Severity, code: &str, message: String) -> Self {
        Self {
            severity,
            code: code.to_owned(),
            message,
            pointer: String::new(),
            place: None,
            detail: None,
            hint: None,
        }
    }

    /// Adds the JSON pointer that the finding is about.
    #[must_use]
    pub fn at(mut self, pointer: impl Into<String>) -> Self {
        self.pointer = pointer.into();
        self
    }

    /// Adds the place in a file.
    #[must_use]
    pub fn in_file(mut self, place: Place) -> Self {
        self.place = Some(place);
        self
    }

    /// Adds the way out.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(f, "{place}: ")?;
        }
        f.write_str(&one_line(&self.message))?;
        if let Some(text) = self.place.as_ref().and_then(|p| p.text.as_deref()) {
            write!(f, "\n    | {}", one_line(text))?;
        }
        for line in self.detail.iter().flat_map(|detail| detail.lines()) {
            write!(f, "\n    {}", lines(line))?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\n    hint: {}", hint.replace('\n', "\n          "))?;
        }
        Ok(())
    }
}
