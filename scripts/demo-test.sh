#!/usr/bin/env bash
# The README's first command, then the way back, compared with the rollback point.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
demo=$work/demo

fail() {
    echo "demo: $*" >&2
    exit 1
}

tool() { cargo run --release --quiet -- "$@"; }

# What the tool keeps for itself while a run can be rolled back is not the user's.
dump() { sqlite3 -readonly "$1" .dump | grep -v '_etlrs_' | sort; }

tool demo --dir "$demo"
tool -C "$demo" status
tool -C "$demo" status --format json | grep -q '2\.0\.0' || fail "the demo is not at 2.0.0"

backup=$(ls "$demo"/backups/etlrs_backup_*.db)
database=$(sed -n 's/^url *= *"sqlite:\(\/\/\)\{0,1\}\([^"?]*\).*/\2/p' "$demo/config/config.toml")
[ -f "$demo/$database" ] || fail "the config names no database that exists"
[ "$(sqlite3 -readonly "$demo/$database" 'SELECT count(*) FROM pipelines')" -ge 10000 ] ||
    fail "the demo holds fewer than 10,000 pipelines"
dump "$backup" >"$work/before"
if dump "$demo/$database" | cmp -s - "$work/before"; then fail "the migration changed nothing"; fi

tool -C "$demo" --rollback --to 1.5.0
dump "$demo/$database" | cmp - "$work/before" || fail "the database is not as it was"
cmp "$demo/config/config.toml" "$demo/backups/config_1.5.0.toml" || fail "the config is not as it was"
tool -C "$demo" status --format json | grep -q '1\.5\.0' || fail "the demo is not back at 1.5.0"

if tool demo --dir "$work" >/dev/null 2>&1; then fail "demo took a directory that is not empty"; fi
echo "the demo went to 2.0.0 and back: database and config are as before"
