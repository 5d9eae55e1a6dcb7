#!/usr/bin/env bash
# scripts/world.sh ROUNDS [SEED] [FIRST]: others at work in the middle of runs on this machine, one
# process at a time. Prints a table; exits with 1 if a round lost something.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
cargo build -q --release -p migrate-cli --bin etlrs-migrate
cargo build -q --release -p migrate-cli --features failpoints --bin etlrs-migrate-failpoints
target=$(cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
export ETLRS_TEST_BIN="$target/release/etlrs-migrate"
export ETLRS_TEST_FAILPOINTS_BIN="$target/release/etlrs-migrate-failpoints"
# What SIGKILL leaves is what the kernel has; a disk would only make it slower.
if [ -z "${TMPDIR:-}" ] && [ -w /dev/shm ]; then export TMPDIR=/dev/shm; fi
exec cargo run -q -p migrate-tests --bin world -- "${@:-100}"
