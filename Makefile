# SPDX-License-Identifier: LGPL-2.1-or-later
# make run | test | check | lab-test | fixtures | clean. Needs python3 (3.11 or newer), make and git.

PYTHON   ?= python3
VENV     := .venv
PY       := $(VENV)/bin/python
PYTEST   := $(PY) -m pytest -n 2
# Captures of the lab: make lab-test KERNELS="6.12", or all: its own kernels, Debian's own, variants (lab/README.md).
KERNELS  ?= 6.12 6.1
CAPTURES := build/captures
# What holds our answers against the kernel's own words; the rest needs no fresh capture.
LAB_TESTS := tests/truth tests/layers tests/kernel tests/symbols tests/ownertext/test_kernel_text.py \
	tests/ownertext/test_sort_truth.py tests/analyses/test_blockers.py tests/leaks tests/reporters \
	tests/pictures

.PHONY: help run test check lab-test pictures bench captures fixtures clean

help:
	@echo 'make run       install into $(VENV) and show what pageowner says of its demo core'
	@echo 'make test      lint, types and tests, on captured cores of real kernels'
	@echo 'make check     lint and types only'
	@echo 'make lab-test  boot real kernels in QEMU and run the tests on fresh captures (KERNELS="$(KERNELS)")'
	@echo 'make pictures  look at the HTML files with Chromium: the browser tests, and screenshots into docs/pictures'
	@echo 'make bench     measure: see benchmarks/README.md; makes its cores the first time (10 minutes)'
	@echo 'make fixtures  make the captured cores anew: tests/fixtures and the demo core'
	@echo 'make clean     remove $(VENV), build/ and caches'

run: $(VENV)/.package
	$(VENV)/bin/pageowner summary --demo
	@echo
	$(VENV)/bin/pageowner report --demo | head -n 40
	@echo '... and so on: see $(VENV)/bin/pageowner --help'

test: check
	$(PYTEST) -m 'not lab and not browser'

check: $(VENV)/.tests
	$(PY) -m ruff check .
	$(PY) -m mypy

lab-test: captures
	kernel=$$($(PY) -m lab kernels $(firstword $(LAB_VERSIONS)) | cut -d' ' -f2) && \
		if [ -e $$kernel/vmlinux ]; then \
			export PAGEOWNER_VMLINUX=$$kernel/vmlinux PAGEOWNER_CORE=$(CAPTURES)/$(firstword $(LAB_VERSIONS))/core; \
		fi && $(PYTEST) --captures=$(CAPTURES) $(LAB_TESTS)

# Those of the screenshots that docs/pictures.md shows.
SHOWN := $(patsubst docs/pictures/%,%,$(wildcard docs/pictures/*.png))

# Chromium is the one thing that pip does not bring: apt-get install chromium. BIG is a core to time it on.
pictures: $(VENV)/.tests
	$(PY) -m pytest -m browser tests/pictures $(if $(BIG),--big=$(BIG))
	$(PY) -m tests.pictures.shots build/pictures $(BIG)
	cd build/pictures && cp $(SHOWN) $(CURDIR)/docs/pictures

captures: $(VENV)/.tests
	rm -rf $(CAPTURES)
	set -e; for version in $(LAB_VERSIONS); do \
		echo "lab: capturing $$version"; \
		$(PY) -m lab capture -o $(CAPTURES)/$$version $$version; \
	done

# A fixture needs the kernel's vmlinux, so a kernel that is built here.
fixtures: export PAGEOWNER_KERNELS =
fixtures: captures
	set -e; for version in $(LAB_VERSIONS); do \
		$(PY) -m lab fixture $(CAPTURES)/$$version tests/fixtures/$$version; \
	done
	cp tests/fixtures/6.12/core.xz src/pageowner/data/demo.core.xz

ALL = $(shell $(PY) -c 'import lab.capture as c; print(*c.VARIANTS)')
fixtures: ALL = $(shell $(PY) -c 'import lab.kernels as k; print(*k.KERNELS)')
LAB_VERSIONS = $(if $(filter all,$(KERNELS)),$(ALL),$(KERNELS))

# Time is measured: nothing else should run meanwhile.
bench: $(VENV)/.tests
	$(PY) -m benchmarks.cores
	$(PY) -m benchmarks $(BENCH)

$(PY):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo 'pageowner needs Python 3.11 or newer: make PYTHON=python3.12'; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || sh .ci/need python3-venv
	$(PYTHON) -m venv $(VENV)

$(VENV)/.package: pyproject.toml | $(PY)
	$(PY) -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

# Dependency groups (PEP 735) need pip 25.1; Debian 12 has 23.0.
$(VENV)/.tests: pyproject.toml $(VENV)/.package
	$(PY) -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	$(PY) -m pip install --quiet --disable-pip-version-check --group test
	@touch $@

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find src tests lab -name __pycache__ -prune -exec rm -rf {} +
