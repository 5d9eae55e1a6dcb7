//! What a user does with the real binary, on both databases: written from the promises of
//! the documentation, not from the code.
#![expect(clippy::unwrap_used, reason = "in a test it is an assertion")]

mod shipped;

mod backups;
mod backups_by_hand;
mod bad_rows;
mod carried_back;
mod changes;
mod check_values;
mod children;
mod conflict_clauses;
mod crash;
mod data_verbs;
mod deadline;
mod demo;
mod dependents;
mod dry_run;
mod emergency;
mod environments;
mod examples;
mod exit_codes;
mod failing;
mod foreign_restores;
mod forged;
mod forward;
mod from_env;
mod help;
mod history;
mod hostile_plans;
mod hundred_thousand;
mod killed_copies;
mod late_writes;
mod locking;
mod losses;
mod lost_state;
mod minor_upgrade;
mod others_during_a_run;
mod own_files;
mod own_rows;
mod plan_files;
mod plans;
mod planted;
mod planted_everywhere;
mod postgres_sessions;
mod preflight;
mod printable;
mod printed_commands;
mod rehearse;
mod rollback;
mod rows;
mod schema;
mod schema_steps;
mod schemas;
mod scripts;
mod secrets;
mod services;
mod services_that_fail;
mod signed_plans;
mod skip_check;
mod source_url;
mod sqlite_file;
mod standing;
mod terminal;
mod triggers_of_the_user;
mod url_parameters;
mod version_paths;
mod way_back;
mod way_home;
mod wrong_config;
mod wrong_database;
mod wrong_plan;

/// Turns functions of a [`Store`](migrate_tests::deployment::Store) into a test on each.
macro_rules! on_both {
    ($($(#[$meta:meta])* $name:ident),+ $(,)?) => {
        mod sqlite {
            $($(#[$meta])* #[test] fn $name() {
                super::$name(migrate_tests::deployment::Store::Sqlite);
            })+
        }
        mod postgres {
            $($(#[$meta])* #[test] fn $name() {
                super::$name(migrate_tests::deployment::Store::Postgres);
            })+
        }
    };
}
pub(crate) use on_both;
