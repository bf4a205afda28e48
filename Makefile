# The two commands of the README are `make reproduce` and `make test`; `make help` lists the rest.

# A release build everywhere: kernels without optimisation would turn minutes into hours.
CARGO ?= cargo
BINARY := $(or $(CARGO_TARGET_DIR),target)/release/ecqx
STORE ?= store
REPORTS ?= reports
# quick: short schedules, minutes to an hour. short: the grids with few steps, hours. full: the grids, days on two
# cores. ablations: one setting at a time.
PROFILE ?= quick
# Folder with the real data sets; empty or missing means that only the embedded sets run.
DATA ?= $(ECQX_DATA)
# FETCH=1: download what is missing of the real data sets into DATA first (4.7 GB); MIRROR=URL asks another server.
FETCH ?=
MIRROR ?=

.PHONY: help results build gpu wheel wheel-tools try-wheel book reproduce test test-engines check lint bench bench-reference doc clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## Build the release binary
	$(CARGO) build --release --locked

gpu: ## Build the binary for NVIDIA GPUs in target/gpu (needs a CUDA toolkit; docs/gpu.md)
	CARGO="$(CARGO)" tools/cuda-build.sh

wheel-tools:
	@test -x target/wheel-venv/bin/maturin || { python3 -m venv target/wheel-venv && target/wheel-venv/bin/pip install --quiet maturin; }

wheel: wheel-tools ## Build the wheel (program and Python package, at most 25 MiB) in target/wheels, with maturin
	rm -f target/wheels/*.whl
	target/wheel-venv/bin/maturin build --release --out target/wheels
	@size=$$(cat target/wheels/*.whl | wc -c); [ $$size -le 26214400 ] || { echo "the wheel has $$size bytes, more than 25 MiB"; exit 1; }

try-wheel: ## Install the wheel of target/wheels in a fresh environment and run a tiny experiment with it
	sh tests/wheel/try.sh target/wheels

book: ## Build docs/ as a book in target/book (needs mdbook)
	@command -v mdbook >/dev/null 2>&1 || { echo "mdbook is not installed: cargo install mdbook"; exit 1; }
	sh docs/book.sh target/book-src
	mdbook build

reproduce: build ## Run the experiments for the data that is there (DATA=DIR; FETCH=1 downloads it), then write tables and figures
	ECQX_FETCH="$(FETCH)" ECQX_MIRROR="$(MIRROR)" ECQX_BINARY=$(BINARY) ECQX_STORE=$(STORE) ECQX_REPORTS=$(REPORTS) ECQX_DATA="$(DATA)" sh experiments/reproduce.sh $(PROFILE)

results: build ## Make the committed tables and figures again from the committed records
	for folder in $(dir $(wildcard results/*/records.parquet)); do $(BINARY) report --raw $$folder/records.parquet --output $$folder || exit 1; done

test: ## Run all tests (those on real data run where ECQX_DATA is set)
	$(CARGO) test --release --locked

test-engines: build ## Run a small sweep through every engine (installs Slurm and HyperQueue's Python wheel; needs root)
	ECQX_BINARY=$(BINARY) sh tests/engines/local.sh
	ECQX_BINARY=$(BINARY) sh tests/engines/slurm.sh
	ECQX_BINARY=$(BINARY) sh tests/engines/hyperqueue.sh

check: build ## Compare the store's results with the expected numbers in baselines/expected
	$(BINARY) check --store $(STORE) --data-dir "$(or $(DATA),data)"

lint: ## Formatting, clippy (also without the command line) and documentation, all without warnings; cargo-deny
	$(CARGO) fmt --check
	$(CARGO) clippy --release --locked --all-targets -- -D warnings
	$(CARGO) clippy --release --locked --lib --no-default-features -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --release --locked --no-deps
	@if command -v cargo-deny >/dev/null 2>&1; then $(CARGO) deny check licenses bans sources; else echo "cargo-deny is not installed: skipped"; fi

bench: ## Run the criterion benches
	$(CARGO) bench --locked

bench-reference: ## Compare training steps with PyTorch (makes a Python virtual environment below target/)
	$(CARGO) build --release --locked --example step_times
	test -x target/bench-venv/bin/python || python3 -m venv target/bench-venv
	target/bench-venv/bin/python -c "import torch" 2>/dev/null || target/bench-venv/bin/pip install --quiet torch numpy
	target/bench-venv/bin/python benches/reference/bench.py $(dir $(BINARY))examples/step_times

doc: ## Build the API documentation
	$(CARGO) doc --release --locked --no-deps

clean: ## Remove build outputs (results in the store stay)
	$(CARGO) clean
