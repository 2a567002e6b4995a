# Thin aliases: each sets up what it needs and calls one command. `seawall --help` lists the real ones.
SHELL := /bin/bash
.DEFAULT_GOAL := help
VENV := .venv
READY := $(VENV)/.ready
PYTEST := $(VENV)/bin/python -m pytest
# The first that runs and is new enough: a name on PATH may be a shim that leads nowhere.
PYTHON ?= $(shell for name in python3 python3.11 python3.12 python3.13; do \
	$$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && { command -v $$name; break; }; done)

# $(call stage,NAME,COMMAND): run it, say how long it took.
define stage
@start=$$SECONDS; echo "== $(1)"; $(2) && echo "== $(1): passed in $$((SECONDS - start)) s" \
	|| { echo "== $(1): FAILED after $$((SECONDS - start)) s"; exit 1; }
endef

# $(call debian,PACKAGE): installed where its command of the same name is missing, and its version told.
define debian
command -v $(1) >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update -qq \
	&& DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(1) >/dev/null; } \
	|| echo "seawall: no $(1) here, and it can't be installed: its tests will say so"; \
	$(1) --version 2>/dev/null | head -n 1
endef

.PHONY: help setup up down test lint unit judges lab e2e bench soak lock
help:
	@echo "make up      an empty machine → hardened, verified droplets behind a TLS load balancer"
	@echo "make down    nothing of it left, proven"
	@echo "make test    lint, unit, lab and end-to-end tests, on a lab of their own"
	@echo "make bench   what each phase costs, against docs/benchmarks.md"
	@echo "make soak    what takes longer than a coffee"
	@echo "make lock    resolve requirements.in into requirements.txt, and the judges' own"

setup: $(READY)

# The locks are whole, so nothing is resolved: pip would look for newer ones of what is needed with an extra, and refuse.
$(READY): requirements.txt pyproject.toml
	@[ -n "$(PYTHON)" ] \
		|| { echo "seawall: Python 3.11 or newer is needed and was not found; install python3 and python3-venv, or name one: make PYTHON=/path/to/python3"; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null \
		|| { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update -qq && apt-get install -y -qq --no-install-recommends python3-venv >/dev/null; } \
		|| { echo "seawall: this Python has no venv module; install it with: apt-get install python3-venv"; exit 1; }
	@echo "seawall: installing Python packages into $(VENV) (about a minute the first time)"
	@[ -x $(VENV)/bin/python ] || $(PYTHON) -m venv $(VENV)
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements.txt
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

up: $(READY)
	@$(VENV)/bin/seawall up

down: $(READY)
	@$(VENV)/bin/seawall down

test: lint unit judges lab e2e

lint: $(READY)
	$(call stage,lint,$(VENV)/bin/ruff check . && $(VENV)/bin/ruff format --check . && $(VENV)/bin/mypy)

unit: $(READY)
	$(call stage,unit,$(PYTEST) tests/unit)

judges: $(READY) .venv-judges/.ready .venv-oscal/.ready
	@$(call debian,chromium)
	$(call stage,judges,$(PYTEST) tests/judges)

.venv-judges/.ready: tests/judges/requirements.txt
.venv-oscal/.ready: tests/judges/requirements-oscal.txt
.venv-hosts/.ready: tests/judges/requirements-hosts.txt
.venv-judges/.ready .venv-oscal/.ready .venv-hosts/.ready: | $(READY)
	@echo "seawall: installing judges into $(@D)"
	@[ -x $(@D)/bin/python ] || $(VENV)/bin/python -m venv $(@D)
	@$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r $<
	@touch $@

lab: $(READY)
	$(call stage,setup,$(VENV)/bin/seawall setup)
	$(call stage,lab,$(PYTEST) tests/lab)

e2e: $(READY) .venv-hosts/.ready
	@$(call debian,nmap)
	$(call stage,end to end,$(PYTEST) tests/e2e)

bench: $(READY)
	@$(VENV)/bin/python -m tests.bench

soak: $(READY)
	@$(VENV)/bin/seawall setup
	@SEAWALL_SOAK=1 $(PYTEST) tests/lab/test_controls_mutants.py tests/lab/test_logs_faults.py \
		tests/lab/test_machines_qemu.py tests/e2e/test_drift.py tests/lab/test_roles_converge.py \
		tests/lab/test_roles_faults.py tests/lab/test_roles_lockout.py \
		tests/lab/test_engine_faults.py tests/lab/test_engine_operators.py tests/lab/test_api_scale.py \
		tests/lab/test_api_schemathesis.py tests/lab/test_engine_growth.py \
		tests/e2e/test_hardening.py

lock: $(READY)
	@$(VENV)/bin/uv pip compile requirements.in --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-emit-find-links --quiet --output-file requirements.txt
	@for name in requirements requirements-oscal requirements-hosts; do \
		$(VENV)/bin/uv pip compile tests/judges/$$name.in --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-emit-find-links --quiet --output-file tests/judges/$$name.txt; done
