# Two commands are enough: make run, make test. `make help` lists the rest.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help install run test test-slow bench lint format clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

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

run: $(VENV)/installed ## train, measure and draw the patch-count study at laptop size (about ten minutes on two cores)
	$(BIN)/python -m slackoff +experiment=patchcount -m $(ARGS)

test: $(VENV)/installed-dev ## install what the tests need, then run them, a process a core
	$(BIN)/python -m pytest -n auto --dist worksteal $(ARGS)

test-slow: $(VENV)/installed-dev ## the tests that take minutes
	$(BIN)/python -m pytest -m slow $(ARGS)

bench: $(VENV)/installed-dev ## measure speed against the plain way and a bare loop
	$(BIN)/python -m benchmarks $(ARGS)

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
