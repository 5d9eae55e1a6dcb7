//! Copies on real databases.
#![expect(
    clippy::unwrap_used,
    reason = "the functions that tests share are tests too"
)]

mod checks;
mod elsewhere;
mod foreseen;
mod given_twice;
mod indexes;
mod keys;
mod migrator;
mod pipelines;
mod places;
mod proof;
mod resume;
mod rows_of_others;
mod straight;
mod world;
mod written_twice;
