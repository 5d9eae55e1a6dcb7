//! What a restore would meet: looked at before anybody is asked.

use migrate_config::Root;
use migrate_core::Finding;
use migrate_rollback::recovery::{self, Order, Place, SafetyCopy};
use migrate_rollback::{RollbackManager, Stored, signing};
use migrate_schema::db::DatabaseUrl;

use super::{about, skips};
use crate::args::Global;
use crate::deployment::Deployment;
use crate::failure::Failure;

/// How many differences are shown.
const SHOWN: usize = 12;

pub(super) struct Scene {
    pub(super) deployment: Deployment,
    pub(super) url: DatabaseUrl,
    pub(super) place: Place,
    pub(super) order: Order,
    /// What is there and not in the backup; `None` where that can't be told.
    pub(super) lost: Option<Vec<Finding>>,
    pub(super) notes: Vec<String>,
}

impl Scene {
    /// Looks at the backup and at the database. Changes nothing.
    pub(super) async fn look(
        global: &Global,
        deployment: Deployment,
        order: Order,
    ) -> Result<Self, Failure> {
        let root =
            Root::open(&deployment.root).map_err(|error| Failure::unchanged(error.to_string()))?;
        let mut notes = Vec::new();
        let url = url(global, &deployment, &root, &order, &mut notes)?;
        if let Some(warning) = deployment
            .url(global)
            .ok()
            .and_then(|(used, source)| deployment.other_database(&used, source))
        {
            notes.push(warning);
        }
        if let Stored::Point(point) = &order.backup {
            notes.extend(signing::points::check(&root, point, order.signatures)?);
        }
        RollbackManager::check_stored(&root, &order.backup, order.copies).await?;
        let place = Place::look(&url).await?;
        let mut lost = Some(Vec::new());
        match &place {
            Place::Open(database) => {
                refuse_other(global, &order.backup, database).await?;
                lost = match recovery::differences(&root, &order.backup, database).await {
                    Ok(found) => found.map(|found| found.iter().map(finding).collect()),
                    Err(error) => {
                        notes.push(format!("what would be lost can't be counted: {error}"));
                        None
                    }
                };
            }
            Place::Missing(_) if url.sqlite_path().is_none() => notes.push(
                "settings of the database itself (ALTER DATABASE ... SET, GRANT ... ON DATABASE) \
                 are in no backup"
                    .to_owned(),
            ),
            Place::Missing(_) | Place::Broken(_) => {}
        }
        if order.safety == SafetyCopy::Skip {
            notes.push("NO safety copy of what is there is made".to_owned());
        }
        Ok(Self {
            deployment,
            url,
            place,
            order,
            lost,
            notes,
        })
    }

    pub(super) fn loses_something(&self) -> bool {
        self.lost.as_ref().is_none_or(|lost| !lost.is_empty())
    }

    /// Rows for people: name and text.
    pub(super) fn told(&self, title: &str) -> Vec<(String, String)> {
        let state = match &self.place {
            Place::Open(_) => "is there".to_owned(),
            Place::Missing(why) => format!("is GONE and will be made: {why}"),
            Place::Broken(why) => format!("is BROKEN, is put aside and made anew: {why}"),
        };
        let mut rows = vec![
            (title.to_owned(), String::new()),
            ("database".to_owned(), format!("{} {state}", self.url)),
            ("backup".to_owned(), about(&self.order.backup)),
        ];
        match &self.lost {
            None => rows.push((
                "lost".to_owned(),
                "everything that is there and not in the backup; it can't be counted".to_owned(),
            )),
            Some(lost) => {
                let more = lost.len().saturating_sub(SHOWN);
                for one in lost.iter().take(SHOWN) {
                    rows.push(("lost".to_owned(), one.message.clone()));
                }
                if more > 0 {
                    rows.push(("lost".to_owned(), format!("and {more} more")));
                }
            }
        }
        for note in &self.notes {
            rows.push(("note".to_owned(), note.clone()));
        }
        rows
    }
}

fn finding(difference: &recovery::Difference) -> Finding {
    let text = format!("{}: {}", difference.object, difference.detail);
    Finding::error("restore.loss", text)
}

/// The database's URL; where the config file is gone, that of the backup's copy of it.
fn url(
    global: &Global,
    deployment: &Deployment,
    root: &Root,
    order: &Order,
    notes: &mut Vec<String>,
) -> Result<DatabaseUrl, Failure> {
    let failure = match deployment.url(global) {
        Ok((url, _)) => return Ok(url),
        Err(failure) => failure,
    };
    let copy = match (&order.backup, &order.version) {
        (Stored::Point(point), _) => point.config_backup.clone(),
        (Stored::Bare(_), Some(version)) => Some(format!("backups/config_{version}.toml")),
        (Stored::Bare(_), None) => None,
    };
    let text = copy
        .as_ref()
        .and_then(|copy| migrate_config::atomic::read_text(root, std::path::Path::new(copy)).ok());
    let (Some(copy), Some(text)) = (copy, text) else {
        return Err(failure);
    };
    notes.push(format!(
        "the config file names no database; its URL is taken from {copy}"
    ));
    deployment.url_in(&copy, &text)
}

/// A backup of one database is not put over another one's data by mistake.
async fn refuse_other(
    global: &Global,
    backup: &Stored,
    database: &migrate_schema::db::Database,
) -> Result<(), Failure> {
    let Stored::Point(point) = backup else {
        return Ok(());
    };
    let now = database
        .identity()
        .await
        .map_err(|error| Failure::from(error.into_step_error("can't tell which database it is")))?;
    let then = &point.data_snapshot.database;
    if same(then, &now) || skips(global, "same-database") {
        return Ok(());
    }
    let empty = migrate_schema::catalog::user_tables(database)
        .await
        .is_ok_and(|tables| tables.is_empty());
    if empty {
        return Ok(());
    }
    Err(Failure::unchanged(format!(
        "{} is a copy of {then}, and this is {now}, with data in it: restoring would replace that",
        backup.file()
    ))
    .hint("give the right --database-url; if this is meant, --skip-check same-database"))
}

/// The same file by its path (a new one has another inode), or the same database of the same
/// server, which tells itself apart by its system identifier.
fn same(then: &str, now: &str) -> bool {
    let path = |text: &str| text.split(" (device ").next().map(str::to_owned);
    let parts = |text: &str| -> Option<(String, String)> {
        let (place, system) = text.split_once(" (system ")?;
        Some((place.rsplit('/').next()?.to_owned(), system.to_owned()))
    };
    match (parts(then), parts(now)) {
        (Some(then), Some(now)) => then == now,
        _ => path(then) == path(now),
    }
}

#[cfg(test)]
mod tests {
    use super::same;

    #[test]
    fn a_database_is_known_again() {
        for (then, now, expected) in [
            ("h:5432/db (system 7)", "other:6000/db (system 7)", true),
            ("h:5432/db (system 7)", "h:5432/db (system 8)", false),
            ("h:5432/db (system 7)", "h:5432/x (system 7)", false),
            ("h:5432/db", "h:5432/db", true),
            ("h:5432/db (system 7)", "h:5432/db", false),
            (
                "/a/x.db (device 1, inode 2)",
                "/a/x.db (device 1, inode 9)",
                true,
            ),
            (
                "/a/x.db (device 1, inode 2)",
                "/b/x.db (device 1, inode 2)",
                false,
            ),
        ] {
            assert_eq!(same(then, now), expected, "{then} {now}");
        }
    }
}
