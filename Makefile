# Two commands do everything for a newcomer: `make run` and `make test`.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
PROTOS := $(wildcard proto/gamenode_proto/v1/*.proto)
DATA   ?= $(CURDIR)/.run

.PHONY: help install run stop test test-full check format types imports proto proto-check bench pictures snapshots requirements clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

install: $(STAMP) ## make .venv and install GameNode with what its tests need

$(STAMP): pyproject.toml requirements/dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "GameNode needs Python 3.11 or newer; try: make PYTHON=python3.11 $(MAKECMDGOALS)" >&2; exit 1; }
	@test -x $(BIN)/python || { echo "making $(VENV)"; $(PYTHON) -m venv $(VENV); }
	@echo "installing GameNode into $(VENV) (a minute the first time)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

run: $(STAMP) ## open the console, with a server and an agent for this machine (without a terminal: run host-report)
	@if [ -t 0 ] && [ -t 1 ]; then \
		exec $(BIN)/gamenode-console --data-dir $(DATA) --with-agent; \
	fi; \
	$(BIN)/gamenode --data-dir $(DATA) up; \
	$(BIN)/gamenode --data-dir $(DATA) pipeline run host-report --follow; \
	echo; \
	echo "GameNode runs on this machine. Try:"; \
	echo "  export GAMENODE_DATA_DIR=$(DATA) PATH=$(CURDIR)/$(BIN):\$$PATH"; \
	echo "  gamenode node ls"; \
	echo "  gamenode-console"; \
	echo "  make stop$(if $(filter-out $(CURDIR)/.run,$(DATA)), DATA=$(DATA))"

stop: $(STAMP) ## stop what `make run` started
	@$(BIN)/gamenode --data-dir $(DATA) down

test: $(STAMP) check ## check the code and run the test suite
	$(BIN)/pytest -q -m "not full" -n 2 --dist loadfile

test-full: $(STAMP) check ## everything, with the long loops at real times
	GAMENODE_FULL=1 GAMENODE_SEEDS=$${GAMENODE_SEEDS:-2000} $(BIN)/pytest -q -n 2 --dist loadfile

check: $(STAMP) format types imports proto-check ## format, lint, types, import rules, proto drift

format:
	@$(BIN)/ruff format --check --quiet . && $(BIN)/ruff check --quiet .

types:
	@$(BIN)/mypy

imports:
	@$(BIN)/lint-imports --no-logo

# Generates into $(1), so that a check touches nothing.
define generate
	cd proto && export PATH="$(CURDIR)/$(BIN):$$PATH" \
	&& python -m grpc_tools.protoc -I . --python_out=$(1) --mypy_out=quiet:$(1) $(PROTOS:proto/%=%) \
	&& python -m grpc_tools.protoc -I . --grpc_python_out=$(1) --mypy_grpc_out=quiet:$(1) \
		$$(grep -l '^service ' $(PROTOS:proto/%=%))
endef

proto: $(STAMP) ## generate the code for the .proto files
	@rm -f proto/gamenode_proto/v1/*_pb2*.py*
	@$(call generate,.)

proto-check: $(STAMP) ## fail if the generated code is not what the .proto files give
	@fresh=$$(mktemp -d); trap 'rm -rf "$$fresh"' EXIT; ($(call generate,$$fresh)); \
	diff -r --brief --exclude='*.proto' --exclude=__init__.py --exclude=__pycache__ $$fresh/gamenode_proto/v1 proto/gamenode_proto/v1 \
		|| { echo "the generated code is stale: run 'make proto' and commit what it writes" >&2; exit 1; }

bench: $(STAMP) ## run the benchmarks and print their tables
	@PYTHONPATH=tests $(BIN)/python -m benchmarks

pictures: $(STAMP) ## take the pictures of the documentation anew, from a real cluster
	@PYTHONPATH=tests $(BIN)/python -m benchmarks.pictures

snapshots: $(STAMP) ## take the tests' pictures of the console anew; look at what has changed before you commit it
	@$(BIN)/pytest -q tests/tui/test_console_snapshots.py --snapshot-update

requirements: ## pin the dependencies anew: versions and hashes, no addresses
	@for name in base agent dev; do \
		echo "requirements/$$name.txt"; \
		$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate \
			requirements/$$name.in --output-file requirements/$$name.txt; \
	done

clean: ## remove what was built, and nothing a user made
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache build dist
