# make demo      from a fresh clone: install, run a small study on embedded data, print the result
# make test      format check, lint, types, tests; offline after installation
# make test-all  that, and the tests that take minutes, need further packages, a database server or
#                a browser

VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= python3
DEMO_STORE := outputs/demo/demo.db
WORKERS ?= 2
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
KERNELS := $(wildcard src/antifragile/fleet/native/cpp/* src/antifragile/optim/noise/*.cpp)
SETUP := pyproject.toml constraints.txt setup.py $(KERNELS)

.PHONY: demo test test-all check clean

# Each stamp says what is installed: the package as a user has it, the test tools, every extra. The
# last two name the installed package, so that its kernels are not compiled again.
$(VENV)/installed-package: $(SETUP)
	$(PYTHON) -m venv $(VENV)
	$(PIP_INSTALL) -e .
	touch $@

$(VENV)/installed-test: $(VENV)/installed-package
	$(PIP_INSTALL) 'antifragile[test]'
	touch $@

$(VENV)/installed-test-all: $(VENV)/installed-test
	$(PIP_INSTALL) 'antifragile[test-all]'
	touch $@

demo: $(VENV)/installed-package
	$(BIN)/antifragile study run studies/demo.toml --store $(DEMO_STORE) --workers $(WORKERS)
	$(BIN)/antifragile report $(DEMO_STORE) --out outputs/demo

check: $(VENV)/installed-test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

test: check
	$(BIN)/pytest -n 2 -m "not slow and not browser and not postgres"

test-all: $(VENV)/installed-test-all check
	ANTIFRAGILE_TEST_ALL=1 $(BIN)/pytest -n 2

clean:
	rm -rf $(VENV) build outputs .pytest_cache .mypy_cache .ruff_cache .hypothesis
