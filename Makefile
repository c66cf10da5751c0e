# Every task is run by tools/house.py, here as on Windows (dtms.cmd). The first one makes .venv from requirements.lock.
#   make demo        the system at work on recorded markets; Ctrl-C stops it
#   make test        all tests; make test ARGS="tests/market -x" for some
#   make check       format, lint, types, layers, dependencies, lock, diagram
#   make bench       figures of this machine
#   make survey      every recording played, and what occurred counted
#   make mutants     ten deliberate bugs, and which tests catch them
#   make lock|docs|format   write requirements.lock, the state diagram, the code's format

PYTHON ?= python3
ARGS ?=

# Recorded market data beside the checkout, when nobody names another folder.
ifneq ($(wildcard ../shared/data/bars),)
export DTMS_DATA_DIR ?= $(abspath ../shared/data)
endif

.DEFAULT_GOAL := help
.PHONY: help setup demo test check bench survey mutants lock docs format

help:
	@sed -n 's/^#   //p' Makefile

setup demo test check bench survey mutants lock docs format:
	@$(PYTHON) tools/house.py $@ $(ARGS)
