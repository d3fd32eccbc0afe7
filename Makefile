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
JOBS ?=
COMPOSE := docker compose --file deploy/docker-compose.yml --env-file .env
DOCKERFILES := $(wildcard deploy/docker/*.Dockerfile)

.PHONY: help
help: ## List the targets (this)
	@awk 'BEGIN { FS = ":.*## " } \
		/^##@ / { printf "\n%s\n", substr($$0, 5) } \
		/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
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
docker-up: .env
	@$(COMPOSE) up --build --detach --wait
docker-demo: docker-up
	@$(COMPOSE) run --rm --build demo
docker-down: .env
	@$(COMPOSE) down --remove-orphans
docker-ps: .env
	@$(COMPOSE) ps --all
docker-logs: .env
	@$(COMPOSE) logs --tail 20 $(if $(FOLLOW),--follow) $(SERVICE)
docker-clean: .env
	@$(COMPOSE) --profile demo down --remove-orphans --volumes

.env: # The containers' servers are reachable over a network: they get secrets of their own.
	@umask 077; secret() { od -An -N18 -tx1 /dev/urandom | tr -d ' \n'; }; \
		sed -e "s/^POSTGRES_PASSWORD=.*/POSTGRES_PASSWORD=$$(secret)/" \
			-e "s/^SEGUE_API_TOKEN=.*/SEGUE_API_TOKEN=$$(secret)/" .env.example > $@
	@echo "Created .env from .env.example, with a random database password and API token"

##@ Development

.PHONY: install test lint audit browser screenshots format lock bench-serving
install: $(STAMP) ## Create .venv and install Segue with its tools

$(STAMP): pyproject.toml constraints.txt
	@deploy/install.sh $(VENV)
	@touch $@

test: lint ## Install, lint, and run all tests (JOBS=2: in two processes)
	@$(PYTHON_RUN) pytest $(if $(JOBS),-n $(JOBS) --dist loadgroup --no-loadscope-reorder)

lint: $(STAMP) ## Check style, types, layers and containers
	@$(BIN)/ruff check --quiet
	@$(BIN)/ruff format --check --quiet
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/lint-imports --no-cache > $(VENV)/lint-imports.log || { cat $(VENV)/lint-imports.log; exit 1; }
	@$(BIN)/docker-compose --file deploy/docker-compose.yml --env-file .env.example --profile demo config --quiet
	@$(BIN)/hadolint $(DOCKERFILES)
	@echo "lint: clean"

audit: $(STAMP) ## Look the locked versions up among known vulnerabilities
	@$(BIN)/python -m deploy.audit

browser: ## Install Chromium, which the tests of the pages and the pictures drive
	@command -v chromium > /dev/null || { $(SUDO) apt-get update --quiet=2 && \
		$(SUDO) apt-get install --quiet=2 --yes --no-install-recommends chromium; }
	@chromium --version

screenshots: $(STAMP) ## Picture the running stack's dashboard into docs/images
	@$(PYTHON_RUN) deploy.screenshots

format: $(STAMP) ## Put the code into the house's format
	@$(BIN)/ruff check --fix --quiet
	@$(BIN)/ruff format --quiet

bench-serving: $(STAMP) ## Measure what a request costs, against an echo and the parent's design
	@$(PYTHON_RUN) benchmarks.serving

lock: $(STAMP) ## Renew constraints.txt with today's versions
	@deploy/lock.sh $(VENV)
	@git diff --stat -- constraints.txt
