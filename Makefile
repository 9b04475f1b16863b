# Everything that is done to para goes through here; `make help` lists it.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help venv engine image editor workbench demo test test-engines soak bench check fix generate clean

PYTHON ?= python3
venv := .venv/bin

# Passed on through the environment, letter by letter: neither make nor the shell may read a `$`, a
# quote or a blank in them as its own.
ifdef REPO
override export REPO := $(value REPO)
endif
ifdef PROMPT
override export PROMPT := $(value PROMPT)
endif

help: ## List what there is to make
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

# Fails with the reason where a Python that is named cannot be run at all: it is gone, or another user's.
demand_python = "$(1)" -c '' 2>/dev/null || { echo '$(1) cannot be run by this user$(2)' >&2; exit 1; }
renew := : remove .venv, and run make again

venv: .venv/.compiled ## Install para and its tools into .venv
	@$(call demand_python,$(venv)/python,$(renew))

# As an installation does it: where Python may not write, each start would compile para anew.
.venv/.compiled: .venv/.stamp $(wildcard para_server/*.py para_server/*/*.py)
	@$(call demand_python,$(venv)/python,$(renew))
	@$(venv)/python -m compileall -q para_server
	@touch $@

.venv/.stamp: pyproject.toml
	@$(call demand_python,$(PYTHON),: make PYTHON=/path/to/python3.11 …)
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo 'para needs Python 3.11 or newer: make PYTHON=/path/to/python3.11 …' >&2; exit 1; }
	@# Debian keeps what `venv` needs in a package of its own.
	@if ! "$(PYTHON)" -c 'import ensurepip' 2>/dev/null; then \
	  if [ "$$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then \
	    echo 'Installing python3-venv (apt-get install)'; \
	    apt-get update -qq || echo 'Some package lists could not be fetched; going on with those there are'; \
	    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3-venv; \
	  else \
	    echo "$(PYTHON) cannot make a venv: sudo apt-get install python3-venv" >&2; exit 1; \
	  fi; \
	fi
	@echo 'Installing para and its tools into .venv'
	@"$(PYTHON)" -m venv .venv
	@$(venv)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

engine: ## Make sure that a container engine answers; as root on Debian or Ubuntu, install and start one
	@images/engine.sh >/dev/null

image: venv ## Make sure that the base image is there and up to date
	@images/bookworm.sh
	@$(venv)/para image build

editor: venv editor/node_modules/.stamp ## Make the extension for VS Code, dist/para-VERSION.vsix
	@editor/package.sh

editor/node_modules/.stamp: editor/package-lock.json
	@command -v npm >/dev/null || { echo 'The extension is made with Node.js 20 and npm' >&2; exit 1; }
	@cd editor && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >/dev/null
	@touch $@

workbench: ## Make sure that there are the editors to test in
	@tests/editor/workbench.sh .cache/workbench

demo: image ## Show the main job; REPO=/path and PROMPT='…' do it on your own repo
	@$(venv)/python -m tests.demo

test: image editor workbench ## Run all tests; as root with dockerd, a life of sessions on further engines too
	@$(venv)/python -m pytest
	@if [ "$$(id -u)" = 0 ] && command -v dockerd >/dev/null; then \
	  tests/engines.sh --slice newer podman userns tls one-cpu; \
	fi

test-engines: image ## Run the command tests on each kind of engine; KINDS='newer podman' chooses, AS=UID who runs them
	@tests/engines.sh $(if $(AS),--user '$(AS)') $(KINDS)

soak: image editor workbench ## Run all tests, each with all its cases; SEED=… repeats a run
	@$(venv)/python -m pytest --soak $(if $(SEED),--seed='$(SEED)')

bench: image ## Measure, and write table and plot to docs/
	@$(venv)/python -m tests.bench --write

check: venv ## Lint, check the format and the types
	@$(venv)/ruff check
	@$(venv)/ruff format --check
	@$(venv)/mypy

fix: venv ## Repair what the linter can, and format
	@$(venv)/ruff check --fix
	@$(venv)/ruff format

generate: venv ## Write the generated files anew
	@$(venv)/python -m para_server.codegen

clean: ## Remove what make put into this folder; the engine and its images stay
	rm -rf .venv .cache .*_cache .hypothesis build dist
	find . -name node_modules -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +
