//! Which layout a directory has.

use migrate_core::Finding;

use super::{Layout, Migration, Reading, SourceFile, Transactions};
use crate::db::Backend;

/// How the layout is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// By the files; where several layouts read them alike, by the history that the database
    /// has, if any, else the first.
    Auto {
        /// The layout whose tool's history table is in the database.
        history: Option<Layout>,
    },
    /// The caller names it.
    Named(Layout),
}

pub(super) fn choose(
    files: &[SourceFile],
    choice: Choice,
    backend: Backend,
) -> Result<(Layout, Reading), Vec<Finding>> {
    let history = match choice {
        Choice::Named(layout) => {
            let reading = layout.read(files, backend);
            if reading.errors.is_empty() {
                return Ok((layout, reading));
            }
            return Err(reading.errors);
        }
        Choice::Auto { history } => history,
    };
    let (mut fitting, others): (Vec<_>, Vec<_>) = Layout::ALL
        .into_iter()
        .map(|layout| (layout, layout.read(files, backend)))
        .partition(|(_, reading)| fits(reading, backend));
    if fitting.is_empty() {
        return only_one_left(files, others, backend, history);
    }
    if let Some(finding) = differing(&fitting) {
        return Err(vec![finding]);
    }
    let at = fitting
        .iter()
        .position(|(layout, _)| Some(*layout) == history)
        .unwrap_or(0);
    Ok(fitting.swap_remove(at))
}

/// Every file is one of its migrations, and each can run as it is marked.
fn fits(reading: &Reading, backend: Backend) -> bool {
    reading.errors.is_empty()
        && reading.ignored.is_empty()
        && reading.passed_by.is_empty()
        && !reading.migrations.is_empty()
        && can_run(reading, backend)
}

fn can_run(reading: &Reading, backend: Backend) -> bool {
    reading.migrations.iter().all(|one| {
        one.transactions == Transactions::PerStatement
            || Transactions::by_content(backend, &one.up) == Transactions::One
    })
}

/// No layout takes every file. One is taken all the same if it is the only one that finds
/// migrations at all and every one of its files is fine: the others are told as warnings.
fn only_one_left(
    files: &[SourceFile],
    others: Vec<(Layout, Reading)>,
    backend: Backend,
    history: Option<Layout>,
) -> Result<(Layout, Reading), Vec<Finding>> {
    let mut found: Vec<(Layout, Reading)> = others
        .into_iter()
        .filter(|(_, reading)| !reading.migrations.is_empty() || !reading.errors.is_empty())
        .collect();
    found.sort_by_key(|(_, reading)| std::cmp::Reverse(reading.migrations.len()));
    if let [(_, only)] = found.as_slice()
        && only.errors.is_empty()
        && can_run(only, backend)
    {
        return Ok(found.swap_remove(0));
    }
    // Every file is one of its migrations, and only a mark is missing without which one of them
    // can't run: reading it tells which.
    let whole = |(_, reading): &(Layout, Reading)| {
        reading.errors.is_empty()
            && reading.ignored.is_empty()
            && reading.passed_by.is_empty()
            && !reading.migrations.is_empty()
    };
    let at = found
        .iter()
        .position(|one| whole(one) && Some(one.0) == history)
        .or_else(|| found.iter().position(whole));
    if let Some(at) = at {
        return Ok(found.swap_remove(at));
    }
    Err(none_fits(files, found.into_iter().next()))
}

fn none_fits(files: &[SourceFile], nearest: Option<(Layout, Reading)>) -> Vec<Finding> {
    let hint = "name the layout with --layout NAME; then what its tool ignores is ignored here too";
    match nearest {
        Some((layout, reading)) if !reading.migrations.is_empty() => {
            let mut findings = vec![
                Finding::error(
                    "layout.none",
                    format!(
                        "no layout fits every file; the nearest is {layout} with {} migrations",
                        reading.migrations.len()
                    ),
                )
                .hint(hint),
            ];
            findings.extend(reading.errors);
            findings.extend(reading.passed_by.into_iter().take(10));
            findings.extend(reading.ignored.into_iter().take(10));
            findings
        }
        _ if files.is_empty() => vec![
            Finding::error("layout.empty", "the directory holds no SQL file")
                .hint("name the directory that holds the migrations with --source DIR"),
        ],
        nearest => {
            let mut findings =
                vec![Finding::error("layout.none", "no layout fits the files").hint(hint)];
            findings.extend(nearest.into_iter().flat_map(|(_, reading)| reading.errors));
            findings
        }
    }
}

/// Two layouts that would run something else, in another order or in other transactions.
fn differing(fitting: &[(Layout, Reading)]) -> Option<Finding> {
    let (first, mine) = fitting.first()?;
    let mine = runs(&mine.migrations);
    fitting[1..].iter().find_map(|(layout, theirs)| {
        let theirs = runs(&theirs.migrations);
        if mine == theirs {
            return None;
        }
        let what = mine.iter().zip(&theirs).find(|(a, b)| a != b).map_or_else(
            || "the number of migrations".to_owned(),
            |(a, _)| a.file.to_owned(),
        );
        Some(
            Finding::error(
                "layout.ambiguous",
                format!("the files can be read as {first} and as {layout}, which differ in {what}"),
            )
            .hint(format!(
                "say which with --layout {first} or --layout {layout}"
            )),
        )
    })
}

/// What matters of a migration for what would run.
#[derive(PartialEq, Eq)]
struct Run<'m> {
    file: &'m str,
    up: &'m str,
    down: Option<&'m str>,
    transactions: Transactions,
    filled: bool,
    repeatable: bool,
}

fn runs(migrations: &[Migration]) -> Vec<Run<'_>> {
    let mut sorted: Vec<&Migration> = migrations.iter().collect();
    sorted.sort_by(|a, b| (a.order(), a.up.file()).cmp(&(b.order(), b.up.file())));

    sorted
        .into_iter()
        .map(|one| Run {
            file: one.up.file(),
            up: one.up.sql(),
            down: one.down.as_ref().map(super::Section::sql),
            transactions: one.transactions,
            filled: one.placeholders && one.up.sql().contains("${"),
            repeatable: one.version.is_none(),
        })
        .collect()
}

/// Versions and names that are there twice. The migrations are in order.
pub(super) fn twice(migrations: &[Migration]) -> Vec<Finding> {
    migrations
        .windows(2)
        .filter(|pair| pair[0].key() == pair[1].key())
        .map(|pair| {
            Finding::error(
                "layout.twice",
                format!(
                    "{} and {} have the same version {}",
                    pair[0].up.file(),
                    pair[1].up.file(),
                    pair[1].label()
                ),
            )
            .in_file(pair[1].up.place(0))
            .hint("give one of them another version")
        })
        .collect()
}
