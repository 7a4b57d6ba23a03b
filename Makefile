.PHONY: env demo test quick fmt lint type docs bench
PYTHON ?= python3
BIN := .venv/bin

env: .venv/.done

.venv/.done: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --constraint constraints.txt --editable ".[dev]"
	touch $@

demo: env
	$(BIN)/videochat demo

# Bytecode is kept even where the environment says otherwise: the tests start many processes.
quick test: export PYTHONDONTWRITEBYTECODE =
# worksteal hands out whole stretches of files, so that a fixture of a file is made once and not by each worker.
quick: env
	$(BIN)/python -m pytest -q -n 2 --dist worksteal -m "not slow and not alone"

test: quick
	$(BIN)/python -m pytest -q -n 2 --dist loadfile -m "slow and not alone"
	$(BIN)/python -m pytest -q -m alone

fmt: env
	$(BIN)/ruff format . && $(BIN)/ruff check --fix .

lint: env
	$(BIN)/ruff format --check . && $(BIN)/ruff check .

type: env
	$(BIN)/python tests/run_mypy.py

docs: env
	$(BIN)/python docs/make.py

bench: env
	for name in import_ cleaning features ranking metrics_scale audits; do $(BIN)/python -m videochat.benchmark.speed.$$name || exit 1; done
