# `make demo`: the main job. `make test`: linter, type checker, and tests of every kind, in minutes.
# `make test-all`: all tests; `make test-rest`: those that `make test` leaves out.
# `make docs`: the site, in site/. Each sets up its own environment.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
EXTRAS := $(VENV)/.extras
MODELS := $(VENV)/.models
DEMO   ?= runs/digits-mlp
PYTEST := $(BIN)/python -m pytest -n 2 --dist worksteal

.PHONY: demo check test test-all test-rest docs format clean

demo: $(STAMP)
	$(BIN)/thalweg run digits-mlp --out $(DEMO) --overwrite

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

test: check
	$(PYTEST) -m "not slow and not survival"

test-all: check $(EXTRAS) $(MODELS)
	$(PYTEST)

test-rest: $(EXTRAS) $(MODELS)
	$(PYTEST) -m "slow or survival or torch"

# Notebooks are run: what they write, and what is compiled for them, is left in .docs.
docs: export JAX_COMPILATION_CACHE_DIR := $(CURDIR)/.docs/jax
docs: export NO_MKDOCS_2_WARNING := 1
docs: $(EXTRAS)
	mkdir -p .docs
	cd .docs && $(abspath $(BIN))/mkdocs build --strict --config-file ../mkdocs.yml

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

$(EXTRAS): $(STAMP)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[docs,explore,browser]'
	touch $@

# Libraries of models, so large that `make test` does without: of PyTorch the build for CPUs, if there.
$(MODELS): $(STAMP)
	$(BIN)/pip install --quiet --disable-pip-version-check 'torch==2.13.0' --editable '.[torch,dev-models]'
	touch $@

clean:
	rm -rf $(VENV) .docs site .pytest_cache .mypy_cache .ruff_cache
