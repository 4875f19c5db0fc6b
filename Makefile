# The commands of a developer's day. `make help` lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
REPORTS := build/reports
SEED ?= 1
KILLS ?= 200
PYTEST := $(BIN)/python -m pytest -q -n 2 --dist loadfile

.DEFAULT_GOAL := help
.PHONY: help setup demo demo-offline test bench bench-detectors evidence chaos fmt check lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.interlock ## create .venv and install what requirements.lock pins

# Two stamps: the pinned packages are installed when the lock changes, the project itself when its metadata does.
$(VENV)/.lock: requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "make: $(PYTHON) must be Python 3.11 or newer; name another with PYTHON=python3.12" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@touch $@

$(VENV)/.interlock: $(VENV)/.lock pyproject.toml
	@PYTHONWARNINGS="ignore:Editable installation" $(BIN)/python -m pip install --quiet --disable-pip-version-check \
	  --no-deps --no-build-isolation -e .
	@touch $@

demo: setup ## a month of real predictions with three incidents, live: Kafka, worker, guard, pages
	$(BIN)/interlock demo

demo-offline: setup ## the same on files alone
	$(BIN)/interlock demo --offline

check: setup ## format, lint, types and floors, without the tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

test: check ## everything: checks, unit, statistical and integration tests
	@rm -rf $(REPORTS) && mkdir -p $(REPORTS)
	$(PYTEST) -m "not statistical and not integration" --junitxml=$(REPORTS)/1-unit.xml
	$(PYTEST) -m "statistical and not integration" --junitxml=$(REPORTS)/2-statistical.xml
	$(PYTEST) -m integration -rs --junitxml=$(REPORTS)/3-integration.xml
	@$(BIN)/python .ci/summary.py $(REPORTS)

bench: setup ## the benchmarks, with the machine they ran on
	$(BIN)/python -m benchmarks

bench-detectors: setup ## Interlock's detectors beside River's, PyOD's and others', into docs/detectors.md
	OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.league

evidence: setup ## measure every acceptance test in full, into docs/evidence.md; takes a while
	$(BIN)/python -m benchmarks.evidence

chaos: setup ## 200 kills and worse on a Kafka of three nodes, a million mutated messages; into docs/evidence.md; SEED=1 KILLS=200; takes an hour
	$(BIN)/python -m benchmarks.chaos --seed $(SEED) --kills $(KILLS) --write

fmt: setup ## format, and mend what the linter can
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

# backports.zstd is refused by Python 3.14, which has the module itself; pip-compile drops that marker.
lock: setup ## pin every package anew within the bounds of pyproject.toml
	$(BIN)/pip-compile --quiet --generate-hashes --no-header --strip-extras --allow-unsafe --no-emit-index-url \
	  --no-emit-trusted-host --no-emit-find-links --extra worker --extra clickhouse --extra pagerduty --extra river --extra local --extra dev -o requirements.lock pyproject.toml
	sed -i 's/^\(backports-zstd==[^ ;]*\) \\$$/\1 ; python_version < "3.14" \\/' requirements.lock

clean: ## remove what was built; .venv stays
	rm -rf build dist out *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
