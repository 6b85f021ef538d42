# The main targets are `make run` and `make test`. Both need only Python 3.11 or later.

# Where compiled modules are not kept, every process and every run compiles all modules and tests again.
unexport PYTHONDONTWRITEBYTECODE

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
# Two steps of one environment: the requirements of running, and the developers' tools.
RUNS   := $(VENV)/.runs
READY  := $(VENV)/.ready
PIP    := $(BIN)/python -m pip --disable-pip-version-check
# pip only shows its progress on a terminal.
QUIET  := $(shell test -t 2 || echo --quiet)
# The tools of test-clients, including Node.js, come first on PATH; the machine needs none of them.
WITH_NODE  := export PATH="$(CURDIR)/clients/.venv/bin:$$PATH" &&
IN_CLIENTS := $(WITH_NODE) cd clients &&
IN_SPA     := $(WITH_NODE) cd examples/spa &&
# Each worker has a PostgreSQL of its own; the database of DATABASE_TEST_URL or PO_TEST_CITUS_URL cannot be shared. One
# worker more than processors, since a quarter of the time is spent waiting for locks, time-outs, and servers that start
# and stop.
WORKERS  := $(shell $(PYTHON) -c 'import os; print(min(4, 1 + (os.cpu_count() or 1)))')
PARALLEL := $(if $(DATABASE_TEST_URL)$(PO_TEST_CITUS_URL),,--numprocesses $(WORKERS) --dist worksteal)
# What is not about a single feature. Whatever else test-fast leaves out is marked as heavy or exhaustive, or is further cases
# of a test that needs the database.
NOT_FAST := $(addprefix tests/,cli isolation operations resilience worker) \
	$(filter-out tests/test_settings.py,$(wildcard tests/test_*.py))

.PHONY: install run test test-fast coverage check check-format check-types test-server test-clients lint-openapi test-main-job test-browser bench bench-migrations format lock lock-clients openapi clean help

help: ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

$(RUNS): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "po-api needs Python 3.11 or later; choose one with: make PYTHON=python3.12 ..." >&2; exit 1; }
	@echo "1/3 creating a virtual environment in $(VENV) ..."
	@$(PYTHON) -m venv $(VENV) || { echo "python could not create a virtual environment (on Debian: apt install python3-venv)" >&2; exit 1; }
	@echo "2/3 installing the locked requirements, including PostgreSQL ..."
	@$(PIP) install $(QUIET) --require-hashes -r requirements.txt
	@echo "3/3 installing po-api ..."
	@$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

$(READY): $(RUNS) requirements-dev.txt
	@echo "installing the locked requirements of the developers' tools into $(VENV) ..."
	@$(PIP) install $(QUIET) --require-hashes -r requirements-dev.txt
	@touch $@

# For .ci/run, which installs all that it needs before its first tests. Collecting them compiles them: later each worker
# would do so for itself, all at the same time.
install: $(VENV)/.compiled clients/node_modules/.ready examples/spa/node_modules/.ready

$(VENV)/.compiled: $(READY)
	@$(BIN)/python -m pytest --collect-only --quiet >/dev/null || true  # make test tells what is wrong
	@touch $@

run: $(RUNS) ## start everything: database, migrations, demo data, API
	@exec $(BIN)/po-api serve --demo

# A recipe that contains the variable MAKE itself is run by `make -n` as well.
CHECK_TYPES := $(MAKE) --no-print-directory check-types

# The types and import rules take one processor at a time, so they are checked beside the tests; their result comes last.
test: check-format ## format, lint, types, import rules, and all tests but the exhaustive ones
	@mkdir -p build; $(CHECK_TYPES) >build/check-types 2>&1 & types=$$!; \
		trap 'kill $$types' INT TERM; \
		$(BIN)/python -m pytest -p no:schemathesis $(PARALLEL) -m "not exhaustive"; failed=$$?; \
		wait $$types || failed=1; cat build/check-types; exit $$failed

# As many workers as processors: these tests hardly wait, and each worker starts anew.
test-fast: PARALLEL := $(if $(DATABASE_TEST_URL)$(PO_TEST_CITUS_URL),,--numprocesses $(shell $(PYTHON) -c 'import os; print(min(4, os.cpu_count() or 1))') --dist worksteal)
test-fast: $(READY) ## about a minute: the tests of single features, few cases of each, no servers or processes
	@$(BIN)/python -m pytest --quiet -p no:schemathesis $(PARALLEL) --few -m "not heavy and not exhaustive" $(NOT_FAST:%=--ignore=%)

# Measuring coverage takes two thirds more time.
coverage: check ## make test and the exhaustive tests, with line and branch coverage
	@$(BIN)/python -m pytest $(PARALLEL) --cov --cov-report=term --cov-fail-under=95

check: check-format check-types

check-format: $(READY)
	@$(BIN)/ruff format --check --quiet . || { echo "run: make format" >&2; exit 1; }
	@$(BIN)/ruff check --quiet .

check-types: $(READY)
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache --no-logo

