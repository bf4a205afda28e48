#!/bin/sh
# `make reproduce`: run the experiments for the data that is there, then write tables and figures.
# usage: reproduce.sh quick     (environment: ECQX_BINARY, ECQX_STORE, ECQX_REPORTS, ECQX_DATA)
set -eu
profile=${1:-quick}
ecqx=${ECQX_BINARY:-target/release/ecqx}
store=${ECQX_STORE:-store}
reports=${ECQX_REPORTS:-reports}
data=${ECQX_DATA:-}
here=$(dirname "$0")

case $profile in
  quick) ;;
  *) echo "reproduce: no profile is called '$profile'; there is PROFILE=quick" >&2; exit 2 ;;
esac

# The embedded sets always run; a real pair runs where its data is there.
specs=$(ls "$here"/embedded/*.yaml)
if [ -n "$data" ]; then
  export ECQX_DATA="$data"
  [ ! -d "$data/cifar-10-batches-bin" ] || specs="$specs $(ls "$here"/"$profile"/cifar10-*.yaml)"
  [ ! -d "$data/speech_commands_v0.02" ] || specs="$specs $(ls "$here"/"$profile"/speech-commands-*.yaml)"
else
  echo "ECQX_DATA is not set: only the embedded data sets run (docs/datasets.md says how to add the real ones)"
fi

# A failed run is a row of the report, not the end of the reproduction: the report is written either way.
status=0
# shellcheck disable=SC2086 # the list is meant to be split
"$ecqx" run --store "$store" $specs || status=$?
[ "$status" -le 1 ] || exit "$status"
# shellcheck disable=SC2086
"$ecqx" report --store "$store" --output "$reports" $specs
echo "Tables, figures: $reports"
exit "$status"
