# `make demo` and `make test` do all the set-up themselves; they need Python 3.10-3.13 and make.

PYTHON ?= python3
DEMO_OUT ?= runs/demo
WEB_OUT ?= runs/web

BIN := .venv/bin
INSTALLED := .venv/.installed
# With all that tests, documentation and packaging need besides.
DEVELOPMENT := .venv/.development

# A process a core, four at most (each takes up to 6 GB); a file of tests stays in one, so that what its
# tests share is made once. Files come by name: by their number of tests, those with few long ones, such as
# the notebook's, would come last, and one process would wait for the other.
WORKERS := -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

.PHONY: help demo test test-all test-parts mutations lint docs web wheel clean

help:
	@echo "make demo       segment photographs and a clip with the pretrained model (DEMO_OUT=$(DEMO_OUT))"
	@echo "make test       run the tests of the library: seven minutes on two cores"
	@echo "make test-all   run all tests, also of the guides, experiments and demos: 20 to 50 minutes"
	@echo "make test-parts PARTS=...  run some of what make test leaves out, see tests/parts.py"
	@echo "make mutations  break the code in 28 places and count what make test notices: half an hour"
	@echo "make lint       check style, formatting and types"
	@echo "make docs       build the documentation site, site/index.html"
	@echo "make web        write the page for browsers (WEB_OUT=$(WEB_OUT)) with MODEL=FILE.tflite or a preset"
	@echo "make wheel      build dist/*.whl"
	@echo "make clean      remove .venv and builds; runs/ stays"
	@echo "PYTHON=...      the Python (3.10-3.13) that .venv is made with, now $(PYTHON)"

demo: $(INSTALLED)
	$(BIN)/rnnseg demo --out "$(DEMO_OUT)"
	@echo "(. $(BIN)/activate puts rnnseg on the path)"

# tests/parts.py lists what `make test` leaves out.
test: $(DEVELOPMENT)
	$(BIN)/python -m pytest -q $(WORKERS) $$($(BIN)/python tests/parts.py ignored)

test-all: $(DEVELOPMENT)
	$(BIN)/python -m pytest -q $(WORKERS)

test-parts: $(DEVELOPMENT)
	$(BIN)/python -m pytest -q $(WORKERS) $(PARTS)

mutations: $(DEVELOPMENT)
	$(BIN)/python tests/mutations.py

lint: $(DEVELOPMENT)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(DEVELOPMENT)
	$(BIN)/mkdocs build --strict

# Needs npm, which fetches LiteRT.js.
web: $(INSTALLED)
	$(BIN)/rnnseg export $(MODEL) --web "$(WEB_OUT)" --overwrite
	@echo "to see it: python3 -m http.server --bind 127.0.0.1 --directory $(WEB_OUT)"

# A left-over build folder would put deleted modules into the wheel.
wheel: $(DEVELOPMENT)
	rm -rf build dist
	$(BIN)/python -m build --wheel

clean:
	rm -rf .venv build dist site *.egg-info .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamps come last, so that an interrupted installation starts anew. Some packages come as
# sources only, which the pip of Python 3.10 would build in a way that no longer works (PEP 517).
PIP_INSTALL := $(BIN)/python -m pip install --use-pep517 --constraint constraints.txt

$(INSTALLED): setup.cfg constraints.txt
	@command -v "$(PYTHON)" > /dev/null || { \
	    echo "error: no '$(PYTHON)' here; install Python 3.10, 3.11, 3.12 or 3.13, or name one: make PYTHON=python3.11"; \
	    exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' || { \
	    echo "error: '$(PYTHON)' is $$("$(PYTHON)" --version 2>&1); rnnseg needs Python 3.10, 3.11, 3.12 or 3.13: make PYTHON=python3.11"; \
	    exit 1; }
	"$(PYTHON)" -m venv --clear .venv
	$(PIP_INSTALL) --editable '.[data,video]'
	touch $@

$(DEVELOPMENT): $(INSTALLED)
	$(PIP_INSTALL) --editable '.[data,dev]'
	touch $@
