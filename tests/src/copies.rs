//! Copies of the table `src` into the table `dst` by the verbs of `data`.

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
