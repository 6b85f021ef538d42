# Two commands matter: `make run` and `make test`. Both need Python 3.11+ and nothing else.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

.PHONY: run test check format lock openapi clean help

help: ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

$(READY): requirements-dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "po-api needs Python 3.11 or later; say which with: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "python could not make a virtual environment (on Debian: apt install python3-venv)" >&2; exit 1; }
	@echo "installing the locked requirements into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

run: $(READY) ## start everything: database, migrations, demo data, API
	@exec $(BIN)/po-api serve --demo

test: check ## every check: format, lint, types, import rules, tests
	@$(BIN)/python -m pytest --cov --cov-report=term --cov-fail-under=95

check: $(READY)
	@$(BIN)/ruff format --check --quiet . || { echo "run: make format" >&2; exit 1; }
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

test-server: $(READY) ## the tests on a PostgreSQL server whose binaries are installed (version 15 or later)
	@PO_TEST_POSTGRES=system $(BIN)/python -m pytest

format: $(READY) ## format and fix what can be fixed
	@$(BIN)/ruff check --quiet --fix .
	@$(BIN)/ruff format --quiet .

openapi: $(READY) ## write openapi.json anew
	@$(BIN)/po-api openapi --output openapi.json

lock: $(READY) ## lock the requirements anew (needs the package uv, taken into the environment for this)
	@$(BIN)/python -m pip install --quiet uv
	@$(BIN)/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --no-header \
		--no-emit-index-url --no-emit-find-links --extra build pyproject.toml --output-file requirements.txt
	@$(BIN)/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --no-header \
		--no-emit-index-url --no-emit-find-links --all-extras pyproject.toml --output-file requirements-dev.txt

clean: ## remove the environment and caches; .data, the database, is kept
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage
