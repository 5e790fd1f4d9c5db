PYTHON ?= python3
BIN := .venv/bin

.PHONY: help demo lab notebooks book test bench reproduce clean

help:  ## list the targets
	@grep -E '^[a-z]+:.*## ' Makefile | sed -E 's/^([a-z]+):.*## /  make \1\t/'

demo: .venv/.demo-installed  ## grow a small model on drawn scenes into runs/demo; run it again to resume
	$(BIN)/growclip grow --data scenes --profile laptop --out runs/demo --resume

lab: .venv/.notebooks-installed  ## the course, in JupyterLab
	$(BIN)/jupyter lab notebooks/00_start_here.ipynb

notebooks: .venv/.notebooks-installed  ## make all notebooks from notebooks/source and execute them: about half an hour
	$(BIN)/python notebooks/build.py

book: .venv/.book-installed  ## the course as a static site in build/book, links checked
	$(BIN)/sphinx-build --fail-on-warning --keep-going -q -b html notebooks build/book

# Two processes; the tests of a file stay together, for they share what they made.
test: .venv/.test-installed  ## format, lint and tests
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/python -m pytest --numprocesses=2 --dist=loadfile

reproduce: .venv/.demo-installed  ## the claims' studies anew into runs/reproduce: hours; it tells how many, and can be resumed
	$(BIN)/growclip reproduce

bench: .venv/.bench-installed  ## speed, side by side with open_clip and transformers: some hours; it can be resumed
	$(BIN)/growclip bench

clean:  ## remove .venv, build files and caches; runs/ stays
	rm -rf .venv build dist *.egg-info .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# pip is the last file that venv writes, so an interrupted creation is taken up again.
$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=...")'
	$(PYTHON) -m venv .venv

.venv/.demo-installed: pyproject.toml | $(BIN)/pip
	$(BIN)/pip install -e .
	@touch $@

.venv/.bench-installed: pyproject.toml | $(BIN)/pip
	$(BIN)/pip install -e '.[bench]'
	@touch $@

.venv/.notebooks-installed: pyproject.toml | $(BIN)/pip
	$(BIN)/pip install -e '.[notebooks]'
	@touch $@

.venv/.book-installed: pyproject.toml | $(BIN)/pip
	$(BIN)/pip install -e '.[book]'
	@touch $@

.venv/.test-installed: pyproject.toml | $(BIN)/pip
	$(BIN)/pip install -e '.[test]'
	@touch $@
