//! Database handle, SQL scripts, catalog, fingerprints and schema steps for PostgreSQL and SQLite.
