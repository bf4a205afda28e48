#!/bin/sh
# `make reproduce`: run the experiments for the data that is there, then write tables and figures.
# usage: reproduce.sh quick|short|full|ablations
# environment: ECQX_BINARY, ECQX_STORE, ECQX_REPORTS, ECQX_DATA
set -eu
profile=${1:-quick}
ecqx=${ECQX_BINARY:-target/release/ecqx}
store=${ECQX_STORE:-store}
reports=${ECQX_REPORTS:-reports}
data=${ECQX_DATA:-}
here=$(dirname "$0")

case $profile in
  quick|short|full|ablations) ;;
  *) echo "reproduce: no profile is called '$profile'; there are quick, short, full and ablations" >&2; exit 2 ;;
esac

# The embedded sets run in the quick profile, and where there is nothing else; a real pair runs where its data is there.
specs=""
add() { # folder below the data folder, start of the experiments' names
  [ -d "$data/$1" ] || return 0
  for spec in "$here/$profile/$2"-*.yaml; do
    [ ! -f "$spec" ] || specs="$specs $spec"
  done
}
if [ -n "$data" ]; then
  export ECQX_DATA="$data"
  add cifar-10-batches-bin cifar10
  add speech_commands_v0.02 speech-commands
  add VOCdevkit/VOC2012 voc2012
fi
if [ -z "$specs" ]; then
  echo "no real data for the profile '$profile': the embedded data sets run (docs/datasets.md says how to add real ones)"
fi
if [ -z "$specs" ] || [ "$profile" = quick ]; then
  specs="$(ls "$here"/embedded/*.yaml) $specs"
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
