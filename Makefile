# The two commands of the README, and what they are made of.
#
#   make demo    set up what is missing, run the main job end to end, write reports/leaderboard.html
#   make test    set up what is missing, run the tests
#
#   make test-slow        run the tests that are long and rare: kill storms, the documented
#                         commands of several processes, every model family at length; the build
#                         (.ci/run) runs them too
#
#   make test-families    hold every family of image-text models against transformers alone, on
#                         tiny checkpoints of it; `make test-slow` does so for the dozen most
#                         used, and `make test` for three of them
#
#   make test-versions    run the tests of models, families, engine and distillation on the oldest
#                         and the newest releases of transformers and torch that are supported, and
#                         on those between (up to 6 GB in a cache folder; for a schedule)
#
#   make docs             build the documentation as a site in site/ (30 MB of tools, once)
#   make reference        write docs/reference anew, after a change of commands or of records
#
#   make audit            look up known vulnerabilities of what is installed, where there is a
#                         network; for a schedule, once a week say
#   make hashes           write constraints-hashes.txt anew, after a change of constraints.txt
#
# Variables:
#   ONE          a file, a folder or a test, for `make test ONE=tests/test_mini.py`: it alone is
#                run, slow or not
#   WORKERS      processes that run the tests; as many as there are cores, unless given
#   PYTHON       the interpreter that makes .venv (3.11 or later)
#   TORCH_INDEX  address of a package index to take torch from. A machine without a GPU that gets
#                several gigabytes of CUDA packages from its default index should give the address
#                of the PyTorch project's index of CPU builds here (its installation page has it).
#   RELEASES     what `make test-versions` runs on: releases of transformers, each after a + with
#                one of torch, or alone with the one of .venv

PYTHON ?= python3
TORCH_INDEX ?=
RELEASES ?= 5.23.0+2.11.0 5.24.0+2.12.1 5.24.0+2.13.0
ONE ?=
WORKERS ?= auto
BIN := .venv/bin
VENVS := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/harness/transformers$(subst /,-,$(CURDIR))
MODEL_TESTS := $(addprefix tests/test_,$(addsuffix .py,checkpoints device_map devices distill_examples \
  distill_precision distill_student distill_train engine families generative kosmos2 library_repairs lora \
  mllama model_families moondream phi3v pickled published seven versions vilt))

PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
SITE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/harness/site$(subst /,-,$(CURDIR))
TOOLS := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/harness/tools$(subst /,-,$(CURDIR))

# Each worker begins with a share of the files; who is done first takes over tests of another.
PYTEST = $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

# Hundreds of processes start: what one has compiled the next one reads, whatever the user's habit.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: setup demo test test-slow test-families test-versions lint docs reference audit hashes

setup: .venv/installed

.venv/installed: pyproject.toml constraints.txt constraints-hashes.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or later is needed: make PYTHON=python3.12 ..."; exit 1; }
	@echo "Setting up .venv with torch, transformers and the rest (a few minutes, once) ..."
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear .venv || \
	  { echo "Python cannot make .venv here; on Debian and Ubuntu: apt install python3-venv"; exit 1; }
	@$(PIP) --require-hashes --no-deps -r constraints-hashes.txt
	@# torch has a build for each device, from whichever index or folder: it has a version, no hash.
	@$(PIP) -c constraints.txt $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch
	@$(PIP) --no-deps --no-build-isolation -e .
	@touch $@
	@echo "Ready: $(BIN)/harness --help"

demo: setup
	$(BIN)/harness demo

test: setup
	$(if $(ONE),$(BIN)/python -m pytest $(ONE),$(PYTEST) -m "not slow and not families")

test-slow: setup
	$(PYTEST) -m slow

test-families: setup
	$(PYTEST) tests/test_families.py tests/test_students.py

# A release is installed over .venv's packages, in an environment of its own. Of torch that of .venv
# is kept where it is the one that is asked for.
$(VENVS)/%/installed: .venv/installed
	@$(BIN)/python -m venv --clear $(@D)
	@$(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' \
	  > $$($(@D)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/base.pth
	@set -- $(subst +, ,$*); \
	  ours=$$($(BIN)/python -c 'import importlib.metadata as m; print(m.version("torch").split("+")[0])'); \
	  $(@D)/bin/python -m pip install --quiet --disable-pip-version-check transformers==$$1 && \
	  if [ "$${2:-$$ours}" != "$$ours" ]; then $(@D)/bin/python -m pip install --quiet \
	    --disable-pip-version-check $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch==$$2; fi
	@touch $@

test-versions: $(RELEASES:%=$(VENVS)/%/installed)
	@for release in $(RELEASES); do \
	  echo "transformers and torch $$release"; \
	  $(VENVS)/$$release/bin/python -m pytest -n $(WORKERS) --dist worksteal $(MODEL_TESTS) || exit 1; \
	done

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

reference: setup
	$(BIN)/python docs/write_reference.py

# Tools of their own environment: what they ask for is not the project's.
$(SITE)/installed: docs/requirements.txt
	@$(PYTHON) -m venv --clear $(@D)
	@$(@D)/bin/python -m pip install --quiet --disable-pip-version-check -r docs/requirements.txt
	@touch $@

docs: $(SITE)/installed
	@NO_MKDOCS_2_WARNING=1 $(SITE)/bin/mkdocs build --quiet --strict --site-dir site
	@echo "The documentation: site/index.html"

$(TOOLS)/installed:
	@$(PYTHON) -m venv --clear $(@D)
	@$(@D)/bin/python -m pip install --quiet --disable-pip-version-check pip-audit uv || \
	  { echo "pip-audit and uv cannot be had: is there a network?"; exit 1; }
	@touch $@

audit: setup
	@$(MAKE) --no-print-directory $(TOOLS)/installed || { echo "Not audited."; exit 0; }
	@test ! -e $(TOOLS)/installed || $(BIN)/python .ci/audit $(TOOLS)/bin

hashes: $(TOOLS)/installed
	.ci/hashes $(TOOLS)/bin
