//! Copies on real databases.

mod checks;
mod keys;
mod migrator;
mod pipelines;
mod resume;
mod rows_of_others;
mod world;
