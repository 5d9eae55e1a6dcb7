//! What is dangerous in migrations, said before they run.
//!
//! Reading order: [`RULES`] (what is looked for), `deed` (what a statement does), [`Schema`] and
//! [`Known`] (what is known while it is read), `lock` (what it holds on PostgreSQL), `rules`
//! (the findings), `ignore` (comments that take one back), `squawk` (the rules of that
//! library), [`lint`] (a whole set), `live` (what the database tells), [`gravest`] (what
//! is worth a warning before a run).
//!
//! *Invariant*: all but `live` and `gravest` is pure: statements and what is known go in, findings come out.

mod batch;
mod deed;
mod gravest;
mod guess;
mod ignore;
mod known;
mod live;
mod lock;
mod report;
mod rule;
mod rule_table;
mod rules;
mod run;
mod scene;
mod schema;
mod squawk;

pub use gravest::{gravest, gravest_of_script};
pub use guess::{Guess, guess_backend};
pub use known::{Known, TableSize};
pub use lock::{LockMode, TableLock, Work};
pub use report::{Ignored, LintFinding, Report, StatementLocks};
pub use rule::{Databases, Level, Levels, Origin, Rule, rule};
pub use rule_table::RULES;
pub use run::{Chosen, lint};
pub use schema::Schema;
