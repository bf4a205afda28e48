#!/bin/sh
# Kills workers of a sweep (SIGKILL) at random moments and compares its results with those of an undisturbed sweep: every
# model file, every table but those of times, and nothing left behind. Needs no data.
#
#   sweep.sh ECQX WORKERS KILLS SEEDS [FOLDER]
#
# A sweep has 12 runs per seed; odd workers are `ecqx run`, even ones `ecqx exec` of one run of a plan. A worker that ended
# or was killed is followed by the next.
set -eu
ecqx=$1
workers=$2
kills=$3
seeds=$4
folder=${5:-$(mktemp -d)}
mkdir -p "$folder"
cd "$folder"
cat > small.yaml <<'YAML'
name: small
input_shape: [1, 49, 10]
layers:
  - {name: flatten, kind: flatten}
  - {name: fc1, kind: linear, input: flatten, inputs: 490, outputs: 64}
  - {name: relu, kind: relu}
  - {name: fc2, kind: linear, input: relu, inputs: 64, outputs: 12}
YAML
cat > sweep.yaml <<YAML
name: sweep
dataset: {name: embedded-audio, samples: {train: 256, validation: 64, test: 64}}
model: {file: small.yaml}
baseline:
  train: {epochs: 2, batch_size: 8}
seeds: [$(seq -s , "$seeds")]
bits: [2, 4]
training: {epochs: 6, batch_size: 8, select: best_validation}
quantizers:
  - {method: ecqx, lambda: [0.01, 0.05]}
  - {method: ecq, lambda: [0.01, 0.05]}
  - {method: lsq}
  - {method: kmeans}
YAML

random() {
  echo $(($(od -An -N4 -tu4 /dev/urandom) % $1))
}
"$ecqx" run sweep.yaml --jobs "$workers" --threads "$workers" --store undisturbed --json 2> undisturbed.log > undisturbed.json
runs=$(sed 's/.*"runs":\([0-9]*\).*/\1/' undisturbed.json)
"$ecqx" plan sweep.yaml --format json --store undisturbed > plan.json

worker() { # $1 number; to be called in a shell of its own
  options="--threads 1 --store killed --checkpoint-minutes 0.005"
  if [ $(($1 % 2)) = 1 ]; then
    exec "$ecqx" run sweep.yaml $options
  fi
  exec "$ecqx" exec --plan plan.json --index "$(random "$runs")" $options
}
begin=$(date +%s)
killed=0
late=0
finished=0
number=0
while [ $number -lt "$workers" ]; do
  number=$((number + 1))
  (worker $number) > /dev/null 2> "worker-$number.log" &
  eval "process$number=$!"
done
while [ $killed -lt "$kills" ]; do
  sleep "0.$(printf %02d "$(random 60)")"
  number=$((1 + $(random "$workers")))
  eval "process=\$process$number"
  if kill -0 "$process" 2> /dev/null; then
    kill -9 "$process" 2> /dev/null || true
    killed=$((killed + 1))
    [ $finished = 0 ] || late=$((late + 1))
  fi
  wait "$process" 2> /dev/null || true
  [ "$(find killed/runs -mindepth 1 -maxdepth 1 2> /dev/null | wc -l)" -lt "$runs" ] || finished=1
  (worker "$number") > /dev/null 2>> "worker-$number.log" &
  eval "process$number=$!"
done
number=0
while [ $number -lt "$workers" ]; do
  number=$((number + 1))
  eval "wait \$process$number" 2> /dev/null || true
done
"$ecqx" run sweep.yaml --jobs "$workers" --threads "$workers" --store killed --json 2>> last.log > last.json
took=$(($(date +%s) - begin))

"$ecqx" store gc --store killed > gc.log
"$ecqx" store verify --store killed > /dev/null
left=$(find killed/claims killed/partial killed/checkpoints -mindepth 1 | wc -l)
[ "$left" = 0 ] || { echo "left behind:"; find killed/claims killed/partial killed/checkpoints -mindepth 1; exit 1; }
for store in undisturbed killed; do
  "$ecqx" report sweep.yaml --store $store --output report-$store > /dev/null
done
tables=0
for table in report-undisturbed/*.csv; do
  name=$(basename "$table")
  case $name in
    timings*|sweeps*|provenance*|origins*|time_and_memory*) continue ;; # times, and who computed what
  esac
  cmp "$table" "report-killed/$name"
  tables=$((tables + 1))
done
models=0
for model in undisturbed/runs/*/model.nnc; do
  cmp "$model" "killed/${model#undisturbed/}"
  models=$((models + 1))
done
continued=$(cat worker-*.log last.log | grep -c "continues from a checkpoint" || true)
echo "$runs runs, $workers workers, $killed kills in $took s ($late after the last run had finished)"
echo "$continued times training continued from a checkpoint; $(wc -l < gc.log) lines of garbage"
echo "$models model files and $tables tables are equal, nothing is left behind"
