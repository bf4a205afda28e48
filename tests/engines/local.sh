#!/bin/sh
# The embedded sweep through the local engine: two worker processes, one killed at work.
. "$(dirname "$0")/common.sh"
trap 'rm -rf "$work"' EXIT

plain_sweep
say "ecqx submit --engine local --workers 2 --resources cpus=1"
"$ecqx" submit "$here/sweep.yaml" --engine local --workers 2 --resources cpus=1 --store "$work/store" &
submit=$!
kill_a_run "$work/store"
wait $submit
say "submitting again"
"$ecqx" submit "$here/sweep.yaml" --engine local --store "$work/store"
compare_tables "$work/store"
