#!/bin/sh
# Kills a run (SIGKILL) again and again at random moments and compares the model file that it ends with, byte for byte,
# with that of an undisturbed run. Needs no data: ResNet-20 on generated images, a baseline and a quantized run.
#
#   resume.sh ECQX INTERRUPTIONS [FOLDER]
#
# A baseline and a run are done INTERRUPTIONS times from nothing, each killed once at a random moment of the time that
# the undisturbed one took, then continued; and once more, killed every time at a random moment until it has finished.
set -eu
ecqx=$1
interruptions=$2
folder=${3:-$(mktemp -d)}
mkdir -p "$folder"
cd "$folder"
cat > run.yaml <<'YAML'
name: resume
dataset: {name: embedded-images, samples: {train: 64, validation: 16, test: 16}}
model: resnet20
baseline:
  train: {epochs: 1, batch_size: 4, steps_per_epoch: 6, optimizer: sgd, learning_rate: 0.05, select: best_validation}
bits: [4]
training: {epochs: 2, batch_size: 4, steps_per_epoch: 6, select: best_validation}
quantizers:
  - {method: ecqx, lambda: 0.02}
YAML

random() { # a number below $1
  echo $(($(od -An -N4 -tu4 /dev/urandom) % $1))
}
milliseconds() { # seconds for sleep
  echo "$(($1 / 1000)).$(printf %03d $(($1 % 1000)))"
}
once() { # one attempt; a checkpoint after every few steps
  "$ecqx" run run.yaml --threads 1 --store "$1" --checkpoint-minutes 0.001 2>> "$1.log"
}
kill_after() { # $1 milliseconds, $2 store: succeeds when the run had finished before
  "$ecqx" run run.yaml --threads 1 --store "$2" --checkpoint-minutes 0.001 2>> "$2.log" &
  process=$!
  sleep "$(milliseconds "$1")"
  kill -9 $process 2> /dev/null || true
  wait $process 2> /dev/null
}
compare() { # all model files and baselines of two stores
  for file in undisturbed/runs/*/model.nnc undisturbed/baselines/*/weights.safetensors; do
    cmp "$file" "$1/${file#undisturbed/}" || { echo "DIFFERENT: $1"; exit 1; }
  done
}

begin=$(date +%s%N)
once undisturbed
took=$((($(date +%s%N) - begin) / 1000000))
continued=0
number=0
while [ $number -lt "$interruptions" ]; do
  number=$((number + 1))
  rm -rf interrupted
  kill_after "$(random "$took")" interrupted || true
  before=$(grep -c "continues from a checkpoint" interrupted.log || true)
  once interrupted
  after=$(grep -c "continues from a checkpoint" interrupted.log || true)
  [ "$after" = "$before" ] || continued=$((continued + 1))
  compare interrupted
done
echo "$interruptions interruptions of a run of $took ms, $continued continued inside training: all equal"
kills=0
# The moments move back little by little: on a busy machine starting alone can take longer than the first of them.
until kill_after $((took / 8 + $(random $((took / 4 + 1))) + kills * took / 50)) often; do
  kills=$((kills + 1))
  [ $kills -lt 500 ] || { echo "no progress in 500 attempts"; exit 1; }
done
compare often
"$ecqx" store gc --store often > /dev/null
left=$(find often/claims often/partial often/checkpoints -mindepth 1 | wc -l)
[ "$left" = 0 ] || { echo "left behind: $left files"; exit 1; }
echo "killed $kills times before it finished: equal, nothing left behind"
