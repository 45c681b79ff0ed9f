# Every target does its own set-up, in .venv inside the checkout. `make` alone lists them.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
# The tested set; `make test PINS=` takes the newest releases, PINS=--pre what comes after them.
PINS   ?= -c constraints.txt
# A process takes about 2 GB; near its end the faster one takes tests of the other.
SPREAD ?= --numprocesses logical --maxprocesses 4 --dist worksteal
# make mini FILES="one.h5ad two.h5ad" NAMES=names.csv PROFILES=types.h5ad [MINI=output-folder]
# Takes about 16 GB of memory and 1.2 hours on one core; glibc's allocator doubles the time, so preload tcmalloc.
FILES  ?=
NAMES  ?=
PROFILES ?=
MINI   ?= build/genemamba-mini

.NOTPARALLEL: # two installs into one environment would collide
.PHONY: help demo test examples lint types docs tutorials mini clean

help: ## this list
	@sed -nE 's/^([a-z]+):.*## (.*)/  make \1\t\2/p' Makefile | expand -t 16

demo: $(VENV)/installed ## embed and cluster real cells with the bundled checkpoint, no network
	$(BIN)/genemamba demo

test: $(VENV)/installed-test ## all tests, on as many cores as there are up to four
	$(BIN)/python -m pytest $(SPREAD)

examples: $(VENV)/installed-test ## the examples of all docstrings
	MPLBACKEND=Agg $(BIN)/python -m pytest --doctest-modules --ignore-glob='*/network/*' --ignore-glob='*/train/*' \
		--ignore-glob='*/cli.py' -W ignore src/genemamba

lint: $(VENV)/installed-dev ## ruff: rules and format
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(VENV)/installed-dev ## mypy over src
	$(BIN)/mypy

docs: $(VENV)/installed-docs ## the documentation, into docs/_build/html
	$(BIN)/sphinx-build -W --keep-going -b html docs docs/_build/html

tutorials: $(VENV)/installed-tutorials ## execute all notebooks and store their outputs; git diff shows what changed
	$(BIN)/python tutorials/execute.py

mini: $(VENV)/installed-train ## train genemamba-mini again: make mini FILES="*.h5ad" NAMES=csv PROFILES=h5ad
	@test -n "$(FILES)" -a -n "$(NAMES)" -a -n "$(PROFILES)" || { echo "Say what to train on: make mini FILES=\"one.h5ad two.h5ad\" NAMES=names.csv PROFILES=types.h5ad" >&2; exit 2; }
	$(BIN)/genemamba build-corpus $(FILES) --out $(MINI)-corpus --gene-names $(NAMES) \
		--profiles $(PROFILES) --labels benchmarks/labels.csv
	$(BIN)/genemamba pretrain genemamba-mini --corpus $(MINI)-corpus --out $(MINI)

clean: ## remove everything that make made, .venv included
	rm -rf $(VENV) build dist docs/_build docs/api/generated .pytest_cache .mypy_cache .ruff_cache .hypothesis

# Stamps: a second run installs nothing; a changed pyproject.toml or constraints.txt installs again.
$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install $(PINS) -e .
	touch $@

$(VENV)/installed-%: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install $(PINS) -e '.[$*]'
	touch $@
