# All tasks of development; `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help venv engine image editor workbench demo test test-engines soak bench check fix generate clean

PYTHON ?= python3
venv := .venv/bin

# Passed through the environment unchanged: neither make nor the shell may interpret a `$`, a quote
# or a blank in them.
ifdef REPO
override export REPO := $(value REPO)
endif
ifdef PROMPT
override export PROMPT := $(value PROMPT)
endif

help: ## List all targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

# Fails with the reason if a Python cannot be run: it is gone, or belongs to another user.
demand_python = "$(1)" -c '' 2>/dev/null || { echo '$(1) cannot be run by this user$(2)' >&2; exit 1; }
renew := : remove .venv, and run make again

venv: .venv/.compiled ## Install para and its tools into .venv
	@$(call demand_python,$(venv)/python,$(renew))

# As an installation does: if Python may not write here, each start would compile para again.
.venv/.compiled: .venv/.stamp $(wildcard para_server/*.py para_server/*/*.py)
	@$(call demand_python,$(venv)/python,$(renew))
	@$(venv)/python -m compileall -q para_server
	@touch $@

.venv/.stamp: pyproject.toml
	@$(call demand_python,$(PYTHON),: make PYTHON=/path/to/python3.11 …)
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo 'para needs Python 3.11 or newer: make PYTHON=/path/to/python3.11 …' >&2; exit 1; }
	@# Debian has what `venv` needs in a separate package.
	@if ! "$(PYTHON)" -c 'import ensurepip' 2>/dev/null; then \
	  if [ "$$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then \
	    echo 'Installing python3-venv (apt-get install)'; \
	    apt-get update -qq || echo 'Some package lists could not be fetched; continuing with the others'; \
	    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3-venv; \
	  else \
	    echo "$(PYTHON) cannot create a venv: sudo apt-get install python3-venv" >&2; exit 1; \
	  fi; \
	fi
	@echo 'Installing para and its tools into .venv'
	@"$(PYTHON)" -m venv .venv
	@$(venv)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

engine: ## Start a container engine if none responds; as root, install it
	@images/engine.sh >/dev/null

image: venv ## Build the base image if it is missing or stale
	@images/bookworm.sh
	@$(venv)/para image build

editor: venv editor/node_modules/.stamp ## Build the extension for VS Code, dist/para-VERSION.vsix
	@editor/package.sh

editor/node_modules/.stamp: editor/package-lock.json
	@command -v npm >/dev/null || { echo 'Building the extension needs Node.js 20 and npm' >&2; exit 1; }
	@cd editor && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >/dev/null
	@touch $@

workbench: ## Install the editors that the tests use
	@tests/editor/workbench.sh .cache/workbench

demo: image ## Run the demo; REPO=/path PROMPT='…' run it on your own repository
	@$(venv)/python -m tests.demo

test: image editor workbench ## Run all tests; as root with dockerd, also on further engines
	@$(venv)/python -m pytest
	@if [ "$$(id -u)" = 0 ] && command -v dockerd >/dev/null; then \
	  tests/engines.sh --slice newer podman userns tls one-cpu; \
	fi

test-engines: image ## Run the command tests on further engines; KINDS=… AS=UID
	@tests/engines.sh $(if $(AS),--user '$(AS)') $(KINDS)

soak: image editor workbench ## Run all tests with all cases; SEED=… repeats a run
	@$(venv)/python -m pytest --soak $(if $(SEED),--seed='$(SEED)')

bench: image ## Measure, and write the table and the plot to docs/
	@$(venv)/python -m tests.bench --write

check: venv ## Check lint, format and types
	@$(venv)/ruff check
	@$(venv)/ruff format --check
	@$(venv)/mypy

fix: venv ## Fix what the linter can fix, and format
	@$(venv)/ruff check --fix
	@$(venv)/ruff format

generate: venv ## Regenerate the generated files
	@$(venv)/python -m para_server.codegen

clean: ## Remove what make created here; the engine and its images stay
	rm -rf .venv .cache .*_cache .hypothesis build dist
	find . -name node_modules -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +
