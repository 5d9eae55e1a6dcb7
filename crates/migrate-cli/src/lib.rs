//! Command line of etlrs-migrate.
