# Shared by the engine tests: a plain sweep to compare with, a run that is killed at work, the comparison of tables.
# Sourced, not run. Reads ECQX_BINARY; everything is written below a temporary folder that goes at the end.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
ecqx=$(readlink -f "${ECQX_BINARY:-${CARGO_TARGET_DIR:-$here/../../target}/release/ecqx}")
[ -x "$ecqx" ] || { echo "no binary at $ecqx: cargo build --release"; exit 2; }
work=$(mktemp -d "${TMPDIR:-/tmp}/ecqx-engines-XXXXXX")
runs=8
unset ECQX_DATA || true

say() { printf '\n== %s\n' "$*"; }

# The sweep by one worker, one thread per run as on the engines: numbers are equal for equal thread counts.
plain_sweep() {
  say "plain sweep: ecqx run"
  "$ecqx" run "$here/sweep.yaml" --threads 1 --store "$work/plain" 2>&1 | tail -3
}

finished() { "$ecqx" status "$here/sweep.yaml" --store "$1" --json | sed 's/.*"done":\([0-9]*\).*/\1/'; }

# Kills (SIGKILL) the process of the first run that holds a claim.
kill_a_run() {
  waited=0
  while :; do
    for claim in "$1"/claims/*.json; do
      case $claim in */baseline-*|*'*'*) continue ;; esac
      pid=$(sed 's/.*"pid":\([0-9]*\).*/\1/' "$claim" 2>/dev/null) || continue
      if [ -n "$pid" ] && kill -9 "$pid" 2>/dev/null; then
        echo "killed process $pid, which was computing $(basename "$claim" .json)"
        return 0
      fi
    done
    waited=$((waited + 1))
    [ $waited -lt 6000 ] || { echo "no run was caught at work"; exit 1; }
    sleep 0.02
  done
}

# Waits until a store has at least as many finished runs, or the function `idle` says that nobody is at work any more.
wait_for() {
  waited=0
  while [ "$(finished "$1")" -lt "$2" ]; do
    if idle; then return 0; fi
    waited=$((waited + 1))
    [ $waited -lt 600 ] || { echo "nothing finished for ten minutes"; exit 1; }
    sleep 1
  done
}

# The merged table of a store equals that of the plain sweep; every run is there, and nothing stale is left.
compare_tables() {
  say "merged tables"
  done_runs=$(finished "$1")
  [ "$done_runs" = "$runs" ] || { echo "$done_runs of $runs runs are done"; exit 1; }
  "$ecqx" collect --store "$work/plain" --output "$work/table-plain"
  "$ecqx" collect --store "$1" --output "$work/table-engine"
  cmp "$work/table-plain/raw.csv" "$work/table-engine/raw.csv"
  "$ecqx" store verify --store "$1"
  "$ecqx" store gc --store "$1" >/dev/null
  left=$(find "$1/claims" "$1/partial" -type f | wc -l)
  [ "$left" = 0 ] || { echo "$left stale files are left"; exit 1; }
  echo "equal: $(tail -n +2 "$work/table-engine/raw.csv" | wc -l) rows, no stale file"
}
