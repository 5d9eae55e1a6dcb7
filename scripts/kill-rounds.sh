#!/usr/bin/env bash
# Kills copies and their workers, so many rounds of each kind, with the release build: kill-rounds.sh [ROUNDS]
# It prints a line of docs/reliability.md's table for each kind; one that loses or doubles a row fails.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo build --release -p migrate-cli
export ETLRS_TEST_BIN="$PWD/target/release/etlrs-migrate" ETLRS_KILL_ROUNDS="${1:-30}"
echo "| what is copied | rounds | kills | resumed | taken back | ended |"
cargo test -p migrate-tests --test scenarios -- --nocapture \
    data_verbs::sqlite::a_killed data_verbs::postgres::a_killed killed_copies bad_rows::sqlite::killed bad_rows::postgres::killed data_verbs::workers
