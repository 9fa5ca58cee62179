# Every target sets up its own virtual environment; all that a machine needs is make and Python 3.11
# or newer with its pip and venv (uv is used where it is installed).
#
#   make demo     a web app under real load, a fault and its recovery, and a ledger that balances
#   make test     the whole suite (ARGS="-k queue" is passed on; COVERAGE=1 measures branches;
#                 WORKERS= runs it in one process, to debug)
#   make bench    this library beside others, on this machine: half an hour; bench-output/ has the
#                 numbers as JSON and the plots (ARGS="--only threads,sizes"; --help tells the rest)
#   make bench-quick   the rows that matter most, in under a minute
#   make bench-web     requests under uvicorn, and scrapes of several workers: two minutes
#   make bench-elk     into OpenSearch and into Kafka, whose servers it starts (Java and Maven): ten minutes
#   make coverage-report   what COVERAGE=1 measured; fails under 95 %
#   make lint     ruff, mypy, pyright
#   make format   ruff's formatter, and what it can mend by itself
#   make readme   a demo's output, and the numbers of the last "make bench", into README.md and docs/
#   make clean    removes what the targets made
#
# PYTHON=/path/to/python3.13 chooses the interpreter, VENV=... the environment.

VENV ?= .venv
ARGS ?=
# One worker more than there are cores, since many tests wait for processes and servers; four at most.
CORES := $(shell getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
WORKERS ?= -n $(shell expr $(CORES) + 1) --maxprocesses 4
PYTHON ?=
BIN := $(VENV)/bin
SHELL := /bin/sh
.DEFAULT_GOAL := help
.NOTPARALLEL:

# $(call setup,groups): bring the environment up to date with these dependency groups.
setup = @python=$$(PYTHON='$(PYTHON)' sh scripts/find-python.sh) && "$$python" scripts/bootstrap.py $(VENV) $(1)

.PHONY: help
help:
	@sed -n '1,/^$$/s/^# \{0,1\}//p' Makefile

.PHONY: demo
demo:
	$(call setup,demo)
	@$(BIN)/python examples/shop/demo.py $(ARGS)

# With COVERAGE the tests run under "coverage run", not under a pytest plugin: measuring starts before
# anything can import the package.  "make coverage-report" shows the result, and fails under 95 %.
.PHONY: test
test:
	$(call setup,test web demo)
ifdef COVERAGE
	@rm -f .coverage .coverage.*
	@$(BIN)/python -m coverage run -m pytest $(WORKERS) $(ARGS)
else
	@$(BIN)/python -m pytest $(WORKERS) $(ARGS)
endif

.PHONY: coverage-report
coverage-report:
	@$(BIN)/python -m coverage combine --quiet
	@$(BIN)/python -m coverage report

.PHONY: bench
bench:
	$(call setup,bench)
	@$(BIN)/python benchmarks/run.py --json bench-output/bench.json --plots bench-output $(ARGS)

.PHONY: bench-quick
bench-quick:
	$(call setup,bench)
	@$(BIN)/python benchmarks/run.py --quick --json bench-output/bench-quick.json $(ARGS)

.PHONY: bench-web
bench-web:
	$(call setup,bench web demo)
	@$(BIN)/python benchmarks/web_requests.py --json bench-output/web-requests.json
	@$(BIN)/python benchmarks/web_scrape.py --json bench-output/web-scrape.json

.PHONY: bench-elk
bench-elk:
	$(call setup,bench test)
	@$(BIN)/python benchmarks/elasticsearch_bulk.py
	@$(BIN)/python benchmarks/kafka_produce.py

# Fills README.md with the output of a demo that runs now, and README.md and docs/ with what the last
# "make bench" left in bench-output/.
.PHONY: readme
readme:
	$(call setup,demo bench)
	@$(BIN)/python scripts/update_readme.py $(ARGS)

.PHONY: lint
lint:
	$(call setup,test web demo lint)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy tests/typing
	$(BIN)/pyright --pythonpath $(BIN)/python
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/pyright --ignoreexternal --verifytypes pylog_struct

.PHONY: format
format:
	$(call setup,lint)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: clean
clean:
	rm -rf $(VENV) .venv-* build dist demo-output bench-output logs htmlcov .coverage .coverage.* \
	  .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find pylog_struct tests examples benchmarks scripts docs -name __pycache__ -type d -prune -exec rm -rf {} +
