//! What a restore has to come to before it may commit, judged inside its own transaction.

use std::collections::BTreeMap;

use migrate_core::{Fingerprint, OnDifference, StepError, StepErrorKind};
use migrate_schema::catalog::lines_of_diff;
use migrate_schema::quote::TableName;
use serde::{Deserialize, Serialize};

use crate::canonical::State;
use crate::others::{Change, Own};

/// How many differences an error names.
const SHOWN: usize = 10;

/// What a rollback point was made of: what is compared, and the texts that it stands for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Expected {
    /// The fingerprint of the whole database.
    pub(crate) fingerprint: Fingerprint,
    /// The definitions of its objects by name; none where the point is of a build that did not
    /// keep them.
    pub(crate) definitions: Option<BTreeMap<String, String>>,
}

/// What is asked of a restore, and what it came to.
#[derive(Debug, Default)]
pub(crate) struct Proof {
    /// None for a backup of which nothing is recorded.
    pub(crate) expected: Option<Expected>,
    /// What the run wrote itself; none where everything is replaced, whoever wrote it.
    pub(crate) own: Option<Own>,
    /// What others wrote and stays, with the sums of their rows.
    pub(crate) kept: Vec<Change>,
    pub(crate) kept_sums: BTreeMap<String, String>,
    /// What a difference leads to.
    pub(crate) on_difference: OnDifference,
    /// What differs from the expected state, as it was accepted.
    pub(crate) differences: Vec<String>,
}

impl Proof {
    /// Whether the result has to be read before the commit.
    pub(crate) fn compares(&self) -> bool {
        self.expected.is_some()
    }

    /// Whether rows of others have to be told from the run's before anything is dropped.
    pub(crate) fn looks_for_others(&self) -> bool {
        self.expected.is_some() && self.own.is_some()
    }

    /// Whether what is expected has no schema `public`, which every new database has.
    #[cfg(feature = "postgres")]
    pub(crate) fn was_without_public(&self) -> bool {
        self.expected.as_ref().is_some_and(|expected| {
            let found = &expected.fingerprint.0;
            // A fingerprint of an old build has no entries of schemas.
            found.contains_key(Fingerprint::HOLDS_FACTS)
                && !found.contains_key("catalog schema public")
        })
    }

    /// Which tables' rows stay, by what is there before anything is dropped, with nobody writing.
    ///
    /// # Errors
    /// [`StepErrorKind::OthersWrote`]: others wrote to what has to be restored.
    pub(crate) fn keep(&mut self, now: &State) -> Result<Vec<TableName>, StepError> {
        let (Some(expected), Some(own)) = (&self.expected, &self.own) else {
            return Ok(Vec::new());
        };
        let changes = own.changes(&expected.fingerprint, &now.fingerprint);
        let tables: Vec<TableName> = changes
            .iter()
            .filter_map(|change| change.table.parse().ok())
            .collect();
        if tables.len() != changes.len() || !changes.iter().all(|change| change.keepable) {
            return Err(others_wrote(&changes));
        }
        let sum = |change: &Change| {
            let key = format!("rows {}", change.table);
            let sum = now.fingerprint.0.get(&key)?.clone();
            Some((key, sum))
        };
        self.kept_sums = changes.iter().filter_map(sum).collect();
        self.kept = changes;
        Ok(tables)
    }

    /// Whether what is there now, before the commit, may stay.
    ///
    /// # Errors
    /// What differs; the caller rolls back.
    pub(crate) fn judge(&mut self, found: &State) -> Result<(), StepError> {
        let Some(mut expected) = self.expected.clone() else {
            return Ok(());
        };
        expected.fingerprint.0.extend(self.kept_sums.clone());
        let differences = expected.differences(found);
        if differences.is_empty() {
            return Ok(());
        }
        if self.on_difference == OnDifference::Accept {
            self.differences = differences;
            return Ok(());
        }
        let mut error = StepError::failed(
            "what the backup restores to is not what the database was when it was made; \
             nothing was changed",
        )
        .hint(
            "the backup itself is untouched; if this difference does not matter, restore again \
             with --accept-difference, and it is recorded",
        );
        error.kind = StepErrorKind::Differs;
        let more = differences.len().saturating_sub(SHOWN);
        error.causes = differences.into_iter().take(SHOWN).collect();
        if more > 0 {
            error.causes.push(format!("and {more} more"));
        }
        Err(error)
    }
}

