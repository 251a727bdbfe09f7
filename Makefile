# `make demo`: the main job. `make test`: linter, type checker, and tests of every kind, in minutes.
# `make test-all`: all tests; `make test-rest`: those that `make test` leaves out.
# Each sets up its own environment.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
DEMO   ?= runs/digits-mlp
PYTEST := $(BIN)/python -m pytest -n 2 --dist worksteal

.PHONY: demo check test test-all test-rest format clean

demo: $(STAMP)
	$(BIN)/thalweg run digits-mlp --out $(DEMO) --overwrite

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

test: check
	$(PYTEST) -m "not slow and not survival"

test-all: check
	$(PYTEST)

test-rest: $(STAMP)
	$(PYTEST) -m "slow or survival"

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache
