//! Plans and scripts: those of a directory before those embedded in the binary.

mod graph;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use include_dir::{Dir, include_dir};
use migrate_config::Located;
use migrate_core::ports::Script;
use migrate_core::{Finding, Hop, MigrationPlan, Scripts, StepRegistry, plan_check};

use crate::failure::Failure;

static EMBEDDED: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/../../migrations");

/// Where plans and scripts are found.
#[derive(Debug, Clone)]
pub(crate) struct Migrations {
    /// The overlay, if there is one.
    dir: Option<PathBuf>,
}

/// A plan with where it came from.
#[derive(Debug)]
pub(crate) struct LoadedPlan {
    pub(crate) origin: String,
    pub(crate) plan: MigrationPlan,
    pub(crate) located: Located,
    pub(crate) sha256: String,
}

impl Migrations {
    /// The directory given, which must exist, or `migrations` below the root if it is there.
    pub(crate) fn find(root: &Path, given: Option<&Path>) -> Result<Self, Failure> {
        let dir = match given {
            Some(dir) => {
                let dir = root.join(dir);
                if !dir.is_dir() {
                    return Err(Failure::unchanged(format!(
                        "--migrations {}: there is no such directory",
                        dir.display()
                    )));
                }
                Some(dir)
            }
            None => Some(root.join("migrations")).filter(|dir| dir.is_dir()),
        };
        Ok(Self { dir })
    }

    /// Reads a plan with all its findings, those that the kinds have on its steps among them.
    pub(crate) fn load_with(
        &self,
        hop: &Hop,
        registry: Option<&StepRegistry>,
    ) -> Result<LoadedPlan, Failure> {
        let refuse = |findings| {
            Failure::findings(
                "the plan has errors; nothing was changed".to_owned(),
                findings,
            )
        };
        self.read_plan(hop, registry).map_err(refuse)
    }

    /// Reads a plan, or every finding in it.
    pub(crate) fn read_plan(
        &self,
        hop: &Hop,
        registry: Option<&StepRegistry>,
    ) -> Result<LoadedPlan, Vec<Finding>> {
        let edge = &hop.edge;
        let script = self
            .read(&format!("plans/{}", edge.name))
            .map_err(|finding| vec![finding])?;
        let located = migrate_config::parse(&script.origin, &script.text)?
            .with_decimals_in("expected_result");
        let document = plan_check::resolved(&located.with_dates_in("config_changes"), &hop.from);
        let plan = match registry {
            Some(registry) => plan_check::read_with(&document, registry),
            None => plan_check::read(&document),
        }
        .map_err(|findings| located.locate(findings))?;
        let written = located.value["from_version"].as_str().unwrap_or_default();
        if written != edge.from.to_string() || plan.to_version != edge.to {
            let message = format!(
                "the file's name says {} to {}, its content {written} to {}",
                edge.from, edge.to, plan.to_version
            );
            let finding = Finding::error("plan.other-versions", message).at("/from_version");
            return Err(located.locate(vec![finding]));
        }
        Ok(LoadedPlan {
            origin: script.origin,
            sha256: sha256(&script.text),
            plan,
            located,
        })
    }

    /// Reads a plan with the findings that need no kind.
    pub(crate) fn load(&self, hop: &Hop) -> Result<LoadedPlan, Failure> {
        self.load_with(hop, None)
    }

    fn in_overlay(&self, name: &str) -> Result<Option<Script>, Finding> {
        let Some(dir) = &self.dir else {
            return Ok(None);
        };
        let path = dir.join(name);
        let unreadable = |error: std::io::Error| {
            Finding::error("script.unreadable", format!("{}: {error}", path.display()))
        };
        // What is neither missing nor a directory is read or refused: nothing embedded replaces it.
        if path.metadata().map_or(true, |about| about.is_dir()) {
            return Ok(None);
        }
        let inside = dir.canonicalize().map_err(unreadable)?;
        if !path
            .canonicalize()
            .map_err(unreadable)?
            .starts_with(&inside)
        {
            return Err(Finding::error(
                "script.outside",
                format!("{} leads outside the migrations directory", path.display()),
            ));
        }
        let text = migrate_config::atomic::read_regular_text(&path).map_err(unreadable)?;
        Ok(Some(Script {
            origin: path.display().to_string(),
            text,
        }))
    }
}

