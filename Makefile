# `make` alone prints the targets. Everything that is installed goes into .tools/ and target/.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:

PYTHON ?= python3
TOOLS := .tools/venv/bin
DEPLOY_TOOLS := .tools/deploy/bin
FUNCTIONS := log-processor dlq-replayer scale-up scale-down archiver stream-replayer
# Lambda runs arm64 for a fifth less money.
ARCHITECTURE ?= arm64
AUTOSCALING_STACK ?= sluice-autoscaling
LOG_PROCESSING_STACK ?= sluice-log-processing
ARCHIVE_STACK ?= sluice-archive
STREAM_REPLAY_STACK ?= sluice-stream-replay
OVERVIEW_STACK ?= sluice-overview
# Property tests draw from this seed. A failing run is repeated with `make test SEED=…`.
SEEDS ?= 1000
# Drawn once: a deferred variable would be another number each time that it is read.
ifeq ($(origin SEED),undefined)
SEED := $(shell od -An -N4 -tu4 /dev/urandom | tr -d ' ')
endif

.PHONY: help
help: ## Print this list
	@printf 'make TARGET [VARIABLE=value …]\n\n'
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/\1\t\2/' | \
		while IFS=$$'\t' read -r target text; do printf '  %-24s%s\n' "$$target" "$$text"; done

.PHONY: tools
tools: ## Install the pinned local engines and checks into .tools/
	@$(PYTHON) tests/stacks/install.py

.PHONY: demo
demo: tools ## Carry 120,000 log events through the local stacks and compare [FORMAT= TRANSFORM= EVENTS= SEED= LOGS= SCALING=0 FAILURES=0 CONSUMERS=0 KEEP=1]
	@FORMAT='$(FORMAT)' TRANSFORM='$(TRANSFORM)' EVENTS='$(EVENTS)' LOGS='$(LOGS)' KEEP='$(KEEP)' SCALING='$(SCALING)' \
		FAILURES='$(FAILURES)' CONSUMERS='$(CONSUMERS)' SEED='$(if $(filter file,$(origin SEED)),,$(SEED))' $(TOOLS)/python tests/stacks/demo.py

.PHONY: demo-stop
demo-stop: ## Stop the engines that `make demo KEEP=1` left up
	@$(TOOLS)/python tests/stacks/demo.py stop

.PHONY: test
test: test-rust test-stacks ## Run every test [SEED=]

.PHONY: test-rust
test-rust: ## Run the unit, promise and property tests [SEED=]
	@echo 'property tests: SEED=$(SEED) (to repeat: make test-rust SEED=$(SEED))'
	@export PROPTEST_RNG_SEED=$(SEED); \
	if command -v cargo-nextest >/dev/null; then \
		cargo nextest run --locked --no-fail-fast; \
	else \
		cargo test --locked --no-fail-fast; \
	fi

.PHONY: test-stacks
test-stacks: tools ## Run the real templates and the real binary on the local engines
	@$(TOOLS)/python -m pytest -q -p no:cacheprovider tests/stacks

.PHONY: scenarios
scenarios: ## Run every scaling scenario in virtual time, and the one of mixed faults for many seeds [SEEDS=1000]
	cargo build --locked -p simulator
	@cargo run --locked --quiet -p simulator -- --scenario all --quiet
	@cargo run --locked --quiet -p simulator -- --scenario mixed-faults --seeds $(SEEDS) --quiet

# Only a seed that was asked for: by default the run is the same one every time, and goes on where it was broken off.
.PHONY: chaos
chaos: ## Break the whole path in virtual time, a thousand seeds with 10,000 events each, resumable [SEEDS=1000 SEED= EVENTS= FRESH=1]
	cargo build --locked -p chaos
	@cargo run --locked --quiet -p chaos -- --seeds $(SEEDS) --quiet $(if $(filter file,$(origin SEED)),,--seed '$(SEED)') \
		$(if $(EVENTS),--events '$(EVENTS)') $(if $(filter 1,$(FRESH)),--fresh)

.PHONY: fuzz
fuzz: ## Fuzz what reads untrusted bytes, guided by coverage, so many minutes a target [MINUTES=10 TARGET= SEED=]
	@MINUTES='$(or $(MINUTES),10)' TARGET='$(TARGET)' $(if $(filter file,$(origin SEED)),,SEED='$(SEED)') tests/fuzz/run

# What a person writes reaches the program as written: make would expand each `$`, the shell each quote. xargs knows
# quotes and nothing else.
unexport TRACE PEAK_MBPS EVENT_BYTES ARGS
simulate: export SIMULATE_TRACE := $(value TRACE)
simulate: export SIMULATE_PEAK_MBPS := $(value PEAK_MBPS)
simulate: export SIMULATE_EVENT_BYTES := $(value EVENT_BYTES)
simulate: export SIMULATE_ARGS := $(value ARGS)
.PHONY: simulate
simulate: ## What Sluice would cost on your traffic, beside the alternatives [TRACE=file.csv PEAK_MBPS=64 EVENT_BYTES=300 ARGS="--html report.html"]
	@echo 'Building what-if: one to two minutes the first time, seconds after that.' >&2
	@cargo build --profile simulate --locked -p what-if --no-default-features
	@set -- --generate live-event; \
	if [[ -n "$$SIMULATE_TRACE" ]]; then set -- "$$SIMULATE_TRACE"; fi; \
	if [[ -n "$$SIMULATE_PEAK_MBPS" ]]; then set -- "$$@" "--peak-mbps=$$SIMULATE_PEAK_MBPS"; fi; \
	if [[ -n "$$SIMULATE_EVENT_BYTES" ]]; then set -- "$$@" "--event-bytes=$$SIMULATE_EVENT_BYTES"; fi; \
	set -- "$${CARGO_TARGET_DIR:-target}/simulate/what-if" "$$@"; \
	if [[ -n "$$SIMULATE_ARGS" ]]; then printf '%s\n' "$$SIMULATE_ARGS" | xargs "$$@"; else "$$@"; fi

.PHONY: lint
lint: tools ## Check format, clippy, docs and templates
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --locked --quiet
	$(TOOLS)/cfn-lint infra/*.yaml

.PHONY: bench
bench: ## Measure the handler's CPU beside a plain handler, in the same run
	cargo run --release --locked -p bench

.PHONY: build
build: ## Build the functions for this machine
	cargo build --release --locked $(addprefix -p ,$(FUNCTIONS))

.PHONY: deploy-tools
deploy-tools:
	@$(PYTHON) tests/stacks/install.py --for-deploy >&2

.PHONY: package
package: deploy-tools ## Build the functions for Lambda, as zips under target/lambda/ [ARCHITECTURE=arm64|x86_64]
	PATH="$(CURDIR)/$(DEPLOY_TOOLS):$$PATH" cargo lambda build --release --locked $(addprefix -p ,$(FUNCTIONS)) \
		$(if $(filter arm64,$(ARCHITECTURE)),--arm64) --output-format zip

# $(call upload,scale-up) puts the function's zip into the bucket under a name that says what is in it, so that a
# stack update sees new code, and leaves that name in $$key.
upload = zip=$(or $(CARGO_TARGET_DIR),target)/lambda/$(1)/bootstrap.zip; key=sluice/$(1)-$$(sha256sum "$$zip" | cut -c1-16).zip; \
	$(DEPLOY_TOOLS)/aws s3 cp --no-progress "$$zip" "s3://$(BUCKET)/$$key"
# $(call deploy,STACK,TEMPLATE,PARAMETERS)
deploy = $(DEPLOY_TOOLS)/aws cloudformation deploy --stack-name '$(1)' --template-file $(2) \
	--no-fail-on-empty-changeset --capabilities CAPABILITY_IAM CAPABILITY_AUTO_EXPAND \
	$(if $(BUCKET),--s3-bucket '$(BUCKET)' --s3-prefix sluice/templates) $(if $(strip $(3)),--parameter-overrides $(3)); \
	$(DEPLOY_TOOLS)/aws cloudformation describe-stacks --stack-name '$(1)' --query 'Stacks[0].Outputs' --output table

.PHONY: deploy-autoscaling
deploy-autoscaling: deploy-tools $(if $(BUCKET),package) ## Launch or update the stream, and with BUCKET= its scaling [BUCKET= AUTOSCALING_STACK= PARAMETERS="Name=value …"]
ifeq ($(BUCKET),)
	@echo 'no BUCKET=: the stream alone, without scaling'
	@mkdir -p target; $(DEPLOY_TOOLS)/python infra/compact.py infra/autoscaling.yaml >target/autoscaling.json
	@set -x; $(call deploy,$(AUTOSCALING_STACK),target/autoscaling.json,$(PARAMETERS))
else
	@set -x; $(call upload,scale-up); up=$$key; $(call upload,scale-down); down=$$key; \
	$(call deploy,$(AUTOSCALING_STACK),infra/autoscaling.yaml,CodeS3Bucket='$(BUCKET)' CodeS3KeyScaleUp="$$up" \
		CodeS3KeyScaleDown="$$down" Architecture='$(ARCHITECTURE)' $(PARAMETERS))
endif

.PHONY: deploy-log-processing
deploy-log-processing: deploy-tools $(if $(BUCKET),package) ## Build, upload, and launch or update processor and replayer: BUCKET= [LOG_PROCESSING_STACK= PARAMETERS=]
	@test -n '$(BUCKET)' || { echo 'BUCKET=<an S3 bucket in your region> is needed for the code' >&2; exit 2; }
	@set -x; $(call upload,log-processor); processor=$$key; $(call upload,dlq-replayer); replayer=$$key; \
	$(call deploy,$(LOG_PROCESSING_STACK),infra/log-processing.yaml,CodeS3Bucket='$(BUCKET)' CodeS3Key="$$processor" \
		CodeS3KeyDlqReplayer="$$replayer" Architecture='$(ARCHITECTURE)' $(PARAMETERS))

.PHONY: deploy-archive
deploy-archive: deploy-tools $(if $(BUCKET),package) ## Build, upload, and launch or update the archive in S3: BUCKET= [ARCHIVE_STACK= PARAMETERS=]
	@test -n '$(BUCKET)' || { echo 'BUCKET=<an S3 bucket in your region> is needed for the code' >&2; exit 2; }
	@set -x; $(call upload,archiver); \
	$(call deploy,$(ARCHIVE_STACK),infra/archive.yaml,CodeS3Bucket='$(BUCKET)' CodeS3Key="$$key" \
		Architecture='$(ARCHITECTURE)' $(PARAMETERS))

.PHONY: deploy-stream-replay
deploy-stream-replay: deploy-tools $(if $(BUCKET),package) ## Build, upload, and launch or update the replayer of a stream's past: BUCKET= [STREAM_REPLAY_STACK= PARAMETERS=]
	@test -n '$(BUCKET)' || { echo 'BUCKET=<an S3 bucket in your region> is needed for the code' >&2; exit 2; }
	@set -x; $(call upload,stream-replayer); \
	$(call deploy,$(STREAM_REPLAY_STACK),infra/stream-replay.yaml,CodeS3Bucket='$(BUCKET)' CodeS3Key="$$key" \
		Architecture='$(ARCHITECTURE)' $(PARAMETERS))

# $(call output,STACK,KEY) is an output of a stack, or nothing.
output = $$($(DEPLOY_TOOLS)/aws cloudformation describe-stacks --stack-name '$(1)' --output text \
	--query "Stacks[0].Outputs[?OutputKey=='$(2)'].OutputValue" 2>/dev/null || true)

.PHONY: deploy-overview
deploy-overview: deploy-tools ## Launch or update a dashboard over those of the stacks that are there [OVERVIEW_STACK= LOG_PROCESSING_STACK= … PARAMETERS=]
	@processor=$(call output,$(LOG_PROCESSING_STACK),FunctionName); up=$(call output,$(AUTOSCALING_STACK),ScaleUpFunctionName); \
	archiver=$(call output,$(ARCHIVE_STACK),FunctionName); replayer=$(call output,$(STREAM_REPLAY_STACK),FunctionName); \
	stream=$(call output,$(AUTOSCALING_STACK),StreamName); letters=$(call output,$(LOG_PROCESSING_STACK),DeadLetterQueueArn); \
	quarantine=$(call output,$(LOG_PROCESSING_STACK),QuarantineQueueArn); \
	set -x; $(call deploy,$(OVERVIEW_STACK),infra/overview.yaml,LogProcessingStack="$${processor:+$(LOG_PROCESSING_STACK)}" \
		AutoscalingStack="$${up:+$(AUTOSCALING_STACK)}" ArchiveStack="$${archiver:+$(ARCHIVE_STACK)}" \
		StreamReplayStack="$${replayer:+$(STREAM_REPLAY_STACK)}" DeadLetterQueueName="$${letters##*:}" \
		QuarantineQueueName="$${quarantine##*:}" $${stream:+StreamName="$$stream"} \
		$${processor:+ProcessorFunctionName="$$processor"} $${archiver:+ArchiverFunctionName="$$archiver"} $(PARAMETERS))

# The queue itself, or the stack whose output names it.
quarantine = $(DEPLOY_TOOLS)/python infra/quarantine.py $(1) \
	$(if $(QUARANTINE_QUEUE),--queue '$(QUARANTINE_QUEUE)',--stack '$(LOG_PROCESSING_STACK)') \
	$(if $(REASON),--reason '$(REASON)') $(if $(MAX),--max '$(MAX)')

.PHONY: quarantine-show
quarantine-show: deploy-tools ## Show what lies in quarantine [LOG_PROCESSING_STACK= or QUARANTINE_QUEUE=url, REASON= MAX= TEXT=1 JSON=1]
	@$(call quarantine,show) $(if $(filter 1,$(TEXT)),--text) $(if $(filter 1,$(JSON)),--json)

.PHONY: quarantine-send-back
quarantine-send-back: deploy-tools ## After a repair, send it back to be replayed [as above, REASON= MAX= DRY_RUN=1]
	@$(call quarantine,send-back) $(if $(filter 1,$(DRY_RUN)),--dry-run)

.PHONY: clean
clean: ## Remove everything that was built or installed
	rm -rf target .tools
