//! Copies of the table `src` into the table `dst` by the verbs of `data`.

use std::io::Write;

use crate::deployment::Store;

/// A relation with the numbers from 1 to `count` in its column `i`, for a FROM.
pub fn numbers(store: Store, count: u64) -> String {
    match store {
        Store::Postgres => format!("generate_series(1, {count}) AS i"),
        Store::Sqlite => format!(
            "(WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count}) SELECT i FROM n)"
        ),
    }
}

/// The arguments of `data migrate` or `data verify` with a script.
pub fn arguments<'a>(verb: &'a str, script: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut all = vec!["data", verb, "--source", "src", "--target", "dst"];
    all.extend(["--transform", script]);
    all.extend(more);
    all
}

/// How many rounds a kill test makes: `ETLRS_KILL_ROUNDS`, or few.
///
/// # Panics
/// If the variable is no number.
pub fn kill_rounds(few: u64) -> u64 {
    let more = std::env::var("ETLRS_KILL_ROUNDS").ok();
    more.map_or(few, |text| text.parse().expect("a number of rounds"))
}

/// What came of the rounds of a kill test, told as a line of a table when it goes away.
#[derive(Debug)]
pub struct Tally {
    what: String,
    /// Rounds that were checked to their end.
    pub rounds: u64,
    /// Processes that got SIGKILL while a copy was under way.
    pub kills: u64,
    /// Copies that `data resume` brought to their end.
    pub resumed: u64,
    /// Copies that `data undo` took back.
    pub taken_back: u64,
    /// Copies that came to their end before anybody struck, or although somebody did.
    pub ended: u64,
}

impl Tally {
    /// For a kill test.
    pub fn of(what: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            rounds: 0,
            kills: 0,
            resumed: 0,
            taken_back: 0,
            ended: 0,
        }
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        let line = format!(
            "| {} | {} | {} | {} | {} | {} |\n",
            self.what, self.rounds, self.kills, self.resumed, self.taken_back, self.ended
        );
        drop(std::io::stderr().lock().write_all(line.as_bytes()));
    }
}
