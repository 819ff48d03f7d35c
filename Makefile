# Everything a checkout needs, and no root: Python 3.11 or newer, a C compiler, git.
#
#   make demo       the whole path on loopback: throttled origin, seek, WAV, offline, an adaptive stream and its picture
#   make pictures   the recordings and pictures of the documentation, anew
#   make test       the suite; what it cannot run here (no nginx, no encoders) is skipped with a reason
#   make test-all   with the slow tests
#   make lint       ruff, mypy --strict, the stubs of the core against the core
#   make typed      how much a type checker sees of the public face: pyright, which needs npm
#   make docs       the documentation, into build/site, without a warning
#   make bench      the benches, their ratios and what these should reach; REPORT=1 writes docs/performance.md, ROUNDS=1
#                   only shows that all of them run, TRACES=dir plays adaptive choice over recorded networks
#   make wheels     wheels for each of PYTHONS, repaired for any recent Linux with glibc, each tried in an empty environment
#   make sanitize   the core's tests under ASan+UBSan and under TSan

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet
CORE := setup.py $(wildcard kithara/_core/*.pyx kithara/_core/*.pxd kithara/_core/*.h)
TESTS ?= tests
# One process per core, four at most: the suite measures nothing, but some of it plays in real time.
SPREAD := -n auto --maxprocesses 4 --dist worksteal
# Groups of dependencies that the tests may use; those of `faces` are large, and tests without them are skipped.
TEST_GROUPS ?= test

.PHONY: demo pictures test test-all lint typed docs bench wheels sanitize build clean

demo: $(VENV)/.built $(VENV)/.pictures
	$(BIN)/kithara demo --out demo-out

pictures: $(VENV)/.built $(VENV)/.pictures
	$(BIN)/python docs/assets/record.py docs/assets

test: $(VENV)/.built $(VENV)/.test
	$(BIN)/python -m pytest $(SPREAD) -m "not slow" $(TESTS)

test-all: $(VENV)/.built $(VENV)/.test
	$(BIN)/python -m pytest $(SPREAD) $(TESTS)

lint: $(VENV)/.built $(VENV)/.test $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/stubtest kithara._core --allowlist tests/stubtest-allowlist.txt --ignore-unused-allowlist

typed: $(VENV)/.built $(VENV)/.typed
	$(BIN)/python tests/typed.py

docs: $(VENV)/.built $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

bench: $(VENV)/.built $(VENV)/.test $(VENV)/.bench
	$(BIN)/python -m pytest $(wildcard benches/bench_*.py) --benchmark-quiet \
		$(if $(REPORT),--report docs/performance.md) $(if $(ROUNDS),--rounds $(ROUNDS))
	$(BIN)/python benches/hls/bench_playlist.py
	$(BIN)/python benches/abr/bench_abr.py $(if $(TRACES),--traces $(TRACES) $(if $(REPORT),--report docs/abr.md))
	$(BIN)/python benches/instructions.py

PYTHONS ?= $(PYTHON)

wheels:
	packaging/wheels.sh $(PYTHONS)

sanitize: $(VENV)/.built $(VENV)/.test
	tests/sanitize.sh asan
	tests/sanitize.sh tsan

build: $(VENV)/.built

clean:
	rm -rf $(VENV) build dist demo-out kithara.egg-info kithara/_core/*.so

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Kithara needs Python 3.11 or newer: make PYTHON=/path/to/python3" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PIP) --upgrade pip

$(VENV)/.installed: pyproject.toml | $(BIN)/python
	$(PIP) --group build
	PYTHONWARNINGS=ignore $(PIP) --no-build-isolation --editable .
	@touch $@

$(VENV)/.built: $(VENV)/.installed $(CORE)
	$(BIN)/python setup.py -q build_ext --inplace
	@touch $@

# The demo does without, but then draws no PNG.
$(VENV)/.pictures: pyproject.toml | $(VENV)/.installed
	$(PIP) "matplotlib>=3.8" || echo "no matplotlib: no PNG will be drawn" >&2
	@touch $@

$(VENV)/.test: pyproject.toml | $(VENV)/.installed
	$(PIP) $(addprefix --group ,$(TEST_GROUPS))
	@touch $@

$(VENV)/.bench: pyproject.toml | $(VENV)/.installed
	$(PIP) --group bench
	@touch $@

$(VENV)/.docs: pyproject.toml | $(VENV)/.installed
	$(PIP) --group docs
	@touch $@

$(VENV)/.typed: pyproject.toml | $(VENV)/.installed
	$(PIP) --group typed
	@touch $@

$(VENV)/.dev: pyproject.toml | $(VENV)/.installed
	$(PIP) --group dev
	@touch $@
