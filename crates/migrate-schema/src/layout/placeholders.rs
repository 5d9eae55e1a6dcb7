//! `${name}` in SQL.

use std::collections::BTreeMap;

use migrate_core::Finding;

use super::{Layout, Migration, Section};

/// What placeholders stand for. Built by the caller: a library reads no environment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Placeholders {
    values: BTreeMap<String, String>,
}

impl Placeholders {
    /// With these values.
    pub fn new(values: impl IntoIterator<Item = (String, String)>) -> Self {
        Self {
            values: values.into_iter().collect(),
        }
    }

    /// A section with its placeholders filled in. A section of a migration that has none, or
    /// of one that was given no `${`, is returned as it is.
    ///
    /// # Errors
    /// Each placeholder that has no value, with its place.
    pub fn fill(
        &self,
        layout: Layout,
        migration: &Migration,
        section: &Section,
    ) -> Result<Section, Vec<Finding>> {
        if !migration.placeholders || !section.sql().contains('$') {
            return Ok(section.clone());
        }
        match layout {
            Layout::Goose => self.fill_marked(section),
            _ => self.fill_all(section),
        }
    }

    fn fill_all(&self, section: &Section) -> Result<Section, Vec<Finding>> {
        let mut findings = Vec::new();
        let sql = self.filled(section, 0, section.sql(), &mut findings);
        if findings.is_empty() {
            Ok(section.with_sql(&sql))
        } else {
            Err(findings)
        }
    }

    /// Only the lines between `-- +goose ENVSUB ON` and `OFF`.
    fn fill_marked(&self, section: &Section) -> Result<Section, Vec<Finding>> {
        let mut findings = Vec::new();
        let mut out = String::new();
        let mut on = false;
        let sql = section.sql();
        let mut at = 0;
        for line in sql.split_inclusive('\n') {
            if let Some(mark) = super::markers::goose(line) {
                if mark.eq_ignore_ascii_case("envsub on") {
                    on = true;
                } else if mark.eq_ignore_ascii_case("envsub off") {
                    on = false;
                }
            }
            if on {
                out.push_str(&self.filled(section, at, line, &mut findings));
            } else {
                out.push_str(line);
            }
            at += line.len();
        }
        if findings.is_empty() {
            Ok(section.with_sql(&out))
        } else {
            Err(findings)
        }
    }

    fn filled(
        &self,
        section: &Section,
        start: usize,
        text: &str,
        findings: &mut Vec<Finding>,
    ) -> String {
        let mut out = String::with_capacity(text.len());
        let mut at = 0;
        while let Some(open) = text[at..].find("${").map(|found| at + found) {
            out.push_str(&text[at..open]);
            let Some(close) = text[open..].find('}').map(|found| open + found) else {
                at = open;
                break;
            };
            let inner = &text[open + 2..close];
            // The shell's `${name:-default}`, which goose knows too.
            let (name, default) = match inner.split_once(":-") {
                Some((name, default)) => (name, Some(default)),
                None => (inner, None),
            };
            match (self.values.get(name), default) {
                (Some(value), _) => out.push_str(value),
                (None, Some(default)) => out.push_str(default),
                (None, None) => findings.push(
                    Finding::error("layout.placeholder", format!("${{{name}}} has no value"))
                        .in_file(section.place(start + open))
                        .hint(format!("give it with --set {name}=VALUE")),
                ),
            }
            at = close + 1;
        }
        out.push_str(&text[at..]);
        out
    }
}
