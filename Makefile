# Two commands are enough: make run, make test. `make help` lists the rest.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=

SLURM := slurmctld slurmd munged sbatch
ROOT := $(if $(filter-out 0,$(shell id -u)),sudo -n)

.DEFAULT_GOAL := help
.PHONY: help install run test test-slow chaos test-cluster cluster-tools bench gpu-check lint format clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "slackoff needs Python 3.11 or newer: name one with make PYTHON=python3.12"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

install: $(VENV)/installed ## create .venv and install the package

run: $(VENV)/installed ## train, measure and draw the patch-count study at laptop size (under five minutes on two cores)
	$(BIN)/python -m slackoff +experiment=patchcount -m $(ARGS)

test: $(VENV)/installed-dev ## install what the tests need, then run them, a process a core
	$(BIN)/python -m pytest -n auto --dist worksteal $(ARGS)

test-slow: $(VENV)/installed-dev ## the tests that take minutes
	$(BIN)/python -m pytest -m slow $(ARGS)

chaos: $(VENV)/installed-dev ## kill sweeps at random, fuzz, fill the disk, set the clock back (two hours; ARGS=--kills=300: a soak)
	$(BIN)/python -m pytest -m chaos -p no:xdist -rA --durations=0 tests/chaos $(ARGS)

test-cluster: $(VENV)/installed-cluster cluster-tools ## sweeps through a real Slurm and a real Ray on this machine (half an hour)
	PATH="$$PATH:/usr/sbin:/sbin" $(BIN)/python -m pytest -m cluster -p no:xdist tests/cluster $(ARGS)

$(VENV)/installed-cluster: $(VENV)/installed-dev
	$(BIN)/python -m pip install --quiet --editable '.[dev,slurm,ray]'
	touch $@

cluster-tools: # Slurm cannot be had from PyPI; tests that miss it are skipped with a reason
	@export PATH="$$PATH:/usr/sbin:/sbin"; which $(SLURM) > /dev/null && exit 0; \
	if which apt-get > /dev/null && $(ROOT) true 2> /dev/null; then \
		$(ROOT) apt-get update -q && $(ROOT) env DEBIAN_FRONTEND=noninteractive apt-get install -q -y slurm-wlm munge; \
	else \
		echo "Slurm is missing and cannot be installed from here: ask for the packages slurm-wlm and munge"; \
	fi

bench: $(VENV)/installed-dev ## measure speed against the plain way and a bare loop
	$(BIN)/python -m benchmarks $(ARGS)

gpu-check: $(VENV)/installed-dev ## prove the GPU path on a GPU, in five minutes (ARGS=--device=cpu: tiny, on a CPU)
	$(BIN)/python -m benchmarks.gpu_check $(ARGS)

lint: $(VENV)/installed-dev ## ruff, mypy and the import arrows
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/installed-dev ## format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## remove caches; records under runs/ stay
	rm -rf .pytest_cache .ruff_cache .mypy_cache .hypothesis .import_linter_cache
