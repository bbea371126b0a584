# Dawnline's commands. On a fresh machine each of them sets up what it needs in .venv, and nothing more.
#
#   make demo    one orbit, live in this terminal, and a report      make lint   the checks of code and tree alone
#   make test    the whole suite                                     make fmt    format C and Python
#   make bench   every published number, into benchmarks/results     make icd    code and pages from the two ICDs
#   make firmware   images for boards, into hal/bin (arm-none-eabi-gcc where it is installed, else zig from PyPI)
#
# PYTHON=python3.12 make test     another interpreter           make test ARGS="-k cobs"   arguments for pytest
# SPEED=100 make demo             a slower orbit

PYTHON ?= python3
VENV   := .venv
PY     := $(VENV)/bin/python
PIP    := $(PY) -m pip --quiet --disable-pip-version-check
ARGS   ?=
SPEED  ?= 400

SHELL       := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help demo test bench lint sanitize fmt icd build firmware clean check-tools

C_INPUTS   := $(wildcard csrc/*/*.[chS]) setup.py csrc/ffi/sources.py csrc/ffi/build.py
FIRMWARE   := $(wildcard csrc/firmware/* csrc/firmware/*/*)
ICD_INPUTS := $(wildcard csrc/icd/*.toml csrc/icd/*.py)

help:
	@sed -n '/^#/!q; s/^# \{0,1\}//p' $(firstword $(MAKEFILE_LIST))

# What no pip can bring. One line says what is missing and how to get it.
check-tools:
	@missing=""; \
	if ! command -v $(PYTHON) >/dev/null; then missing="python3 python3-venv python3-dev"; else \
	  $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "make: $(PYTHON) is older than 3.11; name another: make PYTHON=python3.12" >&2; exit 1; }; \
	  $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || missing="$$missing python3-venv"; \
	  $(PYTHON) -c 'import os, sys, sysconfig; \
	    sys.exit(not os.path.exists(os.path.join(sysconfig.get_paths()["include"], "Python.h")))' \
	    || missing="$$missing python3-dev"; \
	fi; \
	command -v $${CC:-cc} >/dev/null || missing="$$missing gcc libc6-dev"; \
	if [ -n "$$missing" ]; then \
	  echo "make: this machine has no$$(printf ' %s' $$missing); install with: apt-get install$$(printf ' %s' $$missing)" >&2; exit 1; \
	fi

# Each stamp is one layer of the environment; a layer is made again when what it came from changes.
$(VENV)/.base: | check-tools
	@echo "setting up $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) install "setuptools>=77" "cffi>=1.17"
	@touch $@

$(VENV)/.icd: $(ICD_INPUTS) | $(VENV)/.base
	@$(PY) csrc/icd/generate.py
	@touch $@

$(VENV)/.demo: pyproject.toml | $(VENV)/.base $(VENV)/.icd
	@$(PIP) install --no-build-isolation --editable ".[ground]"
	@touch $@

$(VENV)/.test: pyproject.toml | $(VENV)/.base $(VENV)/.icd
	@$(PIP) install --no-build-isolation --editable ".[test,dev]"
	@touch $@ $(VENV)/.demo

$(VENV)/.built: $(C_INPUTS) $(VENV)/.icd | $(VENV)/.base
	@$(PY) setup.py -q build_ext --inplace
	@touch $@

$(VENV)/.firmware: $(FIRMWARE) $(VENV)/.built
	@command -v arm-none-eabi-gcc >/dev/null || $(PIP) install "$$(sed -n 's/^ *"\(ziglang[^"]*\)".*/\1/p' pyproject.toml)"
	@$(PY) csrc/firmware/build.py
	@touch $@

build: $(VENV)/.demo $(VENV)/.built

firmware: $(VENV)/.demo $(VENV)/.firmware

icd: | $(VENV)/.base
	$(PY) csrc/icd/generate.py

# The flight in the background, waiting for its ground station; the station in this terminal. When the script is over or
# fails, or Ctrl-C ends it, the flight is ended as well (a background process of `make` does not see Ctrl-C itself).
demo: build
	@mkdir -p out; rm -f out/demo.html out/demo.json
	@port=$$($(PY) -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'); \
	$(VENV)/bin/flight run --rig demo --orbits 1 --speed $(SPEED) --no-timeline --await-ground 60 \
	  --radio "tcp:127.0.0.1:$$port" --report out/demo.html --json >out/demo.json 2>out/demo.log & flight=$$!; \
	trap 'kill $$flight 2>/dev/null || true' EXIT; \
	failed() { [ $$? -ne 130 ] || exit 130; cat out/demo.log >&2; echo "make: the demo failed; the flight's log is above" >&2; exit 1; }; \
	$(VENV)/bin/ground run demo --watch --connect-within 60 --radio "tcp:127.0.0.1:$$port" || failed; \
	wait $$flight || failed; \
	echo "The orbit as a report: out/demo.html   What the world saw: out/demo.json"

test: $(VENV)/.test $(VENV)/.built $(VENV)/.firmware
	$(PY) -m pytest -n 2 --dist loadfile $(ARGS)

lint: $(VENV)/.test $(VENV)/.built $(VENV)/.firmware
	$(PY) -m pytest tests/repo $(ARGS)

# The C under gcc's sanitizer for undefined behaviour and address errors, in a build of its own.
SANITIZE := -fsanitize=undefined,address -fno-sanitize-recover=all -fno-omit-frame-pointer
sanitize: $(VENV)/.test $(VENV)/.built
	@CFLAGS="$(SANITIZE)" LDFLAGS="$(SANITIZE)" $(PY) setup.py -q build \
	  --build-base build/sanitize --build-lib build/sanitize/lib --build-temp build/sanitize/temp
	LD_PRELOAD="$$($${CC:-cc} -print-file-name=libasan.so) $$($${CC:-cc} -print-file-name=libubsan.so)" \
	  ASAN_OPTIONS=detect_leaks=0:replace_str=0 PYTHONMALLOC=malloc \
	  $(PY) -m pytest -o pythonpath="build/sanitize/lib ." -p no:cacheprovider $(wildcard tests/space tests/boards tests/plant tests/control) $(ARGS)

fmt: $(VENV)/.test
	$(PY) -m ruff check --fix-only --quiet .
	$(PY) -m ruff format --quiet .
	$(VENV)/bin/clang-format -i $$(git ls-files 'csrc/*.c' 'csrc/*.h' ':!*.cdef.h')

bench: $(VENV)/.test $(VENV)/.built $(VENV)/.firmware
	$(PY) -m benchmarks $(ARGS)

clean:
	rm -rf $(VENV) build dist out ./*.egg-info hal/bin {hal,flight,ground}/_native*.so .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
