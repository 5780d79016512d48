# `make compare` and `make test` work on a fresh machine with Python 3.11 or newer and nothing else prepared.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.set-up
BUILT := $(VENV)/.kernels

.PHONY: compare test report bench bench-diagnose clean kernels set-up

compare: set-up  ## the main job on embedded data, ending in an HTML report
	$(BIN)/normwise compare $(ARGS)

test: set-up  ## every check
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	OMP_NUM_THREADS=1 $(BIN)/pytest -n auto --dist worksteal $(ARGS)

report: set-up  ## write the newest run's report again
	$(BIN)/normwise report "$$(ls -td runs/*/ | head -n 1)" $(ARGS)

bench: set-up  ## time the layers against torch's own
	$(BIN)/normwise bench $(ARGS)

bench-diagnose: set-up  ## diagnose the held-out half of the fault collection, and hold the result against the bars
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/diagnose.py --half held-out --prove 1000 $(ARGS)

kernels: $(STAMP)  ## compile the CPU kernels into the checkout; only what changed
	PATH="$(CURDIR)/$(BIN):$$PATH" cmake -S . -B build/kernels -G Ninja --log-level=WARNING \
		-DCMAKE_BUILD_TYPE=Release -DPython_EXECUTABLE="$(CURDIR)/$(BIN)/python" \
		-Dnanobind_DIR="$$($(BIN)/python -m nanobind --cmake_dir)" $(CMAKE_ARGS)
	PATH="$(CURDIR)/$(BIN):$$PATH" cmake --build build/kernels
	PATH="$(CURDIR)/$(BIN):$$PATH" cmake --install build/kernels --prefix src --component module

clean:
	rm -rf $(VENV) runs build dist src/normwise/kernels/cpu/*.so .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

set-up: $(STAMP) $(BUILT)

# torch is asked for by its exact version, and first, so that no later package brings another build of it.
$(STAMP): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "normwise needs Python 3.11 or newer; give PYTHON=…")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "torch==2.13.0"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[compare,mnist,dev]"
	touch $(STAMP)

# Without a compiler torch's operators run: slower, and no reason to stop. The native extension is kept in the user's cache.
$(BUILT): $(STAMP) CMakeLists.txt $(wildcard csrc/*)
	$(MAKE) --no-print-directory kernels || echo "normwise: no CPU kernels here; see $(BIN)/normwise doctor" >&2
	$(BIN)/normwise build-native || echo "normwise: no native extension here; see $(BIN)/normwise doctor" >&2
	touch $(BUILT)
