#!/usr/bin/env bash
# Build the program for NVIDIA GPUs: target/gpu/release/ecqx, beside the CPU's. Takes the CUDA toolkit that is there (nvcc
# in PATH, or CUDA_HOME); the project's own machines have ../shared/cuda/setup.sh, which puts one together from wheels.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ -n "${CUDA_HOME:-}" ] && [ -x "$CUDA_HOME/bin/nvcc" ]; then
  export PATH="$CUDA_HOME/bin:$PATH"
fi
if ! command -v nvcc >/dev/null 2>&1; then
  if [ -f ../shared/cuda/setup.sh ]; then
    ${CARGO:-cargo} fetch --locked
    # shellcheck disable=SC1091
    source ../shared/cuda/setup.sh
  else
    echo "make gpu: nvcc is not in PATH: install the CUDA toolkit (12 or 13) or set CUDA_HOME; docs/gpu.md says more" >&2
    exit 2
  fi
fi
# The kernels are compiled for one generation of GPUs: 90 is H100 and H200, 80 A100, 89 Ada, 86 consumer Ampere.
export CUDA_COMPUTE_CAP="${CUDA_COMPUTE_CAP:-90}"
${CARGO:-cargo} build --release --locked --features cuda --target-dir target/gpu
echo "target/gpu/release/ecqx is built for compute capability $CUDA_COMPUTE_CAP; on the machine with the GPU run:"
echo "  target/gpu/release/ecqx selftest --device cuda"