impl Scripts for Migrations {
    fn read(&self, name: &str) -> Result<Script, Finding> {
        let plain = Path::new(name)
            .components()
            .all(|part| matches!(part, std::path::Component::Normal(_)));
        if name.is_empty() || !plain {
            return Err(Finding::error(
                "script.outside",
                format!("{name:?} is not a name below the migrations directory"),
            ));
        }
        if let Some(script) = self.in_overlay(name)? {
            return Ok(script);
        }
        let embedded = EMBEDDED
            .get_file(name)
            .and_then(|file| file.contents_utf8());
        if let Some(text) = embedded {
            return Ok(Script {
                origin: format!("embedded:{name}"),
                text: text.to_owned(),
            });
        }
        let places = match &self.dir {
            Some(dir) => format!("{} and the embedded scripts", dir.display()),
            None => "the embedded scripts".to_owned(),
        };
        Err(Finding::error(
            "script.missing",
            format!("there is no script {name:?} in {places}"),
        )
        .hint(format!("scripts that exist: {}", self.names().join(", "))))
    }

    fn names(&self) -> Vec<String> {
        let mut names = Vec::new();
        if let Some(dir) = &self.dir {
            names_below(dir, "", 4, &mut names);
        }
        // A script of the directory goes before an embedded one that is for one database.
        let embedded: Vec<String> = EMBEDDED
            .files()
            .map(|file| file.path().display().to_string())
            .filter(|name| for_any_database(name).is_none_or(|any| !names.contains(&any)))
            .collect();
        names.extend(embedded);
        names.retain(|name| {
            Path::new(name).extension().is_some_and(|ext| ext == "sql")
                || name.ends_with("/metadata.toml")
        });
        names.sort();
        names.dedup();
        names
    }
}

/// `N.sql` for `N.sqlite.sql` and `N.postgres.sql`.
fn for_any_database(name: &str) -> Option<String> {
    let stem = name
        .strip_suffix(".sqlite.sql")
        .or_else(|| name.strip_suffix(".postgres.sql"))?;
    Some(format!("{stem}.sql"))
}

/// The files of a directory and its folders, by their paths in it.
fn names_below(dir: &Path, prefix: &str, depth: usize, names: &mut Vec<String>) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if !entry.path().is_dir() {
            names.push(name);
        } else if depth > 1 {
            names_below(&entry.path(), &format!("{name}/"), depth - 1, names);
        }
    }
}

fn files_of(dir: &Path) -> Result<Vec<PathBuf>, Failure> {
    if !dir.is_dir() {
        return Ok(Vec::new());
    }
    let unreadable =
        |error| Failure::unchanged(format!("{} can't be read: {error}", dir.display()));
    let mut names = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        if !entry.path().is_dir() {
            names.push(PathBuf::from(entry.file_name()));
        }
    }
    names.sort();
    Ok(names)
}

/// The SHA-256 of a text, in hex.
pub(crate) fn sha256(text: &str) -> String {
    migrate_config::atomic::sha256(text.as_bytes())
}

/// Remembers every script that was read, so that the journal can keep it.
pub(crate) struct Recorded<S> {
    inner: S,
    read: Mutex<BTreeMap<String, Script>>,
}

impl<S: Scripts> Recorded<S> {
    pub(crate) fn new(inner: S) -> Self {
        Self {
            inner,
            read: Mutex::default(),
        }
    }

    /// What was read so far, by the name asked for.
    pub(crate) fn scripts(&self) -> BTreeMap<String, Script> {
        self.read
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .clone()
    }
}

impl<S: Scripts> Scripts for Recorded<S> {
    fn read(&self, name: &str) -> Result<Script, Finding> {
        let script = self.inner.read(name)?;
        self.read
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .insert(name.to_owned(), script.clone());
        Ok(script)
    }

    fn names(&self) -> Vec<String> {
        self.inner.names()
    }
}

/// The scripts that a journal kept: a run goes on, and back, with the very texts it began with.
pub(crate) struct Kept(pub(crate) BTreeMap<String, Script>);

impl Scripts for Kept {
    fn read(&self, name: &str) -> Result<Script, Finding> {
        self.0.get(name).cloned().ok_or_else(|| {
            Finding::error(
                "script.missing",
                format!("the journal kept no script {name:?}"),
            )
        })
    }

    fn names(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }
}
