# Every target sets up .venv first, which costs nothing where it is in place (setup.sh).
#     make PYTHON=python3.12 ...     another interpreter          make test PYTEST_ARGS="-n 0 -x tests/harness"
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help setup demo test lint bench
export PYTHON
PYTEST_ARGS ?=

help:
	@echo 'make setup   make .venv: all packages, pinned (1 to 3 minutes)'
	@echo 'make demo    set up, then train seed 0 of the baseline and of the method again, beside their kept records'
	@echo 'make test    set up, then ruff, mypy, import-linter and pytest (at most 10 minutes)'
	@echo 'make lint    set up, then ruff, mypy and import-linter alone'
	@echo 'make bench   set up, then every benchmarks/bench_*.py'

setup:
	@bash setup.sh

demo:
	@echo 'demo: sets up .venv (the first time 1 to 3 minutes), prints the rows of Table 1 that are kept in results/, then makes'
	@echo 'demo: their videos (a minute), trains thin versions of the baseline and of the method again from shipped pretrained'
	@echo 'demo: weights, seed 0 of each, at once on two cores (15 minutes), and sets them beside what is kept. Another processor'
	@echo 'demo: gives other last digits, which at this size is a spread like that of seeds.'
	@echo 'demo: Ctrl-C stops it at the next safe point, the same command goes on.'
	@bash setup.sh
	.venv/bin/ifrvis report table1 --profile mini --rows 'mask2former-r50-ytvis19,ours-r50-ytvis19' --reports reports/demo
	.venv/bin/ifrvis reproduce table1/mask2former-r50-ytvis19 table1/ours-r50-ytvis19 --seed 0 --profile mini --into results/demo

test:
	@echo 'test: sets up .venv (the first time 1 to 3 minutes), then runs'
	@echo 'test: ruff, mypy, import-linter and pytest. Pytest is the long step: at most 10 minutes on 2 cores.'
	@$(MAKE) --no-print-directory lint
	.venv/bin/python -m pytest -n auto $(PYTEST_ARGS)

lint:
	@bash setup.sh
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports --no-cache

bench:
	@echo 'bench: sets up .venv, then runs every benchmarks/bench_*.py, one after the other on an otherwise idle machine.'
	@bash setup.sh
	@set -e; for bench in benchmarks/bench_*.py; do echo "bench: $$bench"; .venv/bin/python "$$bench"; done
