# make essential   runs the essential cases for real: the claude CLI, answered by a small model on this machine
# make test        lint, types, layers, tests
# make bench       benchmarks
# make clean       removes what the others made

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: essential test lint types layers tests bench clean

essential: $(INSTALLED)
	$(BIN)/pytest-llmcall local pull
	$(BIN)/pytest essential_cases -m llm --llm-concurrency 8 --llm-local
	$(BIN)/python essential_cases/enough.py 8

test: lint types layers tests

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(INSTALLED)
	$(BIN)/mypy

layers: $(INSTALLED)
	$(BIN)/lint-imports --no-logo

tests: $(INSTALLED)
	$(BIN)/pytest-llmcall local pull
	$(BIN)/pytest -n logical --dist loadfile

bench: $(INSTALLED)
	$(BIN)/python -m bench.run

$(INSTALLED): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable '.[claude-cli,local,dev]'
	touch $@

clean:
	rm -rf $(VENV) .venv-ci* .llmcall build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
