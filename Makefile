PYTHON ?= python3
# From here on only the command line counts: some shells export a HOST of their own.
HOST = 127.0.0.1
ARGS =

venv := .venv
bin := $(venv)/bin
pip := $(bin)/python -m pip --disable-pip-version-check --quiet
# What the stamp files stand for: the environment can serve; it can also check and test.
runs := $(venv)/.runs
tests := $(venv)/.tests
sources := events projections service migrations tests
# One more than there are processors: tests of outages and of browsers wait for much of their time.
workers = $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install run test check format bench crash streams pins clean

help: ## Say what can be made.
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(runs) ## Make .venv and install the service in it.

run: $(runs) ## Serve on this machine, http://127.0.0.1:8000 (HOST=0.0.0.0 for others; settings: .env.example).
	@$(bin)/agent-spy serve --migrate --host $(HOST)

test: check ## Check, then run every test on SQLite and on PostgreSQL (ARGS= goes to pytest).
	$(bin)/python -m pytest --numprocesses=$(workers) --dist=loadfile --no-loadscope-reorder $(ARGS)

check: $(tests) ## Lint, types, directions of imports, compose.yaml and Dockerfile.
	$(bin)/ruff check $(sources)
	$(bin)/ruff format --check $(sources)
	$(bin)/mypy
	$(bin)/lint-imports
	$(bin)/check-jsonschema --builtin-schema vendor.compose-spec compose.yaml
	$(bin)/hadolint Dockerfile

format: $(tests) ## Format the code and mend what the linter can mend.
	$(bin)/ruff check --fix $(sources)
	$(bin)/ruff format $(sources)

bench: $(tests) ## Measure the speed of a server (ARGS= goes to tests/benchmarks).
	$(bin)/python -m tests.benchmarks $(ARGS)

crash: $(tests) ## Kill servers under load and look for what they lost (ARGS= goes to tests/crash).
	$(bin)/python -m tests.crash $(ARGS)

streams: $(tests) ## Follow the log with many readers that lose their connections (ARGS= goes to tests/streams).
	$(bin)/python -m tests.streams $(ARGS)

# The runtime's pins come first: the tests' file is made to agree with them.
pins: $(tests) ## Pin anew what every requirements.in names (ARGS=--upgrade for newer versions).
	@for file in requirements.in tests/requirements.in tests/sdk/clients/*/requirements.in; do \
		echo "$$file"; \
		$(bin)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
			--no-emit-index-url --no-annotate --custom-compile-command 'make pins' $(ARGS) \
			"$$file" --output-file "$${file%.in}.txt" || exit 1; \
	done

clean: ## Remove .venv, the SDKs under test and what the tools left. Data stays.
	rm -rf $(venv) .clients build *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find $(sources) -name __pycache__ -prune -exec rm -rf {} +

$(bin)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=...")'
	$(PYTHON) -m venv $(venv)

$(runs): requirements.txt pyproject.toml | $(bin)/python
	$(pip) install --require-hashes --requirement requirements.txt
	$(pip) install --no-deps --no-build-isolation --editable .
	@touch $@

$(tests): tests/requirements.txt $(runs)
	$(pip) install --no-compile --require-hashes --requirement tests/requirements.txt
	@touch $@
