# Every target needs Python 3.11 or newer and make; nothing else (no Docker, no root, no secret). Only `engines` needs
# Go, Maven and a JDK.
# python3; or the system's, if python3 was built without optimisation, as pyenv does: it costs half as much again
FAST := import sys, sysconfig; sys.exit("--enable-optimizations" not in (sysconfig.get_config_var("CONFIG_ARGS") or ""))
NEW := import ensurepip, sys; sys.exit(sys.version_info < (3, 11))
ifndef PYTHON
PYTHON := $(shell if ! python3 -c '$(FAST)' && /usr/bin/python3 -c '$(NEW)'; then echo /usr/bin/python3; else echo python3; fi 2>/dev/null)
endif
BIN := .venv/bin
# if a shell forbids caching compiled modules, each of the many processes compiles three thousand files again
unexport PYTHONDONTWRITEBYTECODE

.PHONY: all env test engines test-engines check demo demo-engines bench format openapi lock clean help
all: env ## the environment in .venv (the default)

env: .venv/.made
.venv/.made: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Depesche needs Python 3.11 or newer: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==0.13.9
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

# three processes on two cores: many tests wait for a timer or a server
test: env ## all tests: unit, conformance, contracts, architecture, flows
	$(BIN)/pytest -n 3 --dist loadfile --max-worker-restart 0 --ignore tests/engines

engines: env ## build the real engines (Dapr, Kafka, OpenSearch …) once, outside the checkout
	$(BIN)/python -m cli.engines

test-engines: env ## tests against the engines; DEPESCHE_ENGINES_REQUIRED=1: a missing one fails
	$(BIN)/pytest tests/engines -rs

check: env ## format, lint, types, import rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

demo: env ## a shop's day through the whole suite, with faults; writes demo-report.json
	$(BIN)/python -m examples.shop.demo

demo-engines: env ## the same day as in production: a Dapr sidecar beside each program, Kafka and the other engines
	$(BIN)/python -m examples.shop.demo --engines

bench: env ## the four measurements, each with its JSON line
	$(BIN)/python -m bench.push && $(BIN)/python -m bench.email && $(BIN)/python -m bench.line && $(BIN)/python -m bench.why

format: env ## format, and fix what can be fixed automatically
	$(BIN)/ruff format . && $(BIN)/ruff check --fix .

openapi: env ## write docs/openapi.json, the merged document
	$(BIN)/python -m services openapi > docs/openapi.json

COMPILE := $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --no-emit-index-url pyproject.toml
lock: env ## update requirements.lock from pyproject.toml, and image.lock: the same versions of what an image needs
	$(COMPILE) --extra embedded --group dev -o requirements.lock
	$(COMPILE) --constraint requirements.lock --no-annotate -o image.lock

clean: ## remove what make created
	rm -rf .venv demo-report.json .pytest_cache .mypy_cache .ruff_cache

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14
