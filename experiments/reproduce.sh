#!/bin/sh
# `make reproduce`: run the experiments for the data that is there, then write tables and figures.
# usage: reproduce.sh quick|short|full|ablations
# environment: ECQX_BINARY, ECQX_STORE, ECQX_REPORTS, ECQX_DATA, ECQX_FETCH (1: download missing data first), ECQX_MIRROR
set -eu
profile=${1:-quick}
ecqx=${ECQX_BINARY:-${CARGO_TARGET_DIR:-target}/release/ecqx}
store=${ECQX_STORE:-store}
reports=${ECQX_REPORTS:-reports}
data=${ECQX_DATA:-}
here=$(dirname "$0")

case $profile in
  quick|short|full|ablations) ;;
  *) echo "reproduce: no profile is called '$profile'; there are quick, short, full and ablations" >&2; exit 2 ;;
esac

# What the experiments need, from its publishers. What is there already is compared and left alone.
if [ "${ECQX_FETCH:-}" = 1 ]; then
  [ -n "$data" ] || { echo "reproduce: FETCH=1 needs DATA=DIR, the folder to download into" >&2; exit 2; }
  for name in cifar10 speech-commands voc2012 cifar10-resnet20 imagenet-resnet18; do
    # shellcheck disable=SC2086 # no mirror is no argument
    "$ecqx" --data-dir "$data" data fetch "$name" ${ECQX_MIRROR:+--mirror "$ECQX_MIRROR"} || exit $?
  done
  # The experiments name the published ResNet-20 so.
  if [ -f "$data/pretrained/resnet20-12fca82f.th" ] && [ ! -e "$data/pretrained/resnet20.pt" ]; then
    cp "$data/pretrained/resnet20-12fca82f.th" "$data/pretrained/resnet20.pt"
  fi
fi

# The embedded sets run in the quick profile, and where there is nothing else; a real pair runs where its data is there.
specs=""
add() { # folder below the data folder, start of the experiments' names
  [ -d "$data/$1" ] || return 0
  for spec in "$here/$profile/$2"-*.yaml; do
    [ -f "$spec" ] || continue
    checkpoint=$(sed -n '/^#/d; s/.*checkpoint: \([^,} ]*\).*/\1/p' "$spec" | head -n 1)
    if [ -n "$checkpoint" ] && [ ! -f "$data/$checkpoint" ]; then
      echo "left out: $spec needs $data/$checkpoint ('ecqx data ls' lists published checkpoints)"
      continue
    fi
    specs="$specs $spec"
  done
}
if [ -n "$data" ]; then
  export ECQX_DATA="$data"
  add cifar-10-batches-bin cifar10
  add speech_commands_v0.02 speech-commands
  add VOCdevkit/VOC2012 voc2012
  add imagefolder imagefolder
fi
if [ -z "$specs" ]; then
  echo "no real data for the profile '$profile': the embedded data sets run (docs/datasets.md says how to add real ones)"
fi
if [ -z "$specs" ] || [ "$profile" = quick ]; then
  specs="$(ls "$here"/embedded/*.yaml) $specs"
fi

# What is known of long ones before any of their runs is done; `ecqx run` prints what the runs in the store say.
for spec in $specs; do
  sed -n "s|^# Time: |${spec##*/}: |p" "$spec"
done

# A failed run is a row of the report, not the end of the reproduction: the report is written either way.
status=0
# shellcheck disable=SC2086 # the list is meant to be split
"$ecqx" run --store "$store" $specs || status=$?
[ "$status" -le 1 ] || exit "$status"
# shellcheck disable=SC2086
"$ecqx" report --store "$store" --output "$reports" $specs
echo "Tables, figures: $reports"
exit "$status"
