# make book, make test; the rest is for those who write. PYTHON chooses the interpreter (3.11 to 3.13).
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
INSTALLED := .venv/installed.stamp

.PHONY: book pdf test lab serve notebooks data check clean

book: $(INSTALLED)
	@$(BIN)/python -m mmbook build

pdf: book
	@$(BIN)/python -m mmbook pdf

# A book that does not build must not hide the tests' own report: the tests of the pages then fail. Two files at a time.
test: $(INSTALLED)
	-@$(BIN)/python -m mmbook build --if-stale
	@$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

lab: $(INSTALLED)
	$(BIN)/jupyter lab --notebook-dir=book

serve: book
	@echo "Serving http://127.0.0.1:8000/ (stop with Ctrl+C)"
	@$(BIN)/python -m http.server 8000 --bind 127.0.0.1 --directory _build/html

notebooks: $(INSTALLED)
	$(BIN)/python -m mmbook notebooks

data: $(INSTALLED)
	$(BIN)/python -m mmbook fetch

check: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m mmbook notebooks --check

clean:
	rm -rf _build build dist *.egg-info

$(INSTALLED): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "No Python 3.11, 3.12 or 3.13 was found; set PYTHON=/path/to/python."; exit 1; }
	@echo "Setting up .venv; the first time this takes a few minutes."
	@$(PYTHON) -m venv .venv
	@PYTHONWARNINGS=ignore $(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@touch $@
