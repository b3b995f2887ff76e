# `make run` starts a hub, `make check` answers within a minute, `make test` runs every test. They need only Python 3.11+ and make.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
# A process for each core; whoever has nothing left takes over tests of the others.
PYTEST = $(BIN)/pytest -n auto --dist worksteal

# pytest keeps its rewritten assertions beside the tests: without them, it needs twice as long to begin.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: run check test coverage test-all demo demo-cluster crash-test crash-test-cluster bench bench-full screenshots lint format release changelog hooks constraints clean

run: $(VENV)/.installed
	$(BIN)/hookbot serve --bind 127.0.0.1:8080 --router github

# Formatting, lint, types and the fast tests: an answer within a minute, after each change.
check: lint
	$(PYTEST) -m 'not slow' --hypothesis-profile quick

test: $(VENV)/.installed-dev
	$(PYTEST)

# Which lines and branches of a module its own test file does not reach.
coverage: $(VENV)/.installed-dev
	$(PYTEST) --cov --cov-context test --cov-report=
	$(BIN)/python scripts/module_coverage.py

# The tests on each of these Pythons, in an environment of its own. Shims of pyenv that start nothing count as not found.
test-all: test-3.11 test-3.12 test-3.13

test-3.%:
	@for python in python3.$* $(HOME)/.pyenv/versions/3.$*.*/bin/python; do \
		if $$python -c '' 2>/dev/null; then exec $(MAKE) test PYTHON=$$python VENV=.venv-3.$*; fi; \
	done; echo "Python 3.$* is not found: skipped"

demo: $(VENV)/.installed
	$(BIN)/python examples/demo.py

# With a PostgreSQL of its own, for which Debian's package postgresql has to be installed.
demo-cluster: $(VENV)/.installed-postgres
	$(BIN)/python examples/cluster/demo.py

crash-test: $(VENV)/.installed-dev
	PYTHONPATH=tests $(BIN)/python -m end_to_end.crash

# Two hubs and a private PostgreSQL, which must be installed.
crash-test-cluster: $(VENV)/.installed-dev
	PYTHONPATH=tests $(BIN)/python -m end_to_end.crash_cluster

bench: $(VENV)/.installed-dev
	$(BIN)/python -m benchmarks

bench-full: $(VENV)/.installed-dev
	$(BIN)/python -m benchmarks --full

# Pictures of the console for docs/images, drawn by Debian's chromium with its fonts-inter and fonts-jetbrains-mono.
screenshots: $(VENV)/.installed-dev
	PYTHONPATH=tests $(BIN)/python scripts/screenshots.py

lint: $(VENV)/.installed-dev
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/codespell
	$(BIN)/mypy

format: $(VENV)/.installed-dev
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

# Build and check sdist and wheel; CONTRIBUTING.md has the steps around it.
release: $(VENV)/.installed-dev
	$(BIN)/python scripts/release.py

# Move the fragments of changes/ into CHANGELOG.md, beneath the version of src/hookbot/version.py.
changelog: $(VENV)/.installed-dev
	$(BIN)/towncrier build --yes

# Before each commit git runs what .pre-commit-config.yaml names, with the tools of constraints.txt. Hooks are a matter of taste,
# so pre-commit is installed here only.
hooks: $(VENV)/.installed-dev
	$(BIN)/pip install --quiet --constraint constraints.txt 'pre-commit==4.*' 'pre-commit-hooks==6.*'
	$(BIN)/pre-commit install

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable .
	touch $@

$(VENV)/.installed-postgres: $(VENV)/.installed
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[postgres]'
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

# The versions that everything was tested with; run it on Python 3.11, in a clean checkout.
constraints:
	rm -rf $(VENV) && $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable '.[dev]'
	$(BIN)/pip freeze --exclude-editable --exclude hookbot > constraints.txt

clean:
	rm -rf $(VENV) $(VENV)-3.*
