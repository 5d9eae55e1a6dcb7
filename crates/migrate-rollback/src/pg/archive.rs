//! The table of contents of a `pg_dump` archive, as `pg_restore --list` prints it.

use std::path::Path;
use std::process::Stdio;

use migrate_core::StepError;
use tokio::io::AsyncReadExt;
use tokio::process::Command;

use super::child::{Group, tail};
use super::programs::Programs;

/// The lines of the table of contents, in the order in which they are restored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Contents(Vec<String>);

/// What of an archive is not restored.
#[derive(Debug, Clone, Default)]
pub(crate) struct LeftOut {
    /// How entries begin: kind, schema and name.
    pub(crate) entries: Vec<String>,
    /// Roles whose default privileges are left out.
    pub(crate) default_privileges_of: Vec<String>,
}

impl LeftOut {
    fn holds(&self, about: &str) -> bool {
        let of_role = |role: &String| about.ends_with(&format!(" {role}"));
        self.entries.iter().any(|start| about.starts_with(start))
            || (about.starts_with("DEFAULT ACL ") && self.default_privileges_of.iter().any(of_role))
    }
}

impl Contents {
    /// Reads it with `pg_restore --list`, which also proves that the archive parses.
    pub(crate) async fn read(programs: &Programs, archive: &Path) -> Result<Self, StepError> {
        let what = || {
            format!(
                "{} is not an archive that pg_restore reads",
                archive.display()
            )
        };
        let mut command = Command::new(programs.pg_restore());
        command.arg("--list").arg("--").arg(archive);
        let started = Group::start(command, Stdio::null(), Stdio::piped());
        let mut child =
            started.map_err(|error| StepError::caused("can't run pg_restore", &error))?;
        let (mut stdout, stderr) = (child.stdout(), child.stderr());
        let mut text = Vec::new();
        let (read, said) = tokio::join!(stdout.read_to_end(&mut text), tail(stderr));
        let status = child.wait().await;
        match (read, status) {
            (Ok(_), Ok(status)) if status.success() => {
                Ok(Self::parse(&String::from_utf8_lossy(&text)))
            }
            (Err(error), _) | (_, Err(error)) => Err(StepError::caused(what(), &error)),
            _ => Err(StepError::failed(what()).cause(said)),
        }
    }

    fn parse(text: &str) -> Self {
        Self(
            text.lines()
                .filter(|line| line.starts_with(|c: char| c.is_ascii_digit()))
                .map(str::to_owned)
                .collect(),
        )
    }

    /// What an entry is about: its line without the numbers, ` TABLE public pipelines owner`.
    fn about(line: &str) -> &str {
        let mut rest = line;
        for _ in 0..3 {
            rest = rest.split_once(' ').map_or("", |(_, rest)| rest);
        }
        rest
    }

    /// Whether it has an entry of a kind for an object of a schema (`-` without one).
    pub(crate) fn has(&self, kind: &str, schema: &str, name: &str) -> bool {
        // Line breaks in names are printed as spaces.
        let wanted = format!("{kind} {schema} {name} ").replace(['\n', '\r'], " ");
        self.0
            .iter()
            .any(|line| Self::about(line).starts_with(&wanted))
    }

    /// The lines to restore. Event triggers come last: they would fire on what is made after them
    /// (the rows of materialized views).
    pub(crate) fn without(&self, left_out: &LeftOut) -> String {
        let lines = self
            .0
            .iter()
            .filter(|line| !left_out.holds(Self::about(line)));
        let (last, first): (Vec<&String>, Vec<&String>) = lines.partition(|line| {
            let about = Self::about(line);
            about.starts_with("EVENT TRIGGER ") || about.starts_with("COMMENT - EVENT TRIGGER ")
        });
        let line = |line: &String| format!("{line}\n");
        first.into_iter().chain(last).map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_found_and_left_out() {
        let contents = Contents::parse(
            "; a comment\n\
             2; 3079 16385 EXTENSION - pgcrypto \n\
             3420; 0 0 COMMENT - EXTENSION pgcrypto \n\
             215; 1259 16386 TABLE public pipelines etlrs\n\
             216; 1259 16390 TABLE odd schema my table etlrs\n\
             3421; 0 16386 TABLE DATA public pipelines etlrs\n\
             3422; 826 16391 DEFAULT ACL - DEFAULT PRIVILEGES FOR TABLES other\n\
             3423; 826 16392 DEFAULT ACL public DEFAULT PRIVILEGES FOR TABLES another\n\
             3424; 3466 16393 EVENT TRIGGER - log postgres\n\
             3425; 0 16394 MATERIALIZED VIEW DATA public m etlrs\n",
        );
        assert!(contents.has("TABLE", "public", "pipelines"));
        assert!(contents.has("TABLE DATA", "public", "pipelines"));
        assert!(contents.has("TABLE", "odd schema", "my\ntable"));
        assert!(!contents.has("TABLE", "public", "pipe"));
        let rest = contents.without(&LeftOut {
            entries: vec![
                "EXTENSION - pgcrypto ".into(),
                "COMMENT - EXTENSION pgcrypto ".into(),
            ],
            default_privileges_of: vec!["other".into()],
        });
        assert_eq!(rest.lines().count(), 6);
        assert!(!rest.contains("pgcrypto"));
        assert!(!rest.contains("TABLES other") && rest.contains("TABLES another"));
        assert!(rest.trim_end().ends_with("EVENT TRIGGER - log postgres"));
    }
}
