# Needs only make and Python 3.11 or later. Everything is installed into .venv, from the locks, by hash.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
ARGS   ?=
# Beyond eight, tests wait for each other's servers rather than for a processor.
JOBS   ?= $(shell n=$$(nproc 2>/dev/null || sysctl -n hw.ncpu 2>/dev/null || echo 2); echo $$((n > 8 ? 8 : n)))

# make lock LOCK_FLAGS=--upgrade takes the newest versions that pyproject.toml allows.
LOCK_FLAGS ?=
UV         := uv==0.13.9

DOCKER ?= $(notdir $(firstword $(foreach tool,docker podman buildah,$(shell command -v $(tool)))))
IMAGE  ?= qsticky
# Only Docker's own format knows health checks; docker has no other and no such flag.
IMAGE_FLAGS ?= $(if $(filter docker,$(notdir $(firstword $(DOCKER)))),,--format docker)
# All that the image says of its making comes from the last commit, so that it can be made again.
SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null)
REVISION ?= $(shell git rev-parse --verify --quiet HEAD 2>/dev/null)
RFC3339  := +%Y-%m-%dT%H:%M:%SZ
VERSION  := $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' exporter/__init__.py)

.DEFAULT_GOAL := help
.PHONY: help demo run test test-real bench lint format docs soak mutants image dist sbom audit lock clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 18

demo: $(VENV)/run-time.stamp ## watch it work: the daemon against a simulated Gluetun and qBittorrent
	@$(BIN)/python -m exporter demo $(ARGS)

run: $(VENV)/run-time.stamp ## the daemon, configured by your environment
	@$(BIN)/python -m exporter run $(ARGS)

test: $(VENV)/dev.stamp ## the tests that need nothing but Python, in three minutes; ARGS="-k port" picks some
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal tests/unit tests/simulated $(ARGS)

# A module stays with one worker: its tests share costly parts. They wait more than they work, so
# there is one worker more than there are processors.
test-real: $(VENV)/dev.stamp ## the tests on real servers, Docker and browsers, in ten minutes
	$(BIN)/python -m pytest -n $$(($(JOBS) + 1)) --dist loadfile --durations 12 tests/real tests/alerts $(ARGS)

bench: $(VENV)/dev.stamp ## how fast and how small it is; ARGS="--against HEAD~9" compares, --docs writes
	$(BIN)/python -m bench $(ARGS)

lint: $(VENV)/dev.stamp ## style, types and the import contract
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/dev.stamp ## rewrite the code in the house style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/dev.stamp ## write what is generated in README.md, docs/ and deploy/ again
	$(BIN)/python -m docs.generate

soak: $(VENV)/dev.stamp ## a day with faults, flapping servers, 200 x kill -9; ARGS="--kills 0" leaves one out
	$(BIN)/python -m bench.soak $(ARGS)

mutants: $(VENV)/dev.stamp ## do the tests notice small mistakes? Takes an hour; ARGS="config --every 9"
	$(BIN)/python -m tests.mutants $(ARGS)

image: ## build the container image with docker, podman or buildah; IMAGE=name
	@test -n "$(DOCKER)" || { echo "make image needs docker, podman or buildah" >&2; exit 1; }
	$(DOCKER) build $(IMAGE_FLAGS) $(addprefix --tag ,$(IMAGE)) \
	  --build-arg VERSION=$(VERSION) --build-arg REVISION=$(REVISION) $(if $(SOURCE_DATE_EPOCH),$(dated)) .

# docker takes the time for what it writes from the same build argument.
define dated
--build-arg SOURCE_DATE_EPOCH=$(SOURCE_DATE_EPOCH) \
  --build-arg CREATED=$$(date -u -d @$(SOURCE_DATE_EPOCH) $(RFC3339) 2>/dev/null \
    || date -u -r $(SOURCE_DATE_EPOCH) $(RFC3339)) \
  $(if $(filter docker,$(notdir $(firstword $(DOCKER)))),,--timestamp $(SOURCE_DATE_EPOCH))
endef

dist: $(VENV)/dev.stamp ## build what goes to PyPI, and check it
	rm -rf dist
	$(BIN)/python -m build --no-isolation
	$(BIN)/twine check --strict dist/*

SBOM ?= build/qsticky-$(VERSION).cdx.json
sbom: $(VENV)/dev.stamp ## list the Python packages of the image, in CycloneDX; SBOM=file
	$(BIN)/python -m venv --clear --without-pip .cache/sbom
	$(BIN)/python -m pip --python .cache/sbom/bin/python install --quiet --disable-pip-version-check \
	  --require-hashes --requirement requirements.txt
	sed 's/^dynamic = .*/version = "$(VERSION)"/' pyproject.toml > .cache/sbom/pyproject.toml
	mkdir -p $(dir $(SBOM))
	SOURCE_DATE_EPOCH=$(SOURCE_DATE_EPOCH) $(BIN)/cyclonedx-py environment --output-reproducible --validate \
	  --pyproject .cache/sbom/pyproject.toml --output-file $(SBOM) .cache/sbom/bin/python

audit: $(VENV)/dev.stamp ## ask PyPI for known vulnerabilities in what we ship
	$(BIN)/pip-audit --strict --require-hashes --disable-pip --requirement requirements.txt

lock: .cache/lock/bin/uv ## write the locks again after a change in pyproject.toml
	$(call compile,requirements.txt,pyproject.toml --extra notify)
	$(call compile,requirements-build.txt,--group build)
	$(call compile,requirements-dev.txt,pyproject.toml --extra notify --group dev -c requirements.txt -c requirements-build.txt)

clean: ## remove what make installed and built
	rm -rf $(VENV) .cache build dist test-output

# Every wheel and the source archive of each version are in the locks: any platform, Python 3.11 or later.
define compile
.cache/lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
  --no-emit-index-url --no-emit-find-links --custom-compile-command 'make lock' \
  $(LOCK_FLAGS) --output-file $(1) $(2) >/dev/null
endef

.cache/lock/bin/uv:
	@$(call check_python)
	$(PYTHON) -m venv --clear .cache/lock
	.cache/lock/bin/python -m pip install --quiet --disable-pip-version-check $(UV)

# A virtual environment whose Python went away (an upgrade of the system) is made again.
$(BIN)/python:
	@$(call check_python)
	$(PYTHON) -m venv --clear $(VENV)

$(VENV)/run-time.stamp: requirements.txt $(BIN)/python
	@$(call install,requirements.txt)
	@touch $@

# The development lock holds the run-time one.
$(VENV)/dev.stamp: requirements.txt requirements-dev.txt $(BIN)/python
	@$(call install,requirements-dev.txt)
	@touch $@ $(VENV)/run-time.stamp

# An interrupted first run may have left an environment without pip.
define install
{ $(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV); } && \
echo "Installing $(1) into $(VENV)" && \
$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement $(1)
endef

define check_python
$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
  { echo "qSticky needs Python 3.11 or later; try: make PYTHON=python3.13" >&2; exit 1; }; \
$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
  { echo "$(PYTHON) has no venv module; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
endef
