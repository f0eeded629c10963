# make demo    the main job: three models, one report (needs nothing but Python 3.11 or newer)
# make test    the whole test suite        make check   format, lint, types, imports, docstrings, links in the docs
# make docs    the site, into build/site  make bench   against peers
# make clean   removes what these made
PYTHON ?= python3
BIN := .venv/bin
MKDOCS = NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

.PHONY: demo test check docs bench clean
.DELETE_ON_ERROR:

# Installed again only when pyproject.toml has changed. One stamp for each set of extras.
.venv/stamp-run: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

.venv/stamp-%: pyproject.toml .venv/stamp-run
	$(BIN)/python -m pip install --quiet --editable ".[$*]"
	touch $@

demo: .venv/stamp-run
	$(BIN)/triptych demo

test: .venv/stamp-test
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile

check: .venv/stamp-check
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pydoclint --quiet src
	$(MKDOCS) --quiet --site-dir build/checked-site

docs: .venv/stamp-docs
	$(MKDOCS)
	@echo build/site/index.html

bench: .venv/stamp-bench
	$(BIN)/python benchmarks/first_minutes.py
	$(BIN)/python benchmarks/metrics_speed.py

clean:
	rm -rf .venv build dist .pytest_cache .ruff_cache .import_linter_cache .mypy_cache .hypothesis src/*.egg-info report.html
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
