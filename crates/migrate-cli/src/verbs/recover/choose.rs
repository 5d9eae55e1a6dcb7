//! Which backup leads back to a version.

use migrate_core::Version;
use migrate_rollback::{Inventory, Stored};

use crate::failure::Failure;
use crate::verbs::backup;

/// The backup of a date, or the newest of the version; a note where its version is not recorded.
pub(super) fn backup<'a>(
    inventory: &'a Inventory,
    version: &Version,
    date: Option<&str>,
) -> Result<(&'a Stored, Option<String>), Failure> {
    let stored = match date {
        Some(date) => inventory
            .find(date)
            .ok_or_else(|| backup::unknown(date, inventory))?,
        None => newest(inventory, version)?,
    };
    if stored.is_safety_copy() {
        return Err(Failure::unchanged(format!(
            "{} is a safety copy of what a restore replaced, of no certain version",
            stored.id()
        ))
        .hint(format!("bring it back with `restore {}`", stored.id())));
    }
    match stored.version() {
        Some(of) if of == version => Ok((stored, None)),
        Some(of) => Err(Failure::unchanged(format!(
            "backup {} is of version {of}, and --version says {version}",
            stored.id()
        ))
        .hint(format!("give --version {of}, or another --backup-date"))),
        None => {
            let note = format!(
                "the version of {} is not recorded anywhere; it is taken for {version}",
                stored.file()
            );
            Ok((stored, Some(note)))
        }
    }
}

fn newest<'a>(inventory: &'a Inventory, version: &Version) -> Result<&'a Stored, Failure> {
    let bare = || {
        let of = |backend| inventory.newest_bare(backend);
        of("postgres").or_else(|| of("sqlite"))
    };
    inventory.newest_of(version).or_else(bare).ok_or_else(|| {
        let failure = Failure::unchanged(format!("there is no backup of version {version}"));
        let known: Vec<String> = inventory
            .backups
            .iter()
            .filter_map(|stored| Some(format!("{} of {}", stored.id(), stored.version()?)))
            .collect();
        if known.is_empty() {
            failure.hint("backups/ holds no backup at all; is -C right?")
        } else {
            failure.hint(format!("there are: {}", known.join(", ")))
        }
    })
}

/// A failure of one backup, with the others of its version.
pub(super) fn with_others(failure: Failure, inventory: &Inventory, stored: &Stored) -> Failure {
    let others: Vec<&str> = inventory
        .backups
        .iter()
        .filter(|other| other.version() == stored.version() && other.id() != stored.id())
        .filter(|other| !other.is_safety_copy())
        .map(Stored::id)
        .collect();
    if !failure.message.contains(stored.file()) || others.is_empty() {
        return failure;
    }
    failure.hint(format!(
        "nothing was changed; others of that version, for --backup-date: {}",
        others.join(", ")
    ))
}
