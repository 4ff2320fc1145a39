# `make demo` and `make test` do all the set-up themselves; they need Python 3.10-3.12 and make.

PYTHON ?= python3
DEMO_OUT ?= runs/demo

BIN := .venv/bin
INSTALLED := .venv/.installed

# A process a core, four at most (each takes up to 6 GB); a file of tests stays in one, so that what its
# tests share is made once. Files come by name: by their number of tests, those with few long ones, such as
# the notebook's, would come last, and one process would wait for the other.
WORKERS := -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

.PHONY: help demo test test-fast lint docs wheel clean

help:
	@echo "make demo       train, evaluate and show a small segmenter on drawn data (DEMO_OUT=$(DEMO_OUT))"
	@echo "make test       run the whole test suite"
	@echo "make test-fast  run it without the slow tests"
	@echo "make lint       check style and formatting"
	@echo "make docs       build the documentation site, site/index.html"
	@echo "make wheel      build dist/*.whl"
	@echo "make clean      remove .venv and builds; runs/ stays"
	@echo "PYTHON=...      the Python (3.10-3.12) that .venv is made with, now $(PYTHON)"

demo: $(INSTALLED)
	$(BIN)/rnnseg demo --out "$(DEMO_OUT)"

test: $(INSTALLED)
	$(BIN)/python -m pytest -q $(WORKERS)

test-fast: $(INSTALLED)
	$(BIN)/python -m pytest -q $(WORKERS) -m "not slow"

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

docs: $(INSTALLED)
	$(BIN)/mkdocs build --strict

# A left-over build folder would put deleted modules into the wheel.
wheel: $(INSTALLED)
	rm -rf build dist
	$(BIN)/python -m build --wheel

clean:
	rm -rf .venv build dist site *.egg-info .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamp comes last, so that an interrupted installation starts anew. Some packages come as
# sources only, which the pip of Python 3.10 would build in a way that no longer works (PEP 517).
$(INSTALLED): setup.cfg constraints.txt
	@command -v "$(PYTHON)" > /dev/null || { \
	    echo "error: no '$(PYTHON)' here; install Python 3.10, 3.11 or 3.12, or name one: make PYTHON=python3.11"; \
	    exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' || { \
	    echo "error: '$(PYTHON)' is $$("$(PYTHON)" --version 2>&1); rnnseg needs Python 3.10, 3.11 or 3.12: make PYTHON=python3.11"; \
	    exit 1; }
	"$(PYTHON)" -m venv --clear .venv
	$(BIN)/python -m pip install --quiet --use-pep517 --constraint constraints.txt --editable '.[data,dev]'
	touch $@
