# Tidegate. `make run` shows the main job on real webhooks; `make test` runs every test. `make help` lists the rest.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help run run-kafka test chaos validate fuzz lint bench deps engine js kafka fixtures clean

ENGINE_DIR := build/chdb
ENGINE := $(ENGINE_DIR)/libchdb.so
CARGO ?= cargo
export TIDEGATE_LIBCHDB := $(abspath $(ENGINE))

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: tools-build engine ## build, fetch the embedded engine, start everything embedded and show the main job
	$(CARGO) build --release --package tidegate
	$(CARGO) run --quiet --release --package tidegate -- demo

run-kafka: tools engine kafka ## the same on a real Kafka on this machine
	$(CARGO) build --release --package tidegate
	dev/run-kafka.sh

test: deps ## every test, with the real parts it fetches itself
	$(CARGO) test --workspace --no-fail-fast

validate: tools engine kafka ## check docker-compose.yml and the Kubernetes files, and run the former's services without Docker
	$(CARGO) build --release --package tidegate
	deploy/validate.sh
	deploy/by_hand.py

chaos: deps ## the full counts of kills and simulations; the result goes into bench/RESULTS.md
	dev/chaos.sh

fuzz: ## a minute of hostile input for each parser of the provider engine; FUZZ_SECONDS=n for longer
	dev/fuzz.sh

lint: ## format, clippy, licences and bans
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	@command -v cargo-deny >/dev/null || { echo "cargo-deny is missing: cargo install cargo-deny --locked" >&2; exit 1; }
	$(CARGO) deny check bans licenses sources

bench: engine kafka ## measure the parts and the whole, in CPU-µs and as a ratio to a baseline of the same run
	dev/bench.sh

deps: tools engine js kafka ## what the tests need from the registries

.PHONY: tools tools-build
tools:
	@dev/tools.sh test

tools-build:
	@dev/tools.sh build

engine: $(ENGINE) ## the embedded ClickHouse engine (libchdb.so), from npm

$(ENGINE): dev/engine/package-lock.json | tools-build
	npm ci --prefix dev/engine --no-audit --no-fund
	mkdir -p $(ENGINE_DIR)
	ln -f dev/engine/node_modules/@chdb/lib-linux-*-gnu/libchdb.so $(ENGINE) \
	  || cp dev/engine/node_modules/@chdb/lib-linux-*-gnu/libchdb.so $(ENGINE)
	touch $(ENGINE)

JS_DIRS := dev/verify chdb/tests/js
JS := $(JS_DIRS:%=%/node_modules/.package-lock.json)

js: $(JS)

%/node_modules/.package-lock.json: %/package-lock.json | tools
	npm ci --prefix $* --no-audit --no-fund
	touch $@

KAFKA_DIR := build/kafka
KAFKA := $(KAFKA_DIR)/.complete

kafka: $(KAFKA) ## the jars of a real Apache Kafka, from Maven Central

$(KAFKA): dev/kafka/pom.xml | tools
	mvn -q -B -f dev/kafka/pom.xml dependency:copy-dependencies -DoutputDirectory=$(abspath $(KAFKA_DIR))
	touch $@

clean: ## remove what was fetched and built here
	rm -rf build dev/engine/node_modules $(JS_DIRS:%=%/node_modules)
	$(CARGO) clean
