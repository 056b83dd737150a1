# Works with GNU make 3.81 (macOS) and later. `make` alone lists the commands.

PYTHON ?= python3
VENV   ?= .venv
# How many test processes: a number, or auto for one per processor.
TEST_PROCESSES ?= auto
# The bucket for the code of a stack set, for example: make stackset BUCKET=keyturn-code-eu-west-1
BUCKET ?=
# More arguments for pytest, for example: make test PYTEST_ARGS='-k backout'
PYTEST_ARGS ?=
# More arguments for sam deploy, for example: make deploy DEPLOY_ARGS='--config-env prod'
DEPLOY_ARGS ?=
# More arguments for make bench, faults, model, simulate and consumers, for example: make faults ARGS=--help
ARGS ?=

BIN    := $(VENV)/bin
PY     := $(BIN)/python
LOCK   := requirements-dev.txt
# A copy of the lock file that the virtual environment was made from.
STAMP  := $(VENV)/installed-lock.txt
UV     := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
          --no-emit-index-url --no-strip-extras --custom-compile-command "make lock"

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup demo test coverage lint precommit hooks format docs bench faults model simulate consumers \
        build deploy stackset lock clean

help: ## List the commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' Makefile

setup: $(STAMP) ## Create .venv with everything that the other commands need

# The lock file is complete, so pip need not resolve anything: --no-deps.
$(STAMP): $(LOCK)
	@command -v "$(PYTHON)" >/dev/null 2>&1 || { \
	  echo "make: no '$(PYTHON)' found. Install Python 3.11 or later, or name one: make setup PYTHON=/path/to/python3" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "make: '$(PYTHON)' is $$("$(PYTHON)" --version 2>&1); Keyturn needs Python 3.11 or later. Name one: make setup PYTHON=python3.11" >&2; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "make: '$(PYTHON)' lacks the venv module. On Debian and Ubuntu: sudo apt-get install python3-venv" >&2; exit 1; }
	@if ! cmp -s $(LOCK) $@ || ! $(PY) -c '' 2>/dev/null; then \
	  set -e; \
	  echo "Installing the pinned packages into $(VENV) (once; takes about a minute)"; \
	  $(PY) -c '' 2>/dev/null || { rm -rf "$(VENV)"; "$(PYTHON)" -m venv "$(VENV)"; }; \
	  $(PY) -m pip install -qq --disable-pip-version-check --no-input --require-hashes --no-deps --requirement $(LOCK); \
	  cp $(LOCK) $@; \
	fi
	@touch $@

demo: setup ## Rotate keys on an embedded AWS: no account, no Docker
	@$(PY) -m demo

test: lint ## Run the linters and every test
	@$(PY) -m pytest -n $(TEST_PROCESSES) --dist loadgroup --no-loadscope-reorder $(PYTEST_ARGS)

# Everything but the adapters and the handlers decides: every branch of it is taken by a test.
coverage: setup ## Branch coverage of the code that decides, which must be complete
	@$(PY) -m pytest -q -n $(TEST_PROCESSES) --dist loadgroup --cov=keyturn --cov-branch --cov-report= tests/unit tests/integration
	@$(BIN)/coverage report --precision=2 --fail-under=100 --include='functions/keyturn/*' \
	  --omit='functions/keyturn/aws/*,functions/keyturn/handlers/*'

precommit: setup ## Run the commit hooks on every file: style, types, templates, docs, secrets
	@$(BIN)/pre-commit run --all-files --show-diff-on-failure

hooks: setup ## Install the commit hooks into this clone
	@$(BIN)/pre-commit install

# Side by side: the types alone take as long as all the others.
LINTERS := lint-types lint-template lint-machines lint-docs lint-style
.PHONY: $(LINTERS)

lint: setup ## Check style, types, the template, the state machines and the generated docs
	@$(MAKE) --no-print-directory --jobs $(words $(LINTERS)) $(LINTERS)

lint-style:
	@$(BIN)/ruff check --quiet
	@$(BIN)/ruff format --check --quiet || { echo "make: some files are not formatted; run 'make format'" >&2; exit 1; }

lint-types:
	@$(BIN)/mypy

lint-template:
	@$(BIN)/cfn-lint template.yaml organization/*.yaml

lint-machines:
	@$(PY) -m tools.asl build --check
	@$(PY) -m tools.asl lint

lint-docs:
	@$(PY) -m tools.docs --check

format: setup ## Format the code and apply the linter's safe fixes
	@$(BIN)/ruff check --fix --quiet || true
	@$(BIN)/ruff format

docs: setup ## Make what is generated: the state machines' definitions, diagrams and tables
	@$(PY) -m tools.asl build
	@$(PY) -m tools.docs

bench: setup ## Measure, and print the numbers (long; ARGS='--without fleet' for ten minutes less)
	@PYTHONPATH=functions $(PY) -m benchmarks $(ARGS)

faults: setup ## Strike every AWS call with every fault; the table of how each case ends (long)
	@PYTHONPATH=functions $(PY) -m proofs.faults $(ARGS)

model: setup ## Walk the protocol's model, with larger bounds than the tests do (long)
	@PYTHONPATH=functions $(PY) -m proofs.model --deep $(ARGS)

simulate: setup ## Simulate 100,000 rotations on late and coarse data, beside the rules of others
	@PYTHONPATH=functions $(PY) -m proofs.simulation $(ARGS)

consumers: setup ## Real consumers through 200 rotations and 50 back-outs (long)
	@PYTHONPATH=functions $(PY) -m proofs.consumers $(ARGS)

build: setup ## Build the deployable application into .aws-sam (needs Python 3.13)
	@$(BIN)/sam build

deploy: build ## Build, show the changes, and deploy them on a yes (needs AWS credentials)
	@$(BIN)/sam deploy $(DEPLOY_ARGS)

stackset: setup ## Expand the template for StackSets: make stackset BUCKET=<bucket for the code>
	@test -n "$(BUCKET)" || { echo "make: name the bucket for the code: make stackset BUCKET=keyturn-code-eu-west-1 (docs/many-accounts.md)" >&2; exit 1; }
	@mkdir -p build
	@$(BIN)/sam build
	@$(BIN)/sam package --s3-bucket "$(BUCKET)" --s3-prefix keyturn --output-template-file build/packaged.yaml --no-progressbar >build/package.log 2>&1 || { cat build/package.log >&2; exit 1; }
	@$(PY) -m tools.stackset build/packaged.yaml

lock: setup ## Compile the lock files again from the .in files
	@$(UV) --output-file functions/requirements.txt functions/requirements.in
	@$(UV) --output-file requirements-dev.txt requirements-dev.in

clean: ## Remove everything that can be made again, .venv included
	rm -rf "$(VENV)" .aws-sam .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage htmlcov build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
