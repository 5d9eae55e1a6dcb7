//! Locks that pass: what met one is tried again.

use std::time::Duration;

use migrate_schema::db::{DbError, DbErrorKind};

/// How often something is tried before a lock counts as there to stay. Each try waits for the
/// database's own time first.
const TRIES: u32 = 5;

/// Whether a lock was in the way that passes, and this (counted from 1) was not the last try;
/// waits a little then.
pub(crate) async fn tries_again(error: &DbError, tries: &mut u32) -> bool {
    let passing = error.kind == DbErrorKind::Lock || error.code.as_deref() == Some("40001");
    if !passing || *tries >= TRIES {
        return false;
    }
    tokio::time::sleep(Duration::from_millis(50) * *tries).await;
    *tries += 1;
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_a_lock_is_waited_for_and_not_for_ever() {
        let lock = DbError::new(DbErrorKind::Lock, "database is locked");
        let mut tries = 1;
        for _ in 1..TRIES {
            assert!(tries_again(&lock, &mut tries).await);
        }
        assert!(!tries_again(&lock, &mut tries).await);
        let other = DbError::new(DbErrorKind::Constraint, "a row is there twice");
        assert!(!tries_again(&other, &mut 1).await);
    }
}
