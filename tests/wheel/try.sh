#!/bin/sh
# What people without Rust do: the wheel in a fresh environment, then a tiny experiment with a method in Python.
# sh tests/wheel/try.sh FOLDER-WITH-THE-WHEEL
set -eu
here=$(cd "$(dirname "$0")/../.." && pwd)
wheels=$(cd "$1" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/fresh"
"$work/fresh/bin/pip" install --quiet "$wheels"/*.whl
cp "$here/examples/python/learned_clipping.py" "$work/"
cat > "$work/tiny.yaml" <<'YAML'
name: tiny
dataset: {name: embedded-audio, samples: {train: 128, validation: 32, test: 32}}
model: mlp-gsc
baseline: {train: {epochs: 1, batch_size: 64}}
bits: [4]
training: {epochs: 1, batch_size: 64}
quantizers:
  - {method: ecqx}
  - {method: external, command: [python3, learned_clipping.py]}
YAML
cd "$work"
PATH="$work/fresh/bin:$PATH"
export PATH
ecqx --version
ecqx run tiny.yaml
ecqx report tiny.yaml --output report
# The package alone, without the program.
python3 -m venv "$work/alone"
"$work/alone/bin/pip" install --quiet "$here/python"
"$work/alone/bin/python" -c "import ecqx; print(ecqx.Quantizer)"
