# Two commands matter: `make serve` runs the gateway, `make test` checks everything. `make help` lists the rest.
PYTHON  ?= $(firstword $(shell sh scripts/find-python.sh))
VENV    ?= .venv
BIN     := $(VENV)/bin
ARGS    ?=
SECONDS ?= 60

.PHONY: help serve test test-newest lint types format bench sim long prices lock clean smoke

help:  ## list the commands
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/.base: scripts/find-python.sh
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3" >&2; exit 1; }
	@echo "Setting up $(VENV) with $$($(PYTHON) --version) …"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/tools.txt
	@touch $@

$(VENV)/.run: $(VENV)/.base requirements/run.txt pyproject.toml
	@echo "Installing what running needs …"
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements/run.txt
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.run requirements/dev.txt
	@echo "Installing what the tests need …"
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements/dev.txt
	@touch $@

serve: $(VENV)/.run  ## run the gateway on http://127.0.0.1:4000 (ARGS="--port 4001" and so on)
	@exec $(BIN)/bursar serve --data-dir .bursar $(ARGS)

test: lint types $(VENV)/.dev  ## lint, types and all tests, on the default Python and on the newest found
	$(BIN)/pytest $(TWO) $(ARGS)
	@$(MAKE) --no-print-directory test-newest

# Who has done all of a share takes from the other's: the tests that take minutes stand together.
TWO := -n 2 --dist worksteal

# How processes die, what a database does meanwhile, what is in it, what is decided about money, and what requests made at
# random find does not depend on the interpreter: once is enough. So it is with the oldest LiteLLM.
ONCE := $(addprefix --ignore tests/,$(addprefix process/test_,crash_matrix.py outage.py lost_and_restored.py budgets.py \
    recording.py kill.py orphans.py rate_limits.py adopting.py rolling.py start.py) sdk/test_three_ways.py \
    sdk/test_outage.py domain/test_rate_shares.py quotas ledger store management adopting simulator bench) -k 'not oldest'

test-newest:
	@newest=$$(sh scripts/find-python.sh | tail -n 1); default=$$(sh scripts/find-python.sh | head -n 1); \
	if [ "$$newest" = "$$default" ]; then echo "No newer Python than the default found: tested on that one alone."; \
	else $(MAKE) --no-print-directory VENV=.venv-newest PYTHON=$$newest .venv-newest/.dev && \
	     echo "Again on $$($$newest --version):" && .venv-newest/bin/pytest $(TWO) -q $(ONCE); fi

lint: $(VENV)/.dev  ## ruff: rules and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev  ## mypy, strict
	$(BIN)/mypy

format: $(VENV)/.dev  ## let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

smoke: $(VENV)/.dev  ## start the gateway as a user would, call it with the official client, look into the books
	$(BIN)/python scripts/smoke.py

bench: $(VENV)/.dev  ## cost and latency beside nginx, with gates (docs/benchmarks.md)
	$(BIN)/python -m bench $(ARGS)

sim: $(VENV)/.dev  ## the accounting core in simulated worlds, SECONDS=60 of them
	$(BIN)/python -m tests.simulator --seconds $(SECONDS) $(ARGS)

long: $(VENV)/.dev  ## what takes too long for `make test`
	$(BIN)/pytest -m long $(ARGS)

prices: $(VENV)/.dev  ## build the price book anew from its sources
	$(BIN)/python scripts/build_price_book.py

lock: $(VENV)/.base  ## resolve the dependencies anew
	sh scripts/lock.sh $(BIN)/uv

clean:  ## remove what the commands above made (the data in .bursar stays)
	rm -rf .venv .venv-newest .venv-litellm-* .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist
