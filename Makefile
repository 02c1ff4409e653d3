# Every target is a line or two that you could type yourself. `make help` lists them.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
# Targets with prerequisites of their own order rely on it: run checks the machine before it sets up.
.NOTPARALLEL:
# Container images often set it; then every process compiles every module again.
unexport PYTHONDONTWRITEBYTECODE

SOURCE ?=
INPUT ?=
MODE ?=
FOLLOW ?=
SERVE ?=
SCALE ?=
SPARK_MASTER ?=
ARGS ?=
ENV ?= dev
INGEST_DATE ?=
RUN_ID ?=
START_ID ?=
REDO ?=
JOB ?=
CLUSTER ?=
EXECUTION ?=
YES ?=
GPU ?=
LOCKS := requirements/setup.txt pyproject.toml
DOCTOR := $(or $(PYTHON),python3) scripts/doctor.py

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z][a-z0-9-]*:.*## / { printf "  %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# ---- use

.PHONY: run
run: ready-to-run setup ## Photographs → Kafka → Spark → gallery (SOURCE=dir|picsum:|url MODE=upscale SCALE=2|3|4 FOLLOW=1 SERVE=no)
	@SOURCE="$(or $(SOURCE),$(INPUT))" SCALE="$(SCALE)" MODE="$(MODE)" FOLLOW="$(FOLLOW)" SERVE="$(SERVE)" SPARK_MASTER="$(SPARK_MASTER)" .venv/bin/python -m scripts.run $(ARGS)

# What is missing is installed, or named before anything starts.
ready-to-run:
	@$(DOCTOR) --for run --install

.PHONY: notebook
notebook: .venv/.setup-notebook ## Open main.ipynb: the whole program, cell by cell
	@.venv/bin/jupyter lab $(if $(filter 0,$(shell id -u)),--allow-root) main.ipynb
.venv/.setup-notebook: requirements/notebook.txt $(LOCKS)
	@scripts/setup.sh notebook

.PHONY: train
train: setup-dev ## Train the network (ARGS="--scale 2 --data DIR")
	@.venv/bin/superres train $(ARGS)

.PHONY: benchmark
benchmark: setup-dev ## Measure throughput against a plain loop and OpenCV (ARGS=…)
	@.venv/bin/python benchmarks/throughput.py $(ARGS)

.PHONY: doctor
doctor: ## List what this machine has and lacks, with remedies
	@$(DOCTOR) $(ARGS)

# ---- set up

.PHONY: setup
setup: .venv/.setup-run ## Create .venv with what `make run` needs
.venv/.setup-run: requirements/run.txt $(LOCKS)
	@echo "Setting up .venv (once, about a minute) …"
	@scripts/setup.sh run

.PHONY: setup-dev
setup-dev: .venv/.setup-dev ## Create .venv with what development and tests need (torch: 5 GB)
.venv/.setup-dev: requirements/dev.txt $(LOCKS)
	@echo "Setting up .venv for development (once, a few minutes) …"
	@scripts/setup.sh dev

.PHONY: jars
jars: scripts/spark/lib/spark.jsa ## Fetch Spark's S3 connector with Maven (only s3:// needs it)
scripts/spark/lib/.fetched: scripts/spark/pom.xml
	@scripts/spark/jars.sh
# With it Spark starts in less time.
scripts/spark/lib/spark.jsa: scripts/spark/lib/.fetched scripts/spark/small_job.py scripts/spark/class_archive.sh requirements/run.txt | .venv/.setup-run
	@scripts/spark/class_archive.sh

.PHONY: localstack-setup
localstack-setup: localstack/.venv/.setup ## Create LocalStack's own environment (Python 3.13)
localstack/.venv/.setup: localstack/requirements.txt localstack/plugin/pyproject.toml | .venv/.setup-run
	@localstack/setup.sh

.PHONY: web-tools
web-tools: tests/web/node_modules/.installed ## Fetch axe-core with npm (tests of the pages need it)
tests/web/node_modules/.installed: tests/web/package-lock.json
	@npm --prefix tests/web ci --silent --no-audit --no-fund
	@touch $@

.PHONY: infra-tools
infra-tools: infra/tools/.setup ## Fetch what checks the Terraform: tflint, checkov, asl-validator
infra/tools/.setup: infra/tools/requirements.txt infra/tools/package-lock.json infra/tools/go.sum | .venv/.setup-dev
	@infra/tools/setup.sh

.PHONY: system-packages
system-packages: ## Install the Debian packages that tests and benchmarks need
	@$(DOCTOR) --for packages --install

.PHONY: lock
lock: setup ## Resolve requirements/*.txt and localstack/requirements.txt again
	@scripts/lock.sh

# ---- local cloud

.PHONY: local-up
local-up: localstack-setup ## Start LocalStack on 127.0.0.1 (LOCALSTACK_PORT, default 4566)
	@localstack/up.sh

.PHONY: local-down
local-down: ## Stop LocalStack
	@localstack/down.sh

.PHONY: local-status
local-status: ## Show whether LocalStack runs, and where its log and data are
	@localstack/status.sh || test $$? -eq 3

.PHONY: kafka-up
kafka-up: ## Start a Kafka broker on 127.0.0.1 (KAFKA_PORT, default 9092) with its topics
	@scripts/kafka/start.sh

.PHONY: kafka-down
kafka-down: ## Stop the Kafka broker; topics and messages stay
	@scripts/kafka/stop.sh

# ---- deploy

DEPLOY := .venv/bin/python -m deploy
WHICH_RUN = $(if $(INGEST_DATE),--ingest-date "$(INGEST_DATE)") $(if $(RUN_ID),--run-id "$(RUN_ID)") \
  $(if $(SCALE),--scale "$(SCALE)") $(if $(REDO),--redo)

.PHONY: package
package: setup ## Build what AWS runs into build/package (GPU=no leaves out 4 GB of torch)
	@$(DEPLOY) package $(if $(filter no,$(GPU)),--without-gpu)

.PHONY: deploy
deploy: setup ## Deploy to AWS: shows the plan and asks (ENV=dev YES=1)
	@$(DEPLOY) deploy --env "$(ENV)" $(if $(YES),--yes)

.PHONY: submit
submit: setup ## Process images on AWS and follow the run (ENV= INGEST_DATE= RUN_ID= SCALE= REDO=1)
	@$(DEPLOY) submit --env "$(ENV)" $(WHICH_RUN)

.PHONY: smoke
smoke: setup ## Process ten images on AWS and say what that proves; needs ENV=smoke (ARGS=--keep)
	@$(DEPLOY) smoke --env "$(ENV)" $(ARGS)

.PHONY: emr-step
emr-step: setup ## Run one job as a step of EMR and follow it (JOB=mass_split RUN_ID=… START_ID=… CLUSTER=…)
	@$(DEPLOY) emr-step --env "$(ENV)" --job "$(JOB)" $(WHICH_RUN) $(if $(START_ID),--start-id "$(START_ID)") $(if $(CLUSTER),--cluster "$(CLUSTER)")

.PHONY: status
status: setup ## Show what is deployed and the status of the latest runs (ENV=dev)
	@$(DEPLOY) status --env "$(ENV)"

.PHONY: logs
logs: setup ## Show the logs of the latest run's steps (ENV= EXECUTION=…)
	@$(DEPLOY) logs --env "$(ENV)" $(if $(EXECUTION),--execution "$(EXECUTION)")

.PHONY: destroy
destroy: setup ## Delete everything on AWS, images included: asks first (ENV=dev YES=1)
	@$(DEPLOY) destroy --env "$(ENV)" $(if $(YES),--yes)

# ---- check

PYTEST = .venv/bin/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile

.PHONY: lint
lint: setup-dev ## Check style, types, imports between packages, and the Terraform
	@scripts/lint.sh

.PHONY: infra-check
infra-check: infra/.checked ## Check the Terraform (only when a file of it has changed)
infra/.checked: $(shell git ls-files --cached --others --exclude-standard infra 2>/dev/null) infra/tools/.setup
	@infra/check.sh
	@touch $@

.PHONY: test-quick
test-quick: setup-dev ## Run the unit tests that take less than a second each (ARGS="-k tiling")
	@$(PYTEST) tests/unit localstack/plugin/tests -m "$(QUICK)" $(ARGS)
QUICK := not slow and not spark and not kafka and not postgresql and not chromium and not localstack and not terraform

# Locally, tests whose tools are missing skip; with CI=true they fail.
.PHONY: test
test: test-tools ## Lint, then run all tests but those in the local cloud (ARGS="-k tiling")
	@$(MAKE) lint
	@$(PYTEST) $(ARGS)

.PHONY: local-test
local-test: ## Lint, then run all tests: those of `make test`, and a deployment in the local cloud
	@$(DOCTOR) --for local-test --install
	@$(MAKE) test-tools CI=true # what is missing fails here
	@$(MAKE) lint
	@CI=true scripts/local_test.sh $(PYTEST)

.PHONY: test-tools
test-tools: setup-dev ## Fetch what the tests need beside Debian's packages
	@$(MAKE) --keep-going jars localstack-setup web-tools || test "$(CI)" != true

.PHONY: clean
clean: local-down kafka-down ## Remove everything that make built
	@rm -rf .venv .local localstack/.venv scripts/spark/lib scripts/kafka/lib tests/web/node_modules infra/{.checked,.terraform.lock.hcl,state/.terraform.lock.hcl,deploy_role/.terraform.lock.hcl} infra/tools/{.setup,.venv,bin,node_modules} build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis spark-warehouse
