#!/usr/bin/env bash
# The guide's migration script: its flags and messages, the work done by etlrs-migrate, which
# checks, stops services, makes the backup, migrates, validates and starts services itself.
set -euo pipefail

SCRIPT_DIR="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
PROJECT_ROOT="${PROJECT_ROOT:-$(cd "$SCRIPT_DIR/.." && pwd)}"
ETLRS_MIGRATE="${ETLRS_MIGRATE:-etlrs-migrate}"

RED='' GREEN='' YELLOW='' BLUE='' NC=''
if [ -t 2 ] && [ -z "${NO_COLOR:-}" ]; then
    RED=$'\033[0;31m' GREEN=$'\033[0;32m' YELLOW=$'\033[1;33m' BLUE=$'\033[0;34m' NC=$'\033[0m'
fi
log_info() { echo "${BLUE}[INFO]${NC} $1" >&2; }
log_success() { echo "${GREEN}[SUCCESS]${NC} $1" >&2; }
log_warning() { echo "${YELLOW}[WARNING]${NC} $1" >&2; }
log_error() { echo "${RED}[ERROR]${NC} $1" >&2; }

usage() {
    cat <<EOF
Usage: $0 [OPTIONS] [-- MORE]

Options:
    --from VERSION      Current version (required)
    --to VERSION        Target version (required)
    --dry-run           Run in dry-run mode (no changes made)
    --no-backup         Skip database backup
    --rollback          Rollback to previous version
    -h, --help          Show this help message
    -- MORE             Further options of etlrs-migrate, such as --yes

Examples:
    $0 --from 1.5.0 --to 2.0.0
    $0 --from 1.5.0 --to 2.0.0 --dry-run
    $0 --rollback --to 1.5.0

The deployment is \$PROJECT_ROOT, else the directory above this script's. Exit codes are those of
etlrs-migrate; wrong usage is 1.
EOF
}

FROM_VERSION='' TO_VERSION='' DRY_RUN=false BACKUP_DB=true ROLLBACK=false MORE=()
value() { [ $# -ge 2 ] || { log_error "$1 needs a value"; usage >&2; exit 1; }; }
while [ $# -gt 0 ]; do
    case $1 in
        --from) value "$@"; FROM_VERSION=$2; shift 2 ;;
        --to) value "$@"; TO_VERSION=$2; shift 2 ;;
        --dry-run) DRY_RUN=true; shift ;;
        --no-backup) BACKUP_DB=false; shift ;;
        --rollback) ROLLBACK=true; shift ;;
        -h|--help) usage; exit 0 ;;
        --) shift; MORE=("$@"); break ;;
        *) log_error "Unknown option: $1"; usage >&2; exit 1 ;;
    esac
done
[ -n "$TO_VERSION" ] || { log_error "Target version is required"; usage >&2; exit 1; }
if [ "$ROLLBACK" = false ] && [ -z "$FROM_VERSION" ]; then
    log_error "From version is required for upgrades"
    usage >&2
    exit 1
fi
command -v "$ETLRS_MIGRATE" >/dev/null || {
    log_error "$ETLRS_MIGRATE is not installed; name it in ETLRS_MIGRATE"
    exit 1
}
tool() { "$ETLRS_MIGRATE" -C "$PROJECT_ROOT" "$@"; }

log_info "Starting ETLRS migration"
log_info "Target version: $TO_VERSION"
ARGUMENTS=(--to "$TO_VERSION")
if [ "$ROLLBACK" = true ]; then
    log_warning "Performing ROLLBACK to version $TO_VERSION"
    ARGUMENTS+=(--rollback)
else
    log_info "Upgrading from version $FROM_VERSION"
    ARGUMENTS+=(--from "$FROM_VERSION")
fi
[ "$DRY_RUN" = false ] || { log_warning "Running in DRY-RUN mode - no changes will be made"; ARGUMENTS+=(--dry-run); }
[ "$BACKUP_DB" = true ] || { log_warning "Running without a database backup"; ARGUMENTS+=(--no-backup); }

STATUS=0
tool "${ARGUMENTS[@]}" ${MORE[@]+"${MORE[@]}"} || STATUS=$?
case $STATUS in
    0) ;;
    3) log_error "Migration failed; everything is as before (exit 3)"; exit 3 ;;
    4) log_error "Migration failed and was NOT taken back (exit 4); the next command is above"; exit 4 ;;
    *) log_error "etlrs-migrate ended with $STATUS"; exit "$STATUS" ;;
esac
if [ "$DRY_RUN" = false ]; then
    log_info "Running post-migration validation..."
    tool health-check || { STATUS=$?; log_error "Health check failed"; exit "$STATUS"; }
    log_success "Health check passed"
fi
log_success "Migration completed successfully!"
