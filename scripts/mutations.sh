#!/usr/bin/env bash
# scripts/mutations.sh [ROWS]: changes, drops, doubles or swaps one row of so many (1,000,000) after a
# copy, on both databases. Verification has to name it: prints a table, exits with 1 if it does not.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
cargo build -q --release -p migrate-cli --bin etlrs-migrate
target=$(cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
export ETLRS_TEST_BIN="$target/release/etlrs-migrate"
exec cargo run -q -p migrate-tests --bin mutations -- "${@:-1000000}"
