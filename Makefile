# Everything happens in an environment of its own, below the checkout: nothing is installed elsewhere.
PYTHON ?= python3
VENV   ?= .venv
STORE  ?= quickstart
# Of tests: one more than two cores, since they wait for servers and processes more than a quarter of their time.
WORKERS ?= 3
UNIT   := tests/operator tests/trainer/contract tests/trainer/planning tests/docs/test_architecture.py
BIN    := $(VENV)/bin
# Of images: docker or buildah; how they are tagged; a base with Python, by digest; a folder of wheels, below the root, that are preferred.
BUILDER ?= $(firstword $(notdir $(shell command -v docker buildah)))
REGISTRY ?=
TAG     ?= $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
BASE    ?= python:3.11-slim
WHEELS  ?= constraints.txt
BUILD    = $(BUILDER) build --build-arg BASE=$(BASE) --build-arg WHEELS=$(WHEELS) --build-arg VERSION=$(TAG) --build-arg REVISION=$(shell git describe --always --dirty --abbrev=40 2>/dev/null)
SHELL  := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help quickstart test unit lint format bench crds chart catalogue remedies controlplane kubectl prometheus images node node-check e2e e2e-smoke clean

help:  ## Say what can be made
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

quickstart: $(VENV)/.product  ## Run the whole chain on real images, on this machine
	@$(BIN)/nnunet-operator local apply -f examples/quickstart --map s3://nnunet/raw=examples/data --store $(STORE)

test: $(VENV)/.dev controlplane kubectl prometheus  ## Run all tests, the real API server and S3 server included
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup

unit: $(VENV)/.dev  ## Run the pure tests: no torch, no servers, no processes
	$(BIN)/python -m pytest -q -n 2 -m "not controlplane and not reference and not s3 and not e2e" $(UNIT) --ignore=tests/operator/reconcile/test_any_order.py

lint: $(VENV)/.dev  ## Check format, lint, types and which way imports go
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo --no-cache

format: $(VENV)/.dev  ## Format the code and mend what lint can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.dev controlplane  ## Run every benchmark; each prints one line of JSON last
	@missed=; for benchmark in benchmarks/[a-z]*.py; do echo "== $$benchmark"; $(BIN)/python $$benchmark || missed="$$missed $$benchmark"; done; \
	if [ -n "$$missed" ]; then echo "A target was missed, or the benchmark failed:$$missed" >&2; exit 1; fi

crds: $(VENV)/.product  ## Write the CRDs from the API's models
	$(BIN)/nnunet-operator crds -o crds
	$(BIN)/nnunet-operator crds -o charts/nnunet-operator/files/crds

chart: $(VENV)/.dev  ## Write the chart's table of values, and the manifests for kustomize
	$(BIN)/python charts/generate.py

catalogue: $(VENV)/.product  ## Write what the trainer knows by name, for the operator's checks
	$(BIN)/nnunet-trainer trainers --catalogue -o trainer_image/nnunet_trainer/contract/catalogue/catalogue.json

remedies: $(VENV)/.product  ## Write docs/troubleshooting.md's tables for programs (kubectl nnunet why)
	$(BIN)/python -m nnunet_operator.inspection.remedies docs/troubleshooting.md

controlplane:  ## Build the test control plane (once, about 10 minutes), outside the checkout
	@tests/controlplane/build.sh

kubectl:  ## Build kubectl, where there is none (once, a few minutes), outside the checkout
	@tests/kubectl/build.sh > /dev/null

prometheus:  ## Fetch Prometheus for the tests of alerts and dashboard (once), outside the checkout
	@tests/prometheus/fetch.sh > /dev/null

images:  ## Build both images with docker or buildah (REGISTRY=…/ TAG=… BASE=… WHEELS=…)
	$(BUILD) -f operator/Dockerfile -t $(REGISTRY)nnunet-operator:$(TAG) .
	$(BUILD) -f trainer_image/Dockerfile -t $(REGISTRY)nnunet-trainer:$(TAG) .

node: controlplane  ## Build the programs of the test node (once, about 10 minutes), outside the checkout
	@tests/realnode/build.sh

# What the machine lacks is said before anything is built.
node-check: $(VENV)/.dev
	@cd tests && $(abspath $(BIN))/python -m realnode check

e2e: $(VENV)/.dev node-check node  ## Try all of it on a real node: images, chart, chain, loss of pods and node (root; 25 minutes)
	@cd tests && $(abspath $(BIN))/python -m realnode e2e

e2e-smoke: $(VENV)/.dev node-check node  ## The same, but only whether images, chart and node fit
	@cd tests && $(abspath $(BIN))/python -m realnode smoke

clean:  ## Remove the environment and the quickstart's results
	rm -rf $(VENV) $(STORE)

# A stamp is written when the install is whole; one that was interrupted starts again.
$(VENV)/.product: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "Installing nnunet-operator and torch into $(VENV) (a few minutes, once) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[operator,trainer]'
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "Installing nnunet-operator, torch and the test tools into $(VENV) (a few minutes, once) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[operator,trainer,dev]'
	@touch $@ $(VENV)/.product

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; $(PYTHON) is $$($(PYTHON) -V). Try: make PYTHON=python3.12 ..."; exit 69; }
	@$(PYTHON) -m venv $(VENV) || { echo "Python's venv module is missing (Debian, Ubuntu: apt install python3-venv)."; exit 69; }
