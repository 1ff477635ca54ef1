# make demo      from a fresh clone: install, run a small study on embedded data, print the result
# make test      format check, lint, types, tests; offline after installation
# make test-all  that, and the tests that take minutes or need a database server or a browser

VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= python3
DEMO_STORE := outputs/demo/demo.db
WORKERS ?= 2

.PHONY: demo test test-all check clean

$(VENV)/installed: pyproject.toml constraints.txt $(wildcard setup.py) $(wildcard src/antifragile/fleet/native/cpp/* src/antifragile/optim/noise/*.cpp)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

demo: $(VENV)/installed
	$(BIN)/antifragile study run studies/demo.toml --store $(DEMO_STORE) --workers $(WORKERS)
	$(BIN)/antifragile report $(DEMO_STORE) --out outputs/demo

check: $(VENV)/installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

test: check
	$(BIN)/pytest -n 2 -m "not slow and not browser and not postgres"

test-all: check
	ANTIFRAGILE_TEST_ALL=1 $(BIN)/pytest -n 2

clean:
	rm -rf $(VENV) build outputs .pytest_cache .mypy_cache .ruff_cache .hypothesis
