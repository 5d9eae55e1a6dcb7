#!/usr/bin/env bash
# Everything that must hold before a change lands, from a clean checkout, as any user.
# Installs what the tests need where it is missing (Debian, Ubuntu).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# The tests bring their own databases; a developer's settings must not leak in.
unset DATABASE_URL ETLRS_TEST_BIN
for name in $(compgen -e PG || true); do unset "$name"; done

title() { printf '\n== %s\n' "$*"; }

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -n "$@"; fi
}

have_server() {
    [ -n "${ETLRS_TEST_PG_BIN:-}" ] || command -v initdb >/dev/null ||
        compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null ||
        [ -x "$(pg_config --bindir 2>/dev/null || true)/initdb" ]
}

have_all() {
    have_server && command -v pg_dump >/dev/null && command -v psql >/dev/null &&
        command -v sqlite3 >/dev/null && command -v runsvdir >/dev/null &&
        command -v strace >/dev/null
}

# Debian starts a server of its own on installation; nobody asked for one, so its package
# is told not to, and its setting is put back afterwards.
install_packages() {
    local apt=(env DEBIAN_FRONTEND=noninteractive apt-get -q)
    local conf=/etc/postgresql-common/createcluster.conf
    if ! command -v apt-get >/dev/null; then
        echo "the tests need PostgreSQL 15 or later (server and client programs), sqlite3 and runit;" >&2
        echo "install them, or name the server's programs in ETLRS_TEST_PG_BIN" >&2
        exit 1
    fi
    as_root "${apt[@]}" update
    as_root "${apt[@]}" install -y --no-install-recommends postgresql-common postgresql-client sqlite3 runit strace
    if ! have_server; then
        as_root cp "$conf" "$conf.etlrs-saved"
        echo 'create_main_cluster = false' | as_root tee -a "$conf" >/dev/null
        local status=0
        as_root "${apt[@]}" install -y --no-install-recommends postgresql || status=$?
        as_root mv "$conf.etlrs-saved" "$conf"
        [ "$status" -eq 0 ] || exit "$status"
    fi
}

if ! have_all; then
    title "install PostgreSQL, sqlite3 and runit"
    install_packages
    have_all || { echo "PostgreSQL, sqlite3 or runit is still missing after the installation" >&2; exit 1; }
fi
for component in fmt clippy; do
    cargo "$component" --version >/dev/null 2>&1 || rustup component add rustfmt clippy
done

title "format"
cargo fmt --all --check

title "lints"
cargo clippy --workspace --all-targets -- -D warnings

title "documentation"
RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps

# Built together with the tests, so that dependencies are compiled once; the scenarios run it.
title "tests"
cargo build --workspace --all-targets
target=$(cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
ETLRS_TEST_BIN="$target/debug/etlrs-migrate" cargo test --workspace

# The schema engine on every other release of PostgreSQL whose programs are here, and on the one that
# ETLRS_TEST_PG_NEWER names. The suite above takes the newest of Debian's, or ETLRS_TEST_PG_BIN.
title "the schema engine on other releases of PostgreSQL"
taken="${ETLRS_TEST_PG_BIN:-$(compgen -G '/usr/lib/postgresql/*/bin' | sort -V | tail -1 || true)}"
others=0
for bin in $(compgen -G '/usr/lib/postgresql/*/bin' || true) ${ETLRS_TEST_PG_NEWER:-}; do
    if [ "$bin" = "$taken" ] || [ ! -x "$bin/initdb" ]; then continue; fi
    release=$("$bin/initdb" --version | grep -oE '[0-9]+' | head -1)
    [ "$release" -ge 15 ] || continue # older ones are refused
    others=$((others + 1))
    echo "$("$bin/initdb" --version) in $bin"
    PATH="$bin:$PATH" ETLRS_TEST_PG_BIN="$bin" ETLRS_TEST_BIN="$target/debug/etlrs-migrate" \
        cargo test -p migrate-tests --test scenarios -- schema::
    PATH="$bin:$PATH" ETLRS_TEST_PG_BIN="$bin" cargo test -p migrate-schema -p migrate-rollback
done
[ "$others" -gt 0 ] || echo "there is none (CONTRIBUTING.md tells where to get one)"

# A warning is an error here too, without other flags, by which everything would be built anew.
check() {
    local said
    said=$(cargo check -q "$@" 2>&1) && [ -z "$said" ] || { echo "$said" >&2; exit 1; }
}

title "each crate alone"
for crate in migrate-core migrate-config migrate-service; do
    check -p "$crate"
done
for crate in migrate-schema migrate-data migrate-rollback; do
    for database in sqlite postgres; do
        echo "$crate with $database only"
        check -p "$crate" --no-default-features --features "$database"
    done
done
for crate in migrate-data migrate-rollback; do
    for database in sqlite postgres; do
        echo "$crate with $database only, the database handle with both"
        check -p "$crate" -p migrate-schema --no-default-features \
            --features "$crate/$database,migrate-schema/sqlite,migrate-schema/postgres"
    done
done

title "the demo, as a newcomer runs it"
scripts/demo-test.sh

title "all good"
