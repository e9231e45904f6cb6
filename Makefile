# What a machine needs beforehand: git, make, and Python 3.11 or newer. The rest is set up here, in .venv.
#
#   make demo    the whole chain on a synthetic blood smear, a few minutes      → demo/report.html
#   make test    the tests
#   make quick   the tests without the slow ones
#   make lint    ruff, mypy --strict, import-linter
#   make docs    write the generated pages of docs/ anew
#   make hooks   let git run the checks of `make lint` before each commit
#   make clean   remove .venv and the demo

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo test quick lint docs hooks clean core dev python

VENV := .venv
BIN := $(VENV)/bin
# pip shows its progress on a terminal, and elsewhere only what went wrong.
PIP = $(BIN)/python -m pip --disable-pip-version-check --no-input $$([ -t 1 ] || echo -qq)
WORKERS ?= auto

help:
	@sed -n 's/^#   //p' Makefile

demo: core
	@echo "== demo: draws a smear, learns from it without labels, measures and reports; about five minutes"
	$(BIN)/hundredfold demo --out demo --resume
	@echo "== open demo/report.html in a browser"

test: dev
	@echo "== test: doctests of src and all tests, on $(WORKERS) processes"
	$(BIN)/python -m pytest -q -n $(WORKERS) --dist loadfile

quick: dev
	$(BIN)/python -m pytest -q -n $(WORKERS) --dist loadfile -m "not slow"

lint: dev
	@echo "== ruff"
	$(BIN)/ruff check .
	@echo "== mypy --strict"
	$(BIN)/mypy --strict
	@echo "== import-linter"
	$(BIN)/lint-imports

docs: dev
	$(BIN)/python docs/pages.py

hooks: dev
	$(BIN)/pre-commit install

clean:
	rm -rf $(VENV) demo

# A copy of pyproject.toml beside the packages says which requirements they were installed for.
core: python
	@if cmp -s pyproject.toml $(VENV)/core.toml || cmp -s pyproject.toml $(VENV)/dev.toml; then \
	  echo "== set-up: $(VENV) is up to date"; \
	else \
	  echo "== set-up: installing hundredfold and its dependencies into $(VENV)"; \
	  echo "   (the first time several GB are downloaded, most of them PyTorch's; later calls skip this)"; \
	  $(PIP) install --editable .; cp pyproject.toml $(VENV)/core.toml; \
	fi

dev: python
	@if cmp -s pyproject.toml $(VENV)/dev.toml; then \
	  echo "== set-up: $(VENV) is up to date"; \
	else \
	  echo "== set-up: installing hundredfold, its dependencies and the tools of its developers into $(VENV)"; \
	  echo "   (the first time several GB are downloaded, most of them PyTorch's; later calls skip this)"; \
	  $(PIP) install --editable '.[dev,bench]'; cp pyproject.toml $(VENV)/dev.toml; \
	fi

# Python 3.11 is what CI runs; a newer one is taken where there is none. PYTHON=/path/to/python chooses another.
python:
	@if ! $(BIN)/python -c 'import pip' 2>/dev/null; then \
	  new='import sys; sys.exit(sys.version_info < (3, 11))'; chosen=''; \
	  for candidate in $(PYTHON) python3.11 python3.12 python3.13 python3 python; do \
	    if $$candidate -c "$$new" >/dev/null 2>&1; then chosen=$$candidate; break; fi; \
	  done; \
	  if [ -z "$$chosen" ]; then \
	    echo "Python 3.11 or newer was not found. Install it, or name it: make demo PYTHON=/path/to/python3.11" >&2; \
	    exit 2; \
	  fi; \
	  echo "== set-up: making $(VENV) with $$($$chosen --version)"; \
	  $$chosen -m venv --clear $(VENV) || { \
	    echo "This Python cannot make virtual environments. On Debian and Ubuntu: apt-get install python3-venv" >&2; \
	    rm -rf $(VENV); exit 2; \
	  }; \
	fi
