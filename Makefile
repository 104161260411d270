# `make serve` and `make test` do all that is needed on a machine with Python, a C++ compiler and make.

PORT ?= 5006
ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed$(if $(GPU),-gpu)
# The first of these that TensorFlow 2.21 has wheels for; 3.11 first because the tests run with it.
ifndef PYTHON
PYTHON := $(shell for python in python3.11 python3.12 python3.13 python3; do \
	$$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null \
	&& echo $$python && break; done)
endif
PIP := $(BIN)/python -m pip --disable-pip-version-check
# The lock names all that is needed. pip compiles it: where PYTHONDONTWRITEBYTECODE is set, nothing else would, and each
# import of TensorFlow would take 8 s more.
INSTALL_LOCKED = $(PIP) install --quiet --no-deps --require-hashes
# Slow tests and those that need Chromium, Slurm or sshd run with CI=true only.
QUICK := not slow and not browser and not cluster
# Three at a time, even on two cores: many tests wait for other processes. tests/conftest.py distributes them.
PARALLEL := --numprocesses 3 --dist loadfile --no-loadscope-reorder
# With so many processes at a time, a second thread of each only waits for the first, busily. And what tests start would
# compile the modules of this checkout each time anew where PYTHONDONTWRITEBYTECODE is set.
LEAN := env -u PYTHONDONTWRITEBYTECODE TF_NUM_INTRAOP_THREADS=1 TF_NUM_INTEROP_THREADS=1 OMP_NUM_THREADS=1

.DEFAULT_GOAL := help
.PHONY: help install serve test lint bench screenshots lock clean check-port

help: ## show this list
	@grep -hE '^[a-z-]+:.*##' Makefile | sed -E 's/:[^#]*## /\t/' | expand -t 12

install: $(INSTALLED) ## create .venv with the locked versions and build Horovod (for NVIDIA GPUs: GPU=1)

serve: check-port $(INSTALLED) ## serve the dashboard on http://localhost:5006/app (another port: PORT=5007)
	@echo "Mesoscope: http://localhost:$(PORT)/app (stop with Ctrl+C)"
	@exec $(BIN)/python -m panel serve app --address 127.0.0.1 --port $(PORT) \
		--allow-websocket-origin localhost:$(PORT) --allow-websocket-origin 127.0.0.1:$(PORT) $(ARGS)

test: $(INSTALLED) ## run the quick tests, with CI=true all of them (choose: ARGS="-k name"; one at a time: ARGS="-n 0")
	$(LEAN) $(BIN)/python -m pytest -m "$(if $(filter true,$(CI)),,$(QUICK))" $(PARALLEL) $(ARGS)

lint: $(INSTALLED) ## check style, types and layers
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(INSTALLED) ## measure the speed of training and loading
	$(BIN)/python -m pytest tests/benchmarks -m "slow or not slow" -s $(ARGS)

screenshots: $(INSTALLED) ## picture every page at four widths, light and dark, into screenshots/ (choose: ARGS="--pages runs --widths 390")
	$(BIN)/python -m tests.app.browser.screenshots screenshots $(ARGS)

lock: $(INSTALLED) ## write requirements.lock from pyproject.toml (newer versions: ARGS=--upgrade)
	UV_CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/uv pip compile pyproject.toml --all-extras --universal \
		--python-version 3.11 --fork-strategy fewest --generate-hashes --no-annotate \
		--no-emit-index-url --no-emit-find-links --quiet $(ARGS) --output-file requirements.lock
	echo "tensorflow[and-cuda]; sys_platform == 'linux'" | UV_CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/uv pip compile - \
		--constraint requirements.lock --universal --python-version 3.11 --generate-hashes --no-annotate \
		--no-emit-index-url --no-emit-find-links --quiet $(ARGS) --output-file requirements-gpu.lock

clean: ## remove .venv and all caches of this folder
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

define check_machine
@test -n "$(PYTHON)" || { echo "Mesoscope needs Python 3.11, 3.12 or 3.13, but found" \
	"$$(python3 --version 2>/dev/null || echo none): install one of them, or name it: make PYTHON=/path/to/python3.11" >&2; exit 1; }
@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if (3, 11) <= v < (3, 14) else \
	f"Mesoscope needs Python 3.11, 3.12 or 3.13, but $(PYTHON) is {v.major}.{v.minor}:" \
	" install one of them, or name it: make PYTHON=/path/to/python3.11")'
@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) lacks its venv module: install it" \
	"(Debian/Ubuntu: apt-get install python3-venv), or name another: make PYTHON=/path/to/python3.11" >&2; exit 1; }
@cd packaging/horovod && $(PYTHON) -B -c 'import build_horovod; build_horovod.check_tools()'
endef

# Horovod's own make must not see the flags of this one.
$(INSTALLED): requirements.lock $(if $(GPU),requirements-gpu.lock) packaging/horovod/build_horovod.py packaging/horovod/pyproject.toml
	$(check_machine)
	@echo "Setting up $(VENV): some minutes the first time, about $(if $(GPU),7,3) GB."
	$(PYTHON) -m venv $(VENV)
	$(INSTALL_LOCKED) --requirement requirements.lock
	$(if $(GPU),$(INSTALL_LOCKED) --requirement requirements-gpu.lock)
	env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL $(if $(GPU),`$(BIN)/python -B packaging/horovod/nccl.py`) \
		$(PIP) install --quiet --no-build-isolation --no-deps --force-reinstall ./packaging/horovod
	@touch $(VENV)/installed $@

check-port:
	@$(or $(PYTHON),python3) -c 'import socket; socket.create_server(("127.0.0.1", int("$(PORT)"))).close()' 2>/dev/null \
		|| { echo "Port $(PORT) is in use or not allowed: choose another one, for example make serve PORT=5007" >&2; exit 1; }
