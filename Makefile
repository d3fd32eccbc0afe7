# Segue: `make` alone lists what it can do.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
unexport PYTHONHOME PYTHONPATH VIRTUAL_ENV

VENV := .venv
STAMP := $(VENV)/.installed
BIN := $(CURDIR)/$(VENV)/bin
PYTHON_RUN := $(BIN)/python -m
ifndef STACK
STACK = $(eval STACK := $(shell deploy/choose-stack.sh))$(STACK)
endif
SUDO := $(if $(filter-out 0,$(shell id -u)),sudo)
SERVICE ?=
FOLLOW ?=
# Processes that run tests; 0 runs them in this one, where a debugger can be used.
JOBS ?= 2
# Profiles of the containers, and how many recommenders nginx then has behind it.
PROFILES ?=
RECOMMENDERS ?=
SCALED := $(if $(RECOMMENDERS),SEGUE_RECOMMENDER_PORT=0)
COMPOSE := docker compose --file deploy/docker-compose.yml --env-file .env $(addprefix --profile ,$(PROFILES))
COMPOSE_CHECK := docker-compose --file deploy/docker-compose.yml --env-file .env.example
SECRETS := $(or $(SEGUE_SECRETS),deploy/secrets)
DOCKERFILES := $(wildcard deploy/docker/*.Dockerfile)

.PHONY: help
help: ## List the targets (this)
	@awk 'BEGIN { FS = ":.*## " } \
		/^##@ / { printf "\n%s\n", substr($$0, 5) } \
		/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@printf '\nThe stack runs here with STACK=%s (docker or local).\n' '$(STACK)'

##@ The stack

.PHONY: demo up down ps logs clean
demo: ## Run the whole loop: world, history, training, live experiment, result
up: ## Start the stack and wait until it is ready
down: ## Stop the stack; its data stays
ps: ## Show each service: state, uptime, port
logs: ## Show the last lines of the logs (SERVICE=name, FOLLOW=1)
clean: ## Stop the stack and delete its data

demo up down ps logs clean:
	@case "$(STACK)" in docker|local) ;; *) echo "STACK is docker or local, not '$(STACK)'" >&2; exit 2;; esac
	@$(MAKE) $(STACK)-$@

.PHONY: prometheus
PROMETHEUS_PORT := $(or $(SEGUE_PROMETHEUS_PORT),9090)
prometheus: promtool ## Run Prometheus beside the local stack, with its rules and alerts
	@mkdir -p .segue/prometheus
	@exec prometheus --config.file=deploy/observability/prometheus.local.yml \
		--storage.tsdb.path=.segue/prometheus --web.listen-address=127.0.0.1:$(PROMETHEUS_PORT)

.PHONY: loop
ENGINE ?= live
LOOP_OPTIONS := DAYS TRACKS USERS HISTORY SESSIONS JUDGED BOUNDED SEED BONUS EPSILON FORMAT PICTURE WORKERS
loop: $(STAMP) ## Day, retrain, next day: a row per day (DAYS=5, ENGINE=inprocess, SESSIONS=, TRACKS=, SEED=)
	@$(PYTHON_RUN) deploy.loop --engine $(ENGINE) $(foreach option,$(LOOP_OPTIONS),$(if $($(option)),\
		--$(shell echo $(option) | tr A-Z a-z) $($(option))))

.PHONY: local-demo local-up local-down local-ps local-logs local-clean
local-demo local-up local-down local-ps local-clean: local-%: $(STAMP)
	@$(PYTHON_RUN) deploy.local $*
local-logs: $(STAMP)
	@$(PYTHON_RUN) deploy.local logs $(SERVICE) $(if $(FOLLOW),--follow)

.PHONY: docker-demo docker-up docker-down docker-ps docker-logs docker-clean
docker-up: export VERSION ?= $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
docker-up: export REVISION ?= $(shell git rev-parse HEAD 2>/dev/null || echo unknown)
docker-up: .env
	@deploy/make-secrets.sh $(SECRETS) postgres_password api_token grafana_password
	@$(SCALED) $(COMPOSE) $(if $(RECOMMENDERS),--profile scale) up --build --detach --wait \
		$(if $(RECOMMENDERS),--scale recommender=$(RECOMMENDERS))
docker-demo: docker-up
	@$(COMPOSE) run --rm --build demo
docker-down: .env
	@$(COMPOSE) --profile '*' down --remove-orphans
docker-ps: .env
	@$(COMPOSE) --profile '*' ps --all
docker-logs: .env
	@$(COMPOSE) --profile '*' logs --tail 20 $(if $(FOLLOW),--follow) $(SERVICE)
docker-clean: .env
	@$(COMPOSE) --profile '*' down --remove-orphans --volumes

.env:
	@cp .env.example $@
	@echo "Created .env from .env.example"

##@ Development

.PHONY: install test lint audit browser promtool screenshots format lock bench-serving chaos docs
install: $(STAMP) ## Create .venv and install Segue with its tools

$(STAMP): pyproject.toml constraints.txt
	@deploy/install.sh $(VENV)
	@touch $@

test: lint ## Install, lint, and run all tests (JOBS=0: in one process)
	@$(PYTHON_RUN) pytest -n $(JOBS) --no-loadscope-reorder

lint: $(STAMP) ## Check style, types, layers, containers, manifests and rules
	@$(BIN)/ruff check --quiet
	@$(BIN)/ruff format --check --quiet
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/lint-imports --no-cache > $(VENV)/lint-imports.log || { cat $(VENV)/lint-imports.log; exit 1; }
	@for profile in none demo observability scale '*'; do \
		$(BIN)/$(COMPOSE_CHECK) --profile "$$profile" config --quiet; done
	@$(BIN)/hadolint $(DOCKERFILES)
	@for overlay in deploy/kubernetes/overlays/*; do \
		$(BIN)/kubectl kustomize "$$overlay" | $(BIN)/kubernetes-validate --strict --quiet -; done
	@if command -v promtool > /dev/null; then promtool check rules deploy/observability/rules/*.yml > /dev/null; \
		else echo "lint: promtool is not here, alerts are not checked: make promtool"; fi
	@echo "lint: clean"

audit: $(STAMP) ## Look the locked versions up among known vulnerabilities
	@$(BIN)/python -m deploy.audit

browser: ## Install Chromium, which the tests of the pages and the pictures drive
	@command -v chromium > /dev/null || { $(SUDO) apt-get update --quiet=2 && \
		$(SUDO) apt-get install --quiet=2 --yes --no-install-recommends chromium; }
	@chromium --version

screenshots: $(STAMP) ## Picture the running stack's dashboard into docs/images
	@$(PYTHON_RUN) deploy.screenshots

promtool: ## Install Prometheus, whose promtool tests rules and alerts
	@command -v promtool > /dev/null || { $(SUDO) apt-get update --quiet=2 && \
		$(SUDO) apt-get install --quiet=2 --yes --no-install-recommends prometheus; }
	@promtool --version 2>&1 | head -1

format: $(STAMP) ## Put the code into the house's format
	@$(BIN)/ruff check --fix --quiet
	@$(BIN)/ruff format --quiet

docs: $(STAMP) ## Write the HTTP reference, and make a site of docs/ in site/
	@$(PYTHON_RUN) deploy.reference
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "site/index.html"

chaos: $(STAMP) ## Hurt a stack of its own under traffic, count what is lost (ONLY="redis logger", LASTING=10)
	@$(PYTHON_RUN) benchmarks.chaos $(if $(ONLY),--only $(ONLY)) $(if $(LASTING),--seconds $(LASTING))

bench-serving: $(STAMP) ## Measure what a request costs, against an echo and the parent's design
	@$(PYTHON_RUN) benchmarks.serving

lock: $(STAMP) ## Renew constraints.txt with today's versions
	@deploy/lock.sh $(VENV)
	@git diff --stat -- constraints.txt
