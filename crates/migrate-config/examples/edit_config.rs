//! Migrates a configuration given as the first argument from 1.x to 2.0 and prints it:
//! `cargo run -p migrate-config --example edit_config -- "$(cat config.toml)"`.

use std::process::ExitCode;

use migrate_config::{Edit, edit_text, migrate_text_v1_to_v2};

#[expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "an example shows what it made"
)]
fn main() -> ExitCode {
    let Some(text) = std::env::args().nth(1) else {
        eprintln!("usage: edit_config TEXT");
        return ExitCode::from(2);
    };
    let tuned = Edit::Set {
        path: "database.pool_size".parse().expect("a path of keys"),
        value: 20.into(),
    };
    let migrated = migrate_text_v1_to_v2("config.toml", &text)
        .and_then(|migrated| edit_text("config.toml", &migrated.text, &[tuned]));
    match migrated {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(findings) => {
            for finding in findings {
                eprintln!("{finding}");
            }
            ExitCode::FAILURE
        }
    }
}
