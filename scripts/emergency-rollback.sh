#!/usr/bin/env bash
# The guide's emergency script: its flags and messages, the work done by
# `etlrs-migrate emergency-rollback`, which kills nothing by its name.
set -euo pipefail

SCRIPT_DIR="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
PROJECT_ROOT="${PROJECT_ROOT:-$(cd "$SCRIPT_DIR/.." && pwd)}"
ETLRS_MIGRATE="${ETLRS_MIGRATE:-etlrs-migrate}"

RED='' GREEN='' YELLOW='' NC=''
if [ -t 2 ] && [ -z "${NO_COLOR:-}" ]; then
    RED=$'\033[0;31m' GREEN=$'\033[0;32m' YELLOW=$'\033[1;33m' NC=$'\033[0m'
fi
log_error() { echo "${RED}[ERROR]${NC} $1" >&2; }
log_success() { echo "${GREEN}[SUCCESS]${NC} $1" >&2; }
log_warning() { echo "${YELLOW}[WARNING]${NC} $1" >&2; }

usage() {
    cat <<EOF
Emergency Rollback Script

Usage: $0 --version VERSION [--backup-date YYYYMMDD_HHMMSS] [-- MORE]

Options:
    --version VERSION           Target version to rollback to
    --backup-date DATE          Specific backup date to restore
    -h, --help                  Show this help
    -- MORE                     Further options of etlrs-migrate, such as --yes

Examples:
    $0 --version 1.5.0
    $0 --version 1.5.0 --backup-date 20231201_140000

The deployment is \$PROJECT_ROOT, else the directory above this script's. It asks for the version
to be typed; without a terminal it needs "-- --yes". Exit codes are those of etlrs-migrate; wrong
usage is 1.
EOF
}

TARGET_VERSION='' BACKUP_DATE='' MORE=()
value() { [ $# -ge 2 ] || { log_error "$1 needs a value"; usage >&2; exit 1; }; }
while [ $# -gt 0 ]; do
    case $1 in
        --version) value "$@"; TARGET_VERSION=$2; shift 2 ;;
        --backup-date) value "$@"; BACKUP_DATE=$2; shift 2 ;;
        -h|--help) usage; exit 0 ;;
        --) shift; MORE=("$@"); break ;;
        *) log_error "Unknown option: $1"; usage >&2; exit 1 ;;
    esac
done
[ -n "$TARGET_VERSION" ] || { log_error "Target version is required"; usage >&2; exit 1; }
command -v "$ETLRS_MIGRATE" >/dev/null || {
    log_error "$ETLRS_MIGRATE is not installed; name it in ETLRS_MIGRATE"
    exit 1
}

log_warning "EMERGENCY ROLLBACK TO VERSION $TARGET_VERSION"
log_warning "This will stop all services and restore from backup"
ARGUMENTS=(emergency-rollback --version "$TARGET_VERSION")
[ -z "$BACKUP_DATE" ] || ARGUMENTS+=(--backup-date "$BACKUP_DATE")
STATUS=0
"$ETLRS_MIGRATE" -C "$PROJECT_ROOT" "${ARGUMENTS[@]}" ${MORE[@]+"${MORE[@]}"} || STATUS=$?
if [ "$STATUS" -ne 0 ]; then
    log_error "Emergency rollback ended with $STATUS; what to do is above"
    exit "$STATUS"
fi
log_warning "Verifying rollback..."
"$ETLRS_MIGRATE" -C "$PROJECT_ROOT" health-check || {
    STATUS=$?
    log_error "Health check failed after rollback"
    exit "$STATUS"
}
log_success "Emergency rollback completed successfully"
