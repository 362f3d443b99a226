# make demo : set everything up, run every physics end to end, print the verdicts
# make test : set everything up, run all tests
# make conformance : every claim of the core against a law that is known, written to docs/conformance.md (minutes)
# make judge : the judge on fakes and on truth against truth, written to docs/judge.md (minutes)
# make regimes : dynamical regimes and memorization beside theory, written to docs/regimes.md (ten minutes)
# make emulators : likelihoods, posteriors, control variates, spectra, written to docs/emulators.md (minutes; not the topics that train)
# make benchmarks : cost beside limits and other codes, written to docs/benchmarks.md (minutes; needs a C compiler)
# make sohl-dickstein : the first diffusion models again, beside truth and paper, written to docs/sohl-dickstein.md (ten minutes of one core)
# make docs : the documentation as a site, docs/_build/html (minutes: its notebooks run)
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check install --quiet -c constraints.txt

export MLFLOW_DISABLE_TELEMETRY = true
export DO_NOT_TRACK = true
# tests and demo start a hundred processes that import physgen: compiled once, not by each of them
export PYTHONDONTWRITEBYTECODE =

.PHONY: demo test test-gpu lint types conformance judge regimes emulators benchmarks sohl-dickstein docs clean help
help:
	@sed -n 's/^# make/make/p' Makefile

$(BIN)/python:
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v >= (3, 11) else f"physgen needs Python 3.11 or newer, {sys.executable} is {v.major}.{v.minor}: run make PYTHON=/path/to/python3.11")'
	@$(PYTHON) -m venv $(VENV)

# azula judges our samplers; its own requirements would bring a torchvision that fits no CPU build, so it comes alone
$(VENV)/.runtime: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing physgen into $(VENV) (about two minutes the first time)"
	@$(PIP) -e .
	@$(BIN)/python -c 'from physgen.networks.native import library; library()'
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime
	@echo "installing the test oracles"
	@$(PIP) -e ".[dev]"
	@$(PIP) --no-deps azula
	@touch $@

demo: $(VENV)/.runtime
	@$(BIN)/physgen demo

lint: $(VENV)/.dev
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

types: $(VENV)/.dev
	@$(BIN)/mypy

test: $(VENV)/.dev lint types
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

conformance: $(VENV)/.dev
	@OMP_NUM_THREADS=2 $(BIN)/python -m benchmarks.conformance

# PQMass stands beside our two-sample test; its wheel asks for nothing that is not here
judge: $(VENV)/.dev
	@$(PIP) --no-deps pqm
	@OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.judge

regimes: $(VENV)/.dev
	@OMP_NUM_THREADS=2 $(BIN)/python -m benchmarks.regimes

emulators: $(VENV)/.dev
	@OMP_NUM_THREADS=2 $(BIN)/python -m benchmarks.emulators

sohl-dickstein: $(VENV)/.dev
	@OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.sohl_dickstein

# Pylians comes as source: it wants a C compiler with OpenMP
$(VENV)/.bench: $(VENV)/.dev
	@echo "installing the peers of the benchmarks (Pylians is compiled, about three minutes)"
	@$(PIP) -e ".[bench]"
	@touch $@

# make test-gpu : what needs a CUDA device, where there is one
test-gpu: $(VENV)/.dev
	@$(BIN)/python -m pytest -q tests/gpu tests/domains/spins/test_multispin.py

benchmarks: $(VENV)/.bench
	@OMP_NUM_THREADS=2 $(BIN)/python -m benchmarks.speed
	@$(BIN)/python -m benchmarks.gpu

docs: $(VENV)/.dev
	@$(PIP) -e ".[docs]"
	@OMP_NUM_THREADS=2 $(BIN)/python -m sphinx -b html -W --keep-going docs docs/_build/html
	@echo "open docs/_build/html/index.html"

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
