#!/usr/bin/env bash
# scripts/fuzz.sh SECONDS [NAME...]: feeds each property of fuzz/ (or those named) to libFuzzer for
# so many seconds and prints what came of it. Exits with 1 when one was broken; what broke it is in
# fuzz/artifacts/, and belongs into fuzz/corpus/ with the change that mends it.
# Needs a C++ compiler; installs cargo-fuzz where it is missing.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
seconds="${1:?usage: scripts/fuzz.sh SECONDS [NAME...]}"
shift
names=("$@")
[ "${#names[@]}" -gt 0 ] ||
    names=(plan config_edit sql layouts values journal_file journal_records)
command -v cargo-fuzz >/dev/null || cargo install --locked cargo-fuzz

# The coverage that libFuzzer follows comes from flags that a released compiler takes only so.
export RUSTC_BOOTSTRAP=1
options=(--fuzz-dir fuzz --sanitizer none --features fuzzer)
failed=0
printf '%-16s %12s %10s %8s  %s\n' property executions per_second inputs result
for name in "${names[@]}"; do
    cargo fuzz build "${options[@]}" "$name" 2>/dev/null ||
        { echo "$name can't be built; see: cargo fuzz build ${options[*]} $name" >&2; exit 2; }
    found="target/fuzz-inputs/$name"
    log="target/fuzz-$name.log"
    mkdir -p "$found"
    result=held
    cargo fuzz run "${options[@]}" "$name" "$found" "fuzz/corpus/$name" -- \
        -max_total_time="$seconds" -max_len=4096 -timeout=20 -print_final_stats=1 >"$log" 2>&1 ||
        { result="BROKEN: $(grep -ao 'Test unit written to .*' "$log" | head -1)"; failed=1; }
    stat() { grep -a "^stat::$1:" "$log" | awk '{print $2}' | tail -1; }
    printf '%-16s %12s %10s %8s  %s\n' "$name" "$(stat number_of_executed_units)" \
        "$(stat average_exec_per_sec)" "$(find "$found" -type f | wc -l)" "$result"
done
exit "$failed"
