# What a newcomer and a maintainer type. In a fresh clone each target makes the virtual environment that it needs.
#   make PYTHON=python3.12 …   another Python      make VENV=/path …   another place for the environment
#   make test ARGS="tests/data -k scan"            options for pytest
#   make bench BENCH=speed ARGS="--only pass"      one of the benchmarks (claims/results, speed, claims/serving, …), and its options

PYTHON ?= python3
VENV   ?= .venv
ARGS   ?=
BENCH  ?= claims/results speed claims/serving
# Tests on several cores; a worker takes half a gigabyte.
SPREAD ?= -n auto --maxprocesses 4 --dist worksteal

BIN := $(VENV)/$(if $(filter Windows_NT,$(OS)),Scripts,bin)
PY  := $(BIN)/python
# A stamp is newer than pyproject.toml when the environment holds what pyproject.toml asks for.
USER_STAMP  := $(VENV)/.headstart
DEV_STAMP   := $(VENV)/.headstart-dev
BENCH_STAMP := $(VENV)/.headstart-bench

.DEFAULT_GOAL := help
.PHONY: help venv demo test test-all check bench fuzz docs clean

help:  ## print this list
	@echo "headstart: make TARGET"
	@sed -n 's/^\([a-z-]*\):.*##  *\(.*\)/  \1	\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 12

venv: $(DEV_STAMP)  ## make the virtual environment and install headstart with its development tools

demo: $(USER_STAMP)  ## see it work in about a minute, offline: probe, fine-tuning and training from scratch on handwritten digits
	@$(BIN)/headstart demo $(ARGS)

test: $(DEV_STAMP)  ## run the tests, without the slow ones (those that need real photos: HEADSTART_ASSETS, see CONTRIBUTING.md)
	@$(PY) -m pytest $(SPREAD) -m "not slow" $(ARGS)

test-all: $(DEV_STAMP)  ## run all tests: also the slow ones, several processes, Ray, notebooks, browsers
	@$(PY) -m pytest $(SPREAD) $(ARGS)

check: $(DEV_STAMP)  ## lint, format, types, import contracts, documents generated from the code, all tests
	$(PY) -m ruff check src tests benchmarks scripts notebooks
	$(PY) -m ruff format --check src tests benchmarks scripts notebooks
	$(PY) -m mypy --platform linux --cache-dir .mypy_cache/linux
	$(PY) -m mypy --platform darwin --cache-dir .mypy_cache/darwin
	$(PY) -m mypy --platform win32 --cache-dir .mypy_cache/win32
	$(BIN)/lint-imports
	$(PY) scripts/make_cli_reference.py --check
	$(PY) scripts/make_api_reference.py --check
	$(PY) -m pytest $(SPREAD) $(ARGS)

bench: $(BENCH_STAMP)  ## measure results and speed, beside peers (HEADSTART_ASSETS names the folder of photos and weights)
	@test -d "$(HEADSTART_ASSETS)" || { echo "Set HEADSTART_ASSETS to the folder of real photos and weights (see CONTRIBUTING.md)." >&2; exit 1; }
	@for name in $(BENCH); do script=benchmarks/$$name; test -d $$script || script=benchmarks/claims/$$(basename $$name).py; \
		$(PY) $$script "$(HEADSTART_ASSETS)" $(ARGS) || exit 1; done

fuzz: $(DEV_STAMP)  ## ten minutes of mutated files, forms, tables, archives, recipes, models and caches (ARGS="--minutes 60")
	@$(PY) scripts/run_fuzz.py $(ARGS)

docs: $(DEV_STAMP)  ## write the references of command line and Python anew from the code, and build the site in site/
	@$(PY) scripts/make_cli_reference.py
	@$(PY) scripts/make_api_reference.py
	@NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --quiet
	@echo "The site: $(PY) -m http.server --directory site"

clean:  ## remove the virtual environment and what tools left
	rm -rf $(VENV) build dist site .pytest_cache .mypy_cache .ruff_cache src/*.egg-info

# The environment for users. One with the development tools serves as well, so that it is never installed twice.
$(USER_STAMP): pyproject.toml | $(PY)
	@if [ $(DEV_STAMP) -nt pyproject.toml ]; then :; else $(call install,.); fi
	@touch $@

$(DEV_STAMP): pyproject.toml | $(PY)
	@$(call install,.[dev])
	@touch $@ $(USER_STAMP)

$(BENCH_STAMP): $(DEV_STAMP)
	@$(call install,.[bench]) && touch $@ || echo "The peers could not be installed: benchmarks/speed leaves them out." >&2

define install
echo "Installing headstart and what it stands on into $(VENV). PyTorch is large: this takes minutes, once." >&2 \
	&& $(PY) -m pip install --quiet --disable-pip-version-check -e "$(1)"
endef

$(PY):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "headstart needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) --version 2>/dev/null || echo missing)." >&2; \
		echo "  Name another: make $(or $(MAKECMDGOALS),test) PYTHON=python3.12" >&2; exit 1; }
	@echo "Making a virtual environment in $(VENV) …" >&2
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
		echo "The virtual environment could not be made (on Debian and Ubuntu: apt install python3-venv)." >&2; exit 1; }
