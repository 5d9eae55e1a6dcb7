//! The log after a restore: what it says must be what is there.

use std::collections::{BTreeMap, BTreeSet};

use super::{Action, Applied, Entry, Record, State, append, read};
use crate::db::{Database, DbError};

/// Adds the lines that make the log say what it said when only the lines that `kept` chooses
/// were there; a restore of the database does not touch the log. Returns how many.
///
/// # Errors
/// The database's; nothing was added.
pub async fn rewind(
    db: &Database,
    note: &str,
    kept: impl Fn(&Record) -> bool,
) -> Result<usize, DbError> {
    let now = read(db).await?;
    let old: Vec<Record> = now
        .records()
        .iter()
        .filter(|one| kept(one))
        .cloned()
        .collect();
    say_again(db, note, &State::of(old, Vec::new()), &now).await
}

/// Adds the lines that make the log say what [`State::standing`] said when a copy of the database
/// was made that is there again. Returns how many.
///
/// # Errors
/// The database's; nothing was added.
pub async fn set_back(db: &Database, note: &str, standing: &[Record]) -> Result<usize, DbError> {
    let then = State::of(standing.to_vec(), Vec::new());
    say_again(db, note, &then, &read(db).await?).await
}

async fn say_again(db: &Database, note: &str, then: &State, now: &State) -> Result<usize, DbError> {
    let mut entries = differing(then.applied(), now.applied(), note);
    entries.extend(differing(then.scripts(), now.scripts(), note));
    if !entries.is_empty() {
        super::ensure(db).await?;
        append(db, &entries).await?;
    }
    Ok(entries.len())
}

fn differing(
    then: &BTreeMap<String, Applied>,
    now: &BTreeMap<String, Applied>,
    note: &str,
) -> Vec<Entry> {
    let keys: BTreeSet<&String> = now.keys().chain(then.keys()).collect();
    keys.into_iter()
        .filter_map(|key| {
            let (action, applied) = match (then.get(key), now.get(key)) {
                (None, Some(gone)) => (Action::Forget, gone),
                (Some(back), None) => (Action::Baseline, back),
                _ => return None,
            };
            Some(entry(action, &applied.record, &applied.checksum, note))
        })
        .collect()
}

fn entry(action: Action, record: &Record, checksum: &str, note: &str) -> Entry {
    Entry {
        action,
        key: record.key.clone(),
        version: record.version.clone(),
        name: record.name.clone(),
        layout: "",
        file: record.file.clone(),
        checksum: checksum.to_owned(),
        up: None,
        down: None,
        out_of_order: false,
        millis: 0,
        by: record.by.clone(),
        run: record.run.clone(),
        note: Some(note.to_owned()),
    }
}
