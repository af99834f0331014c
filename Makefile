# Two commands: `make bench` runs the main job, `make test` runs the tests.
# PYTHON picks the interpreter; VENV the environment; `make lint` runs ruff and mypy.
# For releases (docs/releasing.md): `make dist`, `make dist-check`, `make sbom`, `make audit`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
TOOLS := build/tools
RUN ?= runs/pocket
# Test files that run at the same time.
JOBS ?= 2

# Nothing here needs a model hub; say so, or a missing file is looked for on the network.
export HF_HUB_OFFLINE ?= 1
export TOKENIZERS_PARALLELISM ?= false
# At the pocket's size a second thread buys little, and on a busy machine it costs much.
export OMP_NUM_THREADS ?= 1

.PHONY: bench test test-quick lint types env showcase dist dist-check sbom audit clean

bench: $(VENV)/.ready
	$(BIN)/greaves run pocket --run-dir $(RUN)
	$(BIN)/greaves leaderboard $(RUN)

test: $(VENV)/.ready-test
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder

# For the inner loop: every room's fast tests.
test-quick: $(VENV)/.ready-test
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder -m "not slow"

lint: $(VENV)/.ready-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(MAKE) types

types: $(VENV)/.ready-test
	rm -rf build/types && mkdir -p build/types/greaves
	ln -s $(CURDIR)/suite/* build/types/greaves/
	ln -s $(addprefix $(CURDIR)/,leaderboards methods recipes tasks) build/types/greaves/
	MYPYPATH=build/types $(BIN)/mypy

# Remake what the repository shows of itself: README's table and plot, docs/leaderboard.html.
showcase: bench
	$(BIN)/greaves page $(RUN) --out docs/leaderboard.html --plot docs/trade-off.svg
	$(BIN)/python docs/showcase.py $(RUN)

env: $(VENV)/.ready

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Greaves needs Python 3.11 or newer; set PYTHON=")'
	$(PYTHON) -m venv $(VENV)

# torch first and by its exact version: a looser request may fetch another build.
$(VENV)/.ready: $(BIN)/python constraints.txt pyproject.toml
	$(BIN)/python -m pip install --quiet --upgrade pip setuptools -c constraints.txt
	$(BIN)/python -m pip install --quiet "$$(grep -i '^torch==' constraints.txt)"
	PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --no-build-isolation \
	    -c constraints.txt --editable .
	@touch $@

$(VENV)/.ready-test: $(VENV)/.ready
	PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --no-build-isolation \
	    -c constraints.txt --editable '.[test,lint]'
	@touch $@

# Wheel and sdist of what git knows, checked as the package index checks them.
dist: $(TOOLS)/.ready
	rm -rf dist
	$(TOOLS)/bin/python -m build --quiet --outdir dist .
	$(TOOLS)/bin/twine check --strict dist/*

# The wheel alone, in an empty environment and outside of the checkout, does the main job.
dist-check: dist
	rm -rf build/empty && $(PYTHON) -m venv build/empty
	build/empty/bin/python -m pip install --quiet "$$(grep -i '^torch==' constraints.txt)"
	build/empty/bin/python -m pip install --quiet -c constraints.txt dist/greaves-*.whl
	mkdir build/empty/work && cd build/empty/work && \
	    ../bin/greaves run pocket && ../bin/greaves leaderboard runs/pocket

# What the two commands install, as a CycloneDX bill of materials.
sbom: $(VENV)/.ready $(TOOLS)/.ready
	$(TOOLS)/bin/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible \
	    --output-file build/greaves.cdx.json $(BIN)/python
	@echo "written: build/greaves.cdx.json"

# Known vulnerabilities of the pinned packages; asks the package index.
audit: $(TOOLS)/.ready
	$(TOOLS)/bin/pip-audit --disable-pip --no-deps --strict --requirement constraints.txt

# The tools that look at the project from outside live in an environment of their own.
$(TOOLS)/.ready: release-tools.txt
	$(PYTHON) -m venv $(TOOLS)
	$(TOOLS)/bin/python -m pip install --quiet --requirement release-tools.txt
	@touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache
