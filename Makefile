# `make` alone prints the targets. Everything that is installed goes into .tools/ and target/.
# The variables, their values and the targets that read them stand in tests/stacks/variables.py.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:

PYTHON ?= python3
TOOLS := .tools/venv/bin
LINT_TOOLS := .tools/lint/bin
DEPLOY_TOOLS := .tools/deploy/bin
FUNCTIONS := log-processor dlq-replayer scale-up scale-down archiver stream-replayer
# Lambda runs arm64 for a fifth less money.
ARCHITECTURE ?= arm64
AUTOSCALING_STACK ?= sluice-autoscaling
LOG_PROCESSING_STACK ?= sluice-log-processing
ARCHIVE_STACK ?= sluice-archive
STREAM_REPLAY_STACK ?= sluice-stream-replay
OVERVIEW_STACK ?= sluice-overview
SEEDS ?= 1000
export ARCHITECTURE AUTOSCALING_STACK LOG_PROCESSING_STACK ARCHIVE_STACK STREAM_REPLAY_STACK OVERVIEW_STACK

# A person's text reaches its program as written: make would expand $$. in it, so it is made a plain value, and recipes read
# it as "$$NAME" from their environment, where the shell leaves it alone.
GIVEN := $(filter-out -*-% MAKE%,$(foreach name,$(.VARIABLES),$(if $(filter command,$(firstword $(origin $(name)))),$(name))))
$(foreach name,$(GIVEN),$(eval override $(name) := $$(value $(name)))$(eval export $(name)))
define NEWLINE


endef
shell-quoted = '$(subst $(NEWLINE),'$$'\n'',$(subst ','\'',$(1)))'
# Before anything is built or installed: unknown targets and variables, bad values, and directories that nothing builds in.
ifneq ($(shell $(PYTHON) tests/stacks/variables.py check $(call shell-quoted,$(MAKECMDGOALS)) \
	$(foreach name,$(GIVEN),$(call shell-quoted,$(name)=$($(name))))),ok)
$(error Nothing was built or installed)
endif

# Property tests draw from this seed, drawn once: a deferred variable would be another number each time that it is read.
PROPERTY_SEED := $(or $(SEED),$(shell od -An -N4 -tu4 /dev/urandom | tr -d ' '))

.PHONY: help
help: ## Print this list
	@$(PYTHON) tests/stacks/variables.py help

.PHONY: tools
tools: ## Install the pinned local engines and checks into .tools/
	@$(PYTHON) tests/stacks/install.py

.PHONY: demo
demo: tools ## Carry log events through the local stacks and compare what arrives with what was sent
	@"$(TOOLS)/python" tests/stacks/demo.py

.PHONY: demo-stop
demo-stop: ## Stop the engines that `make demo KEEP=1` left up
	@$(PYTHON) tests/stacks/running.py stop

.PHONY: test
test: test-rust test-stacks ## Run every test

.PHONY: test-rust
test-rust: ## Run the unit, promise and property tests
	@echo 'Building and running the Rust tests: about 10 minutes and 4 GB the first time on two cores, then about 5 minutes.'
	@echo 'property tests: SEED=$(PROPERTY_SEED) (to repeat: make test-rust SEED=$(PROPERTY_SEED))'
	@export PROPTEST_RNG_SEED=$(PROPERTY_SEED); \
	if command -v cargo-nextest >/dev/null; then \
		cargo nextest run --locked --no-fail-fast && cargo test --locked --doc; \
	else \
		cargo test --locked --no-fail-fast; \
	fi

.PHONY: test-stacks
test-stacks: tools ## Run the real templates and the real binaries on the local engines
	@echo 'Testing the stacks on local engines: about 7 minutes, after a build of 4 minutes and 2 GB the first time.'
	cargo build --locked -p same-features -p stream-engine -p sluice-cli $(addprefix -p ,$(FUNCTIONS))
	@"$(TOOLS)/python" -m pytest -q -p no:cacheprovider -n 2 --dist loadfile tests/stacks

.PHONY: scenarios
scenarios: ## Run every scaling scenario in virtual time, and the one of mixed faults for many seeds
	@echo 'Building and running the scaling scenarios: about 11 minutes for 1,000 seeds, after the first build.'
	cargo build --locked -p simulator
	@cargo run --locked --quiet -p simulator -- --scenario all --quiet
	@cargo run --locked --quiet -p simulator -- --scenario mixed-faults --seeds $(or $(SEEDS),1000) --quiet

# Only a seed that was asked for: by default the run is the same one every time, and goes on where it was broken off.
.PHONY: chaos
chaos: ## Break the whole path in virtual time, for many seeds; an interrupted run is resumed
	@echo 'Building and running the chaos: about 10 minutes for 1,000 seeds, after the first build.'
	cargo build --locked -p chaos
	@cargo run --locked --quiet -p chaos -- --seeds $(or $(SEEDS),1000) --quiet $(if $(SEED),--seed '$(SEED)') \
		$(if $(EVENTS),--events '$(EVENTS)') $(if $(filter 1,$(FRESH)),--fresh)

.PHONY: fuzz
fuzz: ## Fuzz what reads untrusted bytes, guided by coverage
	@echo 'Fuzzing $(or $(TARGET),every target): $(or $(MINUTES),10) minutes for each, after the first build of some minutes.'
	@tests/fuzz/run

# Without what calls AWS, whose SDK takes minutes to compile. xargs knows quotation marks and nothing else.
.PHONY: what-if
what-if: ## What Sluice would cost on your traffic, beside the alternatives
	@echo 'Building sluice what-if: one to two minutes the first time, seconds after that.' >&2
	@cargo build --profile simulate --locked -p sluice-cli --no-default-features
	@set -- --generate live-event; \
	if [[ -n "$${TRACE:-}" ]]; then set -- "$$TRACE"; fi; \
	if [[ -n "$${PEAK_MBPS:-}" ]]; then set -- "$$@" "--peak-mbps=$$PEAK_MBPS"; fi; \
	if [[ -n "$${EVENT_BYTES:-}" ]]; then set -- "$$@" "--event-bytes=$$EVENT_BYTES"; fi; \
	set -- "$${CARGO_TARGET_DIR:-target}/simulate/sluice" what-if "$$@"; \
	if [[ -n "$${ARGS:-}" ]]; then printf '%s\n' "$$ARGS" | xargs "$$@"; else "$$@"; fi

.PHONY: simulate
simulate: what-if ## The old name of what-if

.PHONY: lint-tools
lint-tools:
	@$(PYTHON) tests/stacks/install.py --for-lint

# What checkov skips, and why, stands at each resource.
.PHONY: lint
lint: tools lint-tools ## Check format, clippy, licences, types, docs and templates
	@echo 'Checking format, clippy, licences, types, docs and templates: about 10 minutes the first time on two cores, then one.'
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	"$(LINT_TOOLS)/cargo-deny" --locked check bans licenses sources
	RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --locked --quiet
	"$(LINT_TOOLS)/python" -m ruff check --quiet
	"$(LINT_TOOLS)/python" -m ruff format --check --quiet
	PYRIGHT_PYTHON_IGNORE_WARNINGS=1 "$(LINT_TOOLS)/python" -m pyright --pythonpath "$(TOOLS)/python"
	"$(TOOLS)/python" -c 'from cfnlint.runner import main; main()' infra/*.yaml
	LOG_LEVEL=ERROR "$(LINT_TOOLS)/python" -m checkov.main --file infra/*.yaml --framework cloudformation --skip-download --compact --quiet

.PHONY: bench
bench: ## Measure the handler's CPU beside a plain handler, in the same run
	@echo 'Building and running the benchmark: some minutes, after a release build of about 15 the first time.'
	cargo run --release --locked -p bench

.PHONY: build
build: ## Build the functions for this machine
	@echo 'Building the functions for this machine: about 10 minutes the first time on two cores.'
	cargo build --release --locked $(addprefix -p ,$(FUNCTIONS))

.PHONY: deploy-tools
deploy-tools:
	@$(PYTHON) tests/stacks/install.py --for-deploy >&2

# What it does first, and what it says, stands in infra/deploy.py.
DEPLOY := "$(DEPLOY_TOOLS)/python" infra/deploy.py

.PHONY: package
package: deploy-tools ## Build the functions for Lambda, as zips under target/lambda/
	@$(DEPLOY) package

.PHONY: deploy-autoscaling
deploy-autoscaling: deploy-tools ## Launch or update the stream, and with BUCKET= its scaling
	@$(DEPLOY) autoscaling

.PHONY: deploy-log-processing
deploy-log-processing: deploy-tools ## Build, upload, and launch or update processor and replayer: BUCKET=
	@$(DEPLOY) log-processing

.PHONY: deploy-archive
deploy-archive: deploy-tools ## Build, upload, and launch or update the archive in S3: BUCKET=
	@$(DEPLOY) archive

.PHONY: deploy-stream-replay
deploy-stream-replay: deploy-tools ## Build, upload, and launch or update the replayer of a stream's past: BUCKET=
	@$(DEPLOY) stream-replay

.PHONY: template-autoscaling
template-autoscaling: deploy-tools ## Print the template without its transform, for service-managed StackSets: PARAMETERS=
	@"$(DEPLOY_TOOLS)/python" infra/expand.py autoscaling

.PHONY: template-log-processing
template-log-processing: deploy-tools ## Print the template without its transform, for service-managed StackSets: PARAMETERS=
	@"$(DEPLOY_TOOLS)/python" infra/expand.py log-processing

.PHONY: preflight
preflight: deploy-tools ## Look for what would make a launch fail, before anything is created
	@"$(DEPLOY_TOOLS)/python" infra/preflight.py

.PHONY: verify
verify: tools $(if $(filter local,$(ENGINE))$(CLEAN_UP),,package) ## Launch everything under a prefix, prove that it works, delete it
	@"$(TOOLS)/python" $(if $(filter local,$(ENGINE)),tests/stacks/verify_local.py,infra/verify.py)

.PHONY: removal-plan
removal-plan: deploy-tools ## Print the commands that delete the stacks and what they leave behind; deletes nothing
	@$(DEPLOY) removal-plan

.PHONY: deploy-overview
deploy-overview: deploy-tools ## Launch or update a dashboard over those of the stacks that are there
	@$(DEPLOY) overview

# SLUICE_CLI names a program that is built already.
.PHONY: cli
cli:
ifndef SLUICE_CLI
	@echo 'Building sluice: some minutes the first time, seconds after that.' >&2
	@cargo build --locked -p same-features -p sluice-cli
endif

# The queue itself, or the stack that has it.
quarantine = "$${SLUICE_CLI:-$${CARGO_TARGET_DIR:-target}/debug/sluice}" quarantine $(1) \
	$(if $(QUARANTINE_QUEUE),--queue="$$QUARANTINE_QUEUE",--stack="$$LOG_PROCESSING_STACK") \
	$(if $(REASON),--reason="$$REASON") $(if $(MAX),--max="$$MAX")

.PHONY: quarantine-show
quarantine-show: cli ## Show what lies in quarantine
	@$(call quarantine,show) $(if $(filter 1,$(TEXT)),--text) $(if $(filter 1,$(JSON)),--json)

.PHONY: quarantine-send-back
quarantine-send-back: cli ## After a repair, send it back to be replayed
	@$(call quarantine,send-back) $(if $(filter 1,$(DRY_RUN)),--dry-run)

.PHONY: clean
clean: ## Remove everything that was built or installed
	@$(PYTHON) tests/stacks/running.py check
	rm -rf target .tools
