PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
STAMP = $(VENV)/.installed

.PHONY: bench test lint types doctest smoke speed gpu test-extras test-oldest test-kernels mutants docs

bench: $(STAMP)
	$(BIN)/python -m benchmarks run benchmarks/configs/default.yaml

test: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --cov --cov-report=term:skip-covered --cov-fail-under=95

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -c constraints.txt torch
	$(BIN)/python -m pip install -c constraints.txt -e '.[amg,bench,dev]'
	touch $@

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/mypy
	$(BIN)/mypy --ignore-missing-imports --allow-subclassing-any --no-warn-return-any --no-warn-unused-ignores --explicit-package-bases examples

doctest: $(STAMP)
	$(BIN)/python -m pytest --doctest-modules --import-mode=prepend pyg_relational

# The site, in docs/_build/html; a warning is an error. Python 3.11 or later.
docs: $(STAMP)
	$(BIN)/python -m pip install -c constraints.txt -e '.[docs]'
	OMP_NUM_THREADS=1 $(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build/html

# Triton's kernels without a GPU: interpreted, and compiled ahead of time. A CUDA build of torch pins a triton of its own.
test-kernels: $(STAMP)
	$(BIN)/python -m pip install triton==3.9.0
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 tests/ops/fused

# One changed line at a time, and whether a test fails. Hours for all; MUTANTS="--files 'pyg_relational/cluster/*.py'" for some.
mutants: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.mutants --output $(VENV)/mutants.csv $(MUTANTS)

smoke: $(STAMP)
	$(BIN)/python -m benchmarks run benchmarks/configs/smoke.yaml --output $(VENV)/smoke
	$(BIN)/python -m benchmarks speed --only n=256 --repeat 1 --output $(VENV)/smoke/speed

speed: $(STAMP)
	$(BIN)/python -m benchmarks speed

# Installs nothing: .venv where it is, else $(PYTHON). On the CPU where there is no GPU, at small sizes.
GPU_OUTPUT ?= results/gpu

gpu:
	OMP_NUM_THREADS=$${OMP_NUM_THREADS-1} $(if $(wildcard $(BIN)/python),$(BIN)/python,$(PYTHON)) -m benchmarks gpu --output $(GPU_OUTPUT)

# Compiled extras in an environment of their own: torch-scatter and torch-sparse are built from
# source against the installed torch (long), or taken as wheels from the folder EXTRAS_WHEELS.
EXTRAS_VENV ?= .venv-extras
EXTRAS_BIN = $(EXTRAS_VENV)/bin
EXTRAS_STAMP = $(EXTRAS_VENV)/.installed

test-extras: $(EXTRAS_STAMP)
	DGLBACKEND=pytorch $(EXTRAS_BIN)/python -m pytest tests/test_extras.py tests/test_interop.py tests/ops/neighbors/test_approximate.py tests/distributed/test_approximate.py
	$(EXTRAS_BIN)/python -m pytest tests/test_examples.py -k "lightning or transformers"

$(EXTRAS_STAMP): pyproject.toml constraints.txt
	test -x $(EXTRAS_BIN)/python || $(PYTHON) -m venv $(EXTRAS_VENV)
	$(EXTRAS_BIN)/python -m pip install -c constraints.txt torch numpy wheel
ifdef EXTRAS_WHEELS
	$(EXTRAS_BIN)/python -m pip install --no-deps $(EXTRAS_WHEELS)/*.whl
else
	$(EXTRAS_BIN)/python -m pip install --no-build-isolation --no-deps torch-scatter torch-sparse
endif
	$(EXTRAS_BIN)/python -m pip install -c constraints.txt -e '.[approximate]' dgl==1.1.3 packaging pytest hypothesis lightning transformers accelerate
	touch $@

# The oldest versions that pyproject.toml promises. torch 2.6 of the registry is a CUDA build: gigabytes.
OLDEST_VENV ?= .venv-oldest
OLDEST_PYTHON ?= python3.10
OLDEST_BIN = $(OLDEST_VENV)/bin
OLDEST_STAMP = $(OLDEST_VENV)/.installed

test-oldest: $(OLDEST_STAMP)
	OMP_NUM_THREADS=1 $(OLDEST_BIN)/python -m pytest -n 2

$(OLDEST_STAMP): pyproject.toml constraints-oldest.txt
	test -x $(OLDEST_BIN)/python || $(OLDEST_PYTHON) -m venv $(OLDEST_VENV)
	$(OLDEST_BIN)/python -m pip install -c constraints-oldest.txt -e '.[amg,bench]' pytest pytest-xdist hypothesis
	touch $@