# Which tests these are, and why, is in tests/support/installed_server.py.
test-server: $(READY) ## the tests that depend on the version of PostgreSQL, on the installed one (15 or later)
	@PO_TEST_POSTGRES=system $(BIN)/python -m pytest $(PARALLEL)

# The tools of other projects that process openapi.json; they are installed in clients/, not in the project's environment.
# .ci/run makes them beside test-server.
test-clients: lint-openapi test-main-job test-browser ## lint openapi.json, run the main job with generated clients and in a browser

lint-openapi: clients/node_modules/.ready
	@$(IN_CLIENTS) REDOCLY_TELEMETRY=off REDOCLY_SUPPRESS_UPDATE_NOTICE=true npm run --silent lint

test-main-job: $(READY) clients/node_modules/.ready
	@$(IN_CLIENTS) npm run --silent generate
	@$(IN_CLIENTS) npm run --silent compile
	@$(BIN)/python clients/run.py

# Uses the installed Chromium, or the one that CHROMIUM names.
test-browser: $(READY) examples/spa/node_modules/.ready ## run the main job in Chromium with the example front end (needs Chromium)
	@$(IN_SPA) npm run --silent check
	@$(IN_SPA) npm run --silent e2e

examples/spa/node_modules/.ready: examples/spa/package.json examples/spa/package-lock.json clients/.venv/.ready
	@echo "installing the locked packages into examples/spa/node_modules ..."
	@$(IN_SPA) npm ci --loglevel error
	@touch $@

clients/node_modules/.ready: clients/package.json clients/package-lock.json clients/.venv/.ready
	@echo "installing the locked packages into clients/node_modules ..."
	@$(IN_CLIENTS) npm ci --loglevel error
	@touch $@

clients/.venv/.ready: clients/requirements.txt
	@$(PYTHON) -m venv clients/.venv
	@echo "installing the locked requirements into clients/.venv ..."
	@clients/.venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r clients/requirements.txt
	@touch $@

# BENCH: options such as --quick or --full; `.venv/bin/python -m benchmarks --help` lists them.
bench: $(READY) benchmarks/.venv/.ready ## measure, compared with two peers; results in benchmarks/results
	@$(BIN)/python -m benchmarks $(BENCH)

# BENCH: --requests 200000 takes a fifth of the time.
bench-migrations: $(READY) ## measure readers and writers while every revision runs on a million PORFs; results in benchmarks/results
	@$(BIN)/python -m benchmarks.migrations $(BENCH)

benchmarks/.venv/.ready: benchmarks/requirements.txt
	@$(PYTHON) -m venv benchmarks/.venv
	@echo "installing the locked requirements into benchmarks/.venv ..."
	@benchmarks/.venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r benchmarks/requirements.txt
	@touch $@

format: $(READY) ## format and fix what can be fixed
	@$(BIN)/ruff check --quiet --fix-only .
	@$(BIN)/ruff format --quiet .

openapi: $(READY) ## write openapi.json
	@$(BIN)/po-api openapi --output openapi.json

lock: $(READY) ## lock the requirements again (installs the package uv into the environment)
	@$(BIN)/python -m pip install --quiet uv
	@$(BIN)/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --no-strip-extras --no-header \
		--no-emit-index-url --no-emit-find-links --extra build --extra embedded pyproject.toml --output-file requirements.txt
	@$(BIN)/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --no-strip-extras --no-header \
		--no-emit-index-url --no-emit-find-links --extra build --extra redis --extra tracing pyproject.toml --output-file requirements-server.txt
	@$(BIN)/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --no-strip-extras --no-header \
		--no-emit-index-url --no-emit-find-links --all-extras pyproject.toml --output-file requirements-dev.txt
	@$(BIN)/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --no-strip-extras --no-header \
		--no-emit-index-url --no-emit-find-links benchmarks/requirements.in --output-file benchmarks/requirements.txt

# The funding addresses in npm's lock files are removed.
lock-clients: $(READY) clients/.venv/.ready ## lock the tools of test-clients again (installs uv, as above)
	@$(BIN)/python -m pip install --quiet uv
	@$(BIN)/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --no-strip-extras --no-header \
		--no-emit-index-url --no-emit-find-links clients/requirements.in --output-file clients/requirements.txt
	@$(IN_CLIENTS) npm install --loglevel error --package-lock-only
	@$(IN_SPA) npm install --loglevel error --package-lock-only
	@$(WITH_NODE) node -e 'const fs = require("fs"); for (const file of process.argv.slice(1)) { const lock = JSON.parse(fs.readFileSync(file)); for (const it of Object.values(lock.packages)) delete it.funding; fs.writeFileSync(file, JSON.stringify(lock, null, 2) + "\n"); }' \
		clients/package-lock.json examples/spa/package-lock.json

clean: ## remove the environments and caches; .data, the database, is kept
	rm -rf $(VENV) benchmarks/.venv clients/.venv clients/node_modules clients/build examples/spa/node_modules examples/spa/build build .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage
