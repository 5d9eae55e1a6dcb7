#!/usr/bin/env bash
# Public projects' own migrations here and there: psql or sqlite3 runs the files in order, each in a
# transaction where it is not marked otherwise; `schema apply` runs them in another database of the same
# server; then the catalogs are compared byte for byte and `schema verify --scratch` tries the downs.
#
#   bench/real-projects.sh all CLONES            the projects of docs/schema.md that CLONES/NAME holds
#   bench/real-projects.sh one NAME DIR LAYOUT postgres|sqlite [TO]
#   bench/real-projects.sh export NAME CLONE DIR  the migrations of a project's clone (bare or not)
#
# PGHOST, PGPORT, PGUSER name a server on which databases may be made (needed for PostgreSQL only), BIN
# the release build. A line a project on stdout, differences and failures in $WORK (default: a new
# directory), exit 1 if a catalog differs. VERIFY=no leaves the downs out.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
BIN="${BIN:-$PWD/target/release/etlrs-migrate}"
WORK="${WORK:-$(mktemp -d)}"
VERIFY="${VERIFY:-yes}"
mkdir -p "$WORK"

# name, folder in the repository, layout, database, last version ("" for all)
PROJECTS="
crates.io|migrations|diesel|postgres|
lemmy|migrations|diesel|postgres|
hatchet|cmd/hatchet-migrate/migrate/migrations|goose|postgres|20260421184231
mas|crates/storage-pg/migrations|sqlx|postgres|
marquez|api/src/main/resources/marquez/db/migration|flyway|postgres|
kratos|persistence/sql/migrations/sql|golang-migrate|sqlite|
"

SQLX_TABLE='create table _sqlx_migrations (version bigint primary key, description text not null,
    installed_on timestamptz not null default now(), success boolean not null, checksum bytea not null,
    execution_time bigint not null)'

# What `verify --format json` comes to, in a few words.
SUMMARY='. as $all |
    "\(.tried) tried: \(.restore) restore" +
    ([$all.migrations[] | select(.restores | not) | .verdict] | group_by(.) |
     map(", \(length) \(.[0])") | join("")) +
    (if .stopped then ", stopped at \(.stopped.migration)" else "" end)'

project() { echo "$PROJECTS" | grep "^$1|" || { echo "no project $1" >&2; exit 2; }; }

export_files() { # NAME CLONE DIR
    local name folder
    IFS='|' read -r name folder _ < <(project "$1")
    rm -rf "$3"; mkdir -p "$3"
    git -C "$2" archive HEAD "$folder" | tar x -C "$3" --strip-components="$(tr '/' '\n' <<<"$folder" | wc -l)"
    case $name in
        kratos) only_sqlite "$3" ;;
        # Diesel's own helper, and one that needs the tool's own table.
        lemmy) rm -rf "$3"/*_forbid_diesel_cli ;;
    esac
}

# Ory's `V_name.DATABASE.up.sql` as `V_name.up.sql`: the file for SQLite, else the one for all.
only_sqlite() {
    local file base end
    mkdir "$1/.all"; mv "$1"/*.sql "$1/.all"
    for end in up down; do
        for file in "$1/.all"/*."$end.sql"; do
            base=$(basename "$file"); base=${base%%.*}
            for kind in sqlite3.autocommit. sqlite3. sqlite.autocommit. sqlite. autocommit. ""; do
                [ -e "$1/.all/$base.$kind$end.sql" ] || continue
                cp "$1/.all/$base.$kind$end.sql" "$1/$base.$end.sql"
                break
            done
        done
    done
    rm -r "$1/.all"
    find "$1" ! -name '*.up.sql' ! -name '*.down.sql' -type f -delete
    find "$1" -mindepth 1 -type d -exec rm -r {} +
}

# The files in order: VERSION FILE
in_order() { # DIR LAYOUT
    local file version
    case $2 in
        diesel) for file in "$1"/*/up.sql; do
                    version=$(basename "$(dirname "$file")"); version=${version%%_*}
                    echo "${version//-/} $file"
                done | LC_ALL=C sort -k1,1 ;;
        flyway) for file in "$1"/V*__*.sql; do
                    version=$(basename "$file"); version=${version#V}; version=${version%%__*}
                    echo "${version//_/.} $file"
                done | sort -V -k1,1
                for file in "$1"/R__*.sql; do [ ! -e "$file" ] || echo "R $file"; done | LC_ALL=C sort ;;
        *) for file in "$1"/*.sql; do
               case $file in *.down.sql) continue ;; esac
               version=$(basename "$file")
               echo "${version%%_*} $file"
           done | sort -n -k1,1 ;;
    esac
}

# Whether a file is marked to run outside a transaction.
is_alone() { # FILE LAYOUT
    case $2 in
        diesel) grep -qs 'run_in_transaction *= *false' "$(dirname "$1")/metadata.toml" ;;
        goose) grep -qiE '^-- *\+goose +no +transaction' "$1" ;;
        dbmate) grep -qE '^-- *migrate:up.*transaction:false' "$1" ;;
        flyway) grep -qiE '^[^-]*index +concurrently' "$1" ;;
        sqlx) head -1 "$1" | grep -q '^-- *no-transaction' ;;
        *) return 1 ;;
    esac
}

# The part of a file that goes up.
up_of() { # FILE LAYOUT
    case $2 in
        goose) awk '/^-- *\+goose +Down/ { exit } { print }' "$1" ;;
        dbmate) awk '/^-- *migrate:down/ { exit } { print }' "$1" ;;
        *) cat "$1" ;;
    esac
}

# One script of all files up to a version.
script() { # DIR LAYOUT TO
    local version file
    while read -r version file; do
        if is_alone "$file" "$2"; then up_of "$file" "$2"; printf '\n;\n'
        else echo 'begin;'; up_of "$file" "$2"; printf '\n;\ncommit;\n'; fi
        [ "$version" != "${3:-}" ] || break
    done < <(in_order "$1" "$2")
}

# Seconds of a command; what it says goes into a file.
seconds() { # LOG COMMAND…
    local log=$1 from
    shift
    from=$(date +%s.%N)
    "$@" >"$log" 2>&1 || { echo "failed: $* (see $log)" >&2; tail -5 "$log" >&2; return 1; }
    awk -v a="$from" -v b="$(date +%s.%N)" 'BEGIN { printf "%.1f", b - a }'
}

# What is in a database, without our own objects and what differs from call to call.
catalog() { # URL or FILE, DATABASE
    if [ "$2" = postgres ]; then
        pg_dump --schema-only -N etlrs_migrate -d "$1" | sed '/^\\\(un\)\?restrict /d'
    else
        sqlite3 "$1" "select type, name, tbl_name, sql from sqlite_master
            where name not like '\\_etlrs\\_%' escape '\\' and tbl_name not like '\\_etlrs\\_%' escape '\\'
            order by type, name"
    fi
}

one() { # NAME DIR LAYOUT DATABASE [TO]
    local name=$1 dir=$2 layout=$3 database=$4 to=${5:-} here there url files applied took_here took_there
    local same downs="not tried" code=0
    local upto=() log="$WORK/$name"
    [ -z "$to" ] || upto=(--to "$to")
    files=$(in_order "$dir" "$layout" | wc -l)
    script "$dir" "$layout" "$to" >"$log.there.sql"
    if [ "$database" = postgres ]; then
        here="here_${name//[!a-z]/}" there="there_${name//[!a-z]/}"
        for url in "$here" "$there"; do dropdb --if-exists "$url" 2>/dev/null; createdb -T template0 "$url"; done
        if [ "$name" = mas ]; then # a migration of it corrects sqlx's own table
            for url in "$here" "$there"; do psql -X -q -d "$url" -c "$SQLX_TABLE"; done
        fi
        took_there=$(seconds "$log.there.log" psql -X -q -v ON_ERROR_STOP=1 -d "$there" -f "$log.there.sql") || return 1
        url="postgres://$(jq -rn --arg u "${PGUSER:-$USER}" '$u|@uri')@localhost:${PGPORT:-5432}/$here"
    else
        here="$log.here.db" there="$log.there.db"
        rm -f "$here"* "$there"*
        sqlite3 "$here" 'vacuum'
        took_there=$(seconds "$log.there.log" sqlite3 -bail "$there" ".read $log.there.sql") || return 1
        url="sqlite:$here"
    fi
    took_here=$(seconds "$log.here.log" "$BIN" schema apply --source "$dir" --layout "$layout" "${upto[@]}" --database-url "$url") || return 1
    applied=$("$BIN" schema status --source "$dir" --layout "$layout" --database-url "$url" --format json 2>/dev/null |
        jq '[.migrations[] | select(.state == "applied")] | length')
    catalog "$here" "$database" >"$log.here.catalog"
    catalog "$there" "$database" >"$log.there.catalog"
    if diff "$log.there.catalog" "$log.here.catalog" >"$log.diff"; then same=equal
    else same="$(wc -l <"$log.diff") lines differ: $log.diff"; fi
    if [ "$VERIFY" = yes ]; then
        local from; from=$(date +%s)
        "$BIN" schema verify --scratch --source "$dir" --layout "$layout" "${upto[@]}" --database-url "$url" --format json \
            >"$log.verify.json" 2>"$log.verify.log" || code=$?
        case $code in
            0 | 8) downs="$(jq -r "$SUMMARY" "$log.verify.json"), $(($(date +%s) - from)) s" ;;
            *) downs="verify ended with $code: $log.verify.log" ;;
        esac
    fi
    echo "| $name ($layout), $database | $files | $applied | $downs | $took_here s | $took_there s | $same |"
    [ "$same" = equal ]
}

all() { # CLONES
    local name folder layout database to failed=0
    echo "| project, server | files | applied | verify | here | psql, sqlite3 | catalogs |"
    echo "|---|---|---|---|---|---|---|"
    while IFS='|' read -r name folder layout database to; do
        [ -n "$name" ] && [ -d "$1/$name" ] || continue
        export_files "$name" "$1/$name" "$WORK/$name.files"
        one "$name" "$WORK/$name.files" "$layout" "$database" "$to" </dev/null || failed=1
    done <<<"$PROJECTS"
    return $failed
}

what=${1:-}
case $what in
    all | one) shift; "$what" "$@" ;;
    export) shift; export_files "$@" ;;
    *) sed -n '2,15s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
