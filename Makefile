# Works on a fresh machine with Python >= 3.11 and make: everything else is installed into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export OMP_NUM_THREADS ?= 1
# Freed memory is kept for what comes next, as in the program's workers: else the system clears its pages each time.
export MALLOC_MMAP_MAX_ ?= 0
export MALLOC_TRIM_THRESHOLD_ ?= 2147483647
# What is compiled once is kept: else every one of the many processes that tests start would compile the program anew.
unexport PYTHONDONTWRITEBYTECODE
# A file runs in one worker, so that what it makes is made once; in the order of tests/conftest.py, the longest first.
TESTS := $(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

.PHONY: demo test test-slow lint bench bench-defenses bench-dp bench-trust docs screenshots clean

demo: $(VENV)/.installed
	$(BIN)/auditor demo -o out/demo

test: $(VENV)/.installed-dev
	$(TESTS)

test-slow: $(VENV)/.installed-dev
	$(TESTS) -m slow

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.installed-dev
	$(BIN)/python -m benchmarks

bench-defenses: $(VENV)/.installed-dev
	$(BIN)/python -m benchmarks defenses

bench-dp: $(VENV)/.installed-dev
	$(BIN)/python -m benchmarks dp

bench-trust: $(VENV)/.installed-dev
	$(BIN)/python -m benchmarks trust

docs: $(VENV)/.installed-dev
	$(BIN)/mkdocs build --strict

screenshots: $(VENV)/.installed-dev
	$(BIN)/auditor demo -o out/demo
	$(BIN)/python docs/site/screenshots.py out/demo docs/images

clean:
	rm -rf $(VENV) out build *.egg-info

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'auditor needs Python 3.11 or newer, this is ' + sys.version)"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $@
