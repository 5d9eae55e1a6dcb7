//! Rollback points, backups, restore, journal store and run lock.
