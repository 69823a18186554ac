# The commands of this repository. Each makes .venv when there is none, or when its requirements have changed.
#
#   make demo        the ablation `quickstart` on the bundled graph, four to ten minutes on two quiet cores
#   make test        exactly what CI runs: lint, types, layers, unit tests, whole commands, tests with a local Ray
#   make unit        the unit tests alone; make whole: whole commands and trainings; make ray
#   make test-slow   the tests that take minutes
#   make test-gpu    the tests that need a CUDA device
#   make test-cluster  hosts of its own (root, iproute2, openssh-server, rsync), and AWS as moto plays it
#   make wheel       dist/: this commit as cluster files install it
#   make bench       the benchmark suite at small sizes; python -m benchmarks NAME runs one in full
#   make lint        ruff and mypy alone
#   make clean       remove caches and build folders (.venv and runs/ stay)
#
# Another interpreter: make PYTHON=python3.12 ... (3.11 to 3.13). Works with GNU make 3.81, which macOS has.

PYTHON ?= python3 python3.13 python3.12 python3.11
BIN := .venv/bin
INSTALLED := .venv/.installed
PYTEST := $(BIN)/python -m pytest
# Tests shared out over the cores, each file to one process.
SHARED := -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder
QUICK := not slow and not ray and not gpu and not cluster

SUITABLE := import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))

.PHONY: demo test test-slow test-gpu test-cluster wheel bench lint layers unit whole ray clean
.NOTPARALLEL:
.DEFAULT_GOAL := test

demo: $(INSTALLED)
	@$(BIN)/pmd ablate quickstart --out runs/quickstart

test: lint layers unit whole ray
	@echo "all well"

lint: $(INSTALLED)
	@echo "== ruff check"; $(BIN)/ruff check --quiet .
	@echo "== ruff format"; $(BIN)/ruff format --check .
	@echo "== mypy"; $(BIN)/mypy --no-error-summary

# No test may reach the network, and none may start threads before a fork.
layers unit whole ray test-slow test-gpu test-cluster: export HF_HUB_OFFLINE = 1
layers unit whole ray test-slow test-gpu test-cluster: export TOKENIZERS_PARALLELISM = false
layers unit whole ray test-slow test-gpu test-cluster: export RAY_USAGE_STATS_ENABLED = 0
# Small tensors lose more by sharing them out than they gain; whole tests gain.
unit whole: export OMP_NUM_THREADS = 1
# Compile once, not in every process that a test starts.
unit whole: export PYTHONDONTWRITEBYTECODE =

layers: $(INSTALLED)
	@echo "== layers"; $(PYTEST) tests/test_layers.py

unit: $(INSTALLED)
	@echo "== unit tests"; $(PYTEST) --ignore=tests/test_layers.py -m '$(QUICK) and not whole' $(SHARED)

whole: $(INSTALLED)
	@echo "== whole commands and trainings"; $(PYTEST) -m '$(QUICK) and whole' $(SHARED)

ray: $(INSTALLED)
	@echo "== tests with a local Ray"; $(PYTEST) -m 'ray and not slow and not gpu and not cluster'

test-slow: $(INSTALLED)
	@echo "== slow tests"; $(PYTEST) -m 'slow and not gpu and not cluster'

test-gpu: $(INSTALLED)
	@echo "== tests on a GPU"; $(PYTEST) -m gpu

test-cluster: $(INSTALLED)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[cluster]'
	@echo "== tests on hosts of its own"; $(PYTEST) -rs -m cluster

wheel: $(INSTALLED)
	@rm -rf build dist
	@$(BIN)/python -m pip wheel --quiet . --no-deps --wheel-dir dist
	@cp constraints.txt dist/

bench: $(INSTALLED)
	@$(BIN)/python -m benchmarks all --small --repeat 1

clean:
	@rm -rf build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	@find pmd_ray tests scripts -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamp comes last: an install that failed or was stopped is tried again.
$(INSTALLED): pyproject.toml constraints.txt
	@if ! $(BIN)/python -m pip --version >/dev/null 2>&1; then \
		for python in $(PYTHON) none; do \
			if [ $$python = none ]; then \
				echo "no suitable Python among: $(PYTHON)" >&2; \
				echo "pmd_ray needs Python 3.11 to 3.13 with venv; name one: make PYTHON=/path/to/python3.12 ..." >&2; \
				exit 1; \
			fi; \
			if $$python -c '$(SUITABLE)' >/dev/null 2>&1; then break; fi; \
		done; \
		echo "making .venv with $$python"; \
		$$python -m venv .venv || exit 1; \
	fi
	@echo "installing into .venv (minutes the first time)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,minilm]'
	@touch $(INSTALLED)