fn others_wrote(changes: &[Change]) -> StepError {
    let mut error = StepError::failed(
        "others wrote to the database while the upgrade ran, and restoring the rollback point \
         would lose it; nothing was restored",
    );
    error.kind = StepErrorKind::OthersWrote;
    error.causes = changes
        .iter()
        .map(|change| change.loss.to_string())
        .collect();
    error
}

impl Expected {
    /// What differs in `found`, an object each: definitions as lines of SQL where both are known.
    pub(crate) fn differences(&self, found: &State) -> Vec<String> {
        let (was, is) = (&self.fingerprint.0, &found.fingerprint.0);
        self.fingerprint
            .names_to_compare(&found.fingerprint)
            .into_iter()
            .filter(|name| was.get(*name) != is.get(*name))
            .map(|name| self.difference(name, found))
            .collect()
    }

    fn difference(&self, name: &str, found: &State) -> String {
        let (was, is) = (self.fingerprint.0.get(name), found.fingerprint.0.get(name));
        if let Some(table) = name.strip_prefix("rows ") {
            return format!("table {table}: {}", rows(was, is));
        }
        let object = name.strip_prefix("catalog ");
        let object = object.or_else(|| name.strip_prefix(Fingerprint::FACT));
        let object = object.unwrap_or(name);
        let how = match (was, is) {
            (_, None) => "is missing",
            (None, _) => "is there and was not",
            _ => "is defined otherwise",
        };
        let old = self
            .definitions
            .as_ref()
            .map(|definitions| definitions.get(object));
        let new = found.catalog.objects().get(object);
        match old {
            // A point of an older build holds no text of what was.
            None => format!("{object} {how}"),
            Some(old) => format!("{object} {how}{}", lines_of_diff(old, new)),
        }
    }
}

/// `COUNT SUM` of both sides as people read it.
fn rows(was: Option<&String>, is: Option<&String>) -> String {
    let count = |sum: Option<&String>| {
        let text = sum.and_then(|sum| sum.split(' ').next());
        text.map_or_else(|| "none".to_owned(), str::to_owned)
    };
    let (was, is) = (count(was), count(is));
    if was == is {
        format!("{was} rows as before, but with other content")
    } else {
        format!("{is} rows, and there were {was}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sums(pairs: &[(&str, &str)]) -> Fingerprint {
        let own = |(name, sum): &(&str, &str)| ((*name).to_owned(), (*sum).to_owned());
        Fingerprint(pairs.iter().map(own).collect())
    }

    #[test]
    fn a_difference_is_an_object_and_its_sql() {
        let view = "view public.v".to_owned();
        let expected = Expected {
            fingerprint: sums(&[
                ("rows public.a", "3 x"),
                ("rows public.b", "3 x"),
                ("catalog view public.v", "1"),
            ]),
            definitions: Some(BTreeMap::from([(view, "SELECT 1".to_owned())])),
        };
        let found = State {
            fingerprint: sums(&[("rows public.a", "5 y"), ("rows public.b", "3 y")]),
            ..State::default()
        };
        assert_eq!(
            expected.differences(&found),
            [
                "view public.v is missing\n- SELECT 1",
                "table public.a: 5 rows, and there were 3",
                "table public.b: 3 rows as before, but with other content",
            ]
        );
        let mut proof = Proof {
            expected: Some(expected.clone()),
            ..Proof::default()
        };
        assert!(proof.judge(&found).is_err());
        proof.on_difference = OnDifference::Accept;
        proof.judge(&found).unwrap();
        assert_eq!(proof.differences.len(), 3);
    }
}
