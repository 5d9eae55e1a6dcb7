#!/usr/bin/env bash
# Kills copies (both databases), and workers among several, so many rounds: kill-rounds.sh [ROUNDS]
set -euo pipefail
cd "$(dirname "$0")/.."
ETLRS_KILL_ROUNDS="${1:-200}" cargo test -p migrate-tests --test scenarios -- \
    data_verbs::sqlite::a_killed data_verbs::postgres::a_killed data_verbs::workers
