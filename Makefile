# Everything happens in .venv, made on first use. `make demo` and `make test` are all that a fresh machine needs.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
DOCUMENTED := $(VENV)/.documented

# How pytest runs; PYTEST_ARGS='-k masks' picks tests, COVERAGE= leaves out coverage.
COVERAGE ?= --cov=diffim_decorr --cov-branch --cov-report=term-missing:skip-covered --cov-fail-under=90
PYTEST_ARGS ?=

# What is measured: AGAINST=REV compares to an earlier commit, ARGS are options of benchmarks/run.py.
BENCH = $(if $(AGAINST),--against '$(AGAINST)') $(ARGS)

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow fuzz faults lint docs docs-links dist tables regression regression-record bench bench-full detection noise calibration clean

help:
	@echo 'make demo               simulate an exposure pair, decorrelate its difference, draw demo/demo.png'
	@echo 'make test               the tests, with coverage'
	@echo 'make test-slow          those of scripts, clusters, crowds of stars and spoilt inputs, which take as long as a third of the others'
	@echo 'make fuzz N=1000        inputs with anything wrong in them, over all commands; SEED= tries others'
	@echo 'make faults N=1000      calls by which outputs are written, failing or interrupted; SEED= tries others'
	@echo 'make lint               ruff, mypy, and the floors of the house (import-linter)'
	@echo 'make docs               the documentation, in docs/_build/html; docs-links looks at links that lead out'
	@echo 'make dist               wheel and sdist, in dist/'
	@echo 'make tables             write what follows from the declarations of options: keyword types, tables of the docs'
	@echo 'make regression         fixed cases against stored figures; non-zero exit on drift'
	@echo 'make regression-record  store the figures of now'
	@echo 'make bench, bench-full  timings, written to docs/benchmarks.md; the second on images of up to 16384² pixels, too'
	@echo 'make bench AGAINST=REV  timings and pixels of this tree against an earlier commit; ARGS=… takes any option of'
	@echo '                        benchmarks/run.py, such as --only real'
	@echo 'make noise              noise models on resampled noise, judged on other noise, written to docs/evidence/noise.md'
	@echo 'make detection          false and true detections before and after, sources injected into real pairs, fluxes at steps of'
	@echo '                        the depth: written to docs/detection.md'
	@echo 'make calibration        verdicts and figures on perfect noise, written to docs/calibration.md'
	@echo 'make clean              remove .venv and whatever the above wrote'

$(INSTALLED): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo '$(PYTHON): decorr needs Python 3.11 or newer (make PYTHON=python3.11 …)' >&2; exit 1; }
	@echo 'installing into $(VENV)'
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@# Of what is installed for good pip does this: else each start compiles the package, where Python may not keep it.
	@$(BIN)/python -m compileall -q diffim_decorr
	@touch $@

demo: $(INSTALLED)
	@$(BIN)/python examples/demo.py demo

test: $(INSTALLED)
	$(BIN)/python -m pytest -n auto -m 'not slow' $(COVERAGE) $(PYTEST_ARGS)

test-slow: $(INSTALLED)
	$(BIN)/python -m pytest -n auto -m slow $(PYTEST_ARGS)

fuzz: $(INSTALLED)
	DECORR_FUZZ=$(or $(N),1000) DECORR_FUZZ_SEED=$(or $(SEED),1) $(BIN)/python -m pytest -n auto -q tests/fuzz

faults: $(INSTALLED)
	DECORR_FAULTS=$(or $(N),1000) DECORR_FAULTS_SEED=$(or $(SEED),1) $(BIN)/python -m pytest -n auto -q tests/faults

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

$(DOCUMENTED): $(INSTALLED)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[docs]'
	@touch $@

# Any warning is an error, and any link within it that leads nowhere.
docs: $(DOCUMENTED)
	$(BIN)/sphinx-build -q -W --keep-going -j auto docs docs/_build/html
	$(BIN)/python tools/links.py docs/_build/html

docs-links: $(DOCUMENTED)
	$(BIN)/sphinx-build -q -b linkcheck docs docs/_build/links

dist: $(INSTALLED)
	rm -rf dist
	$(BIN)/python -m build --outdir dist .
	$(BIN)/python -m twine check --strict dist/*

tables: $(INSTALLED)
	$(BIN)/python tools/tables.py

regression: $(INSTALLED)
	$(BIN)/python regression/run.py

regression-record: $(INSTALLED)
	$(BIN)/python regression/run.py --record

bench: $(INSTALLED)
	$(BIN)/python benchmarks/run.py $(BENCH)

bench-full: $(INSTALLED)
	$(BIN)/python benchmarks/run.py --full $(BENCH)

detection: $(INSTALLED)
	$(BIN)/python benchmarks/detection/run.py

noise: $(INSTALLED)
	$(BIN)/python benchmarks/local_noise.py

calibration: $(INSTALLED)
	$(BIN)/python benchmarks/calibration.py

clean:
	rm -rf $(VENV) demo build dist docs/_build docs/_pictures docs/reference/generated *.egg-info .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
