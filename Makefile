# Two commands do everything on a fresh Debian 12 machine with a Rust toolchain:
#   make demo    the main job: three nodes, real containers, a DaemonSet rolled out, updated, healed
#   make test    installs what is missing and runs all tests
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

CARGO ?= cargo
RELEASE := target/release/pandaemon
PREFIX ?= /usr/local
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
# What builds and boots machines.
VM_PACKAGES := mmdebstrap qemu-system-x86 qemu-utils e2fsprogs mount util-linux coreutils
# The program in those machines.
VM_BIN ?= target/debug/pandaemon
# What nodes need to run containers, what images are made from, and the client.
PACKAGES := containerd runc containernetworking-plugins iptables iproute2 util-linux mount procps curl gcc libc6-dev dpkg

.PHONY: vm fuzz mutants help demo up install test bench soak lint clean deps images release

help: ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 16

deps:
	@scripts/install-packages $(PACKAGES)
	@scripts/install-kubectl

release: deps
	$(CARGO) build --release --locked --package pandaemon-cli

demo: release ## the main job in one command, with real containers on three nodes
	$(CARGO) build --release --locked --package xtask
	$(SUDO) target/release/xtask demo $(RELEASE)

up: release images ## leave a cluster of three nodes running (Ctrl-C ends it)
	$(SUDO) $(RELEASE) up --nodes $(or $(NODES),3) --data-dir $(or $(DATA_DIR),$(CURDIR)/target/up) \
	  --write-kubeconfig $(CURDIR)/target/kubeconfig --images $(CURDIR)/target/images

install: release ## the binary, and kubectl's plugin `kubectl ds`, into PREFIX/bin (/usr/local)
	$(SUDO) install -D $(RELEASE) $(DESTDIR)$(PREFIX)/bin/pandaemon
	$(SUDO) ln -sf pandaemon $(DESTDIR)$(PREFIX)/bin/kubectl-ds

images: deps
	$(CARGO) build --release --locked --package xtask
	target/release/xtask images target/images

lint: ## formatting, clippy, the house rules
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	$(CARGO) test --quiet --locked --package xtask

test: ## all tests, those on real containers included; ends with a table of its parts and of what was skipped
	PACKAGES="$(PACKAGES)" CARGO="$(CARGO)" scripts/test

vm: ## real machines (Debian under qemu): power cuts, block orders, cgroup v2; SCENARIO names one
	scripts/install-packages $(VM_PACKAGES)
	[ "$(VM_BIN)" != target/debug/pandaemon ] || $(CARGO) build --locked --package pandaemon-cli
	$(CARGO) test --locked --package pandaemon-vm --test vm --no-run
	$(SUDO) env PANDAEMON_BIN="$(abspath $(VM_BIN))" PANDAEMON_VM_SEED="$(SEED)" "PATH=$$PATH" \
	  $(CARGO) test --locked --package pandaemon-vm --test vm -- $(SCENARIO)

bench: release ## measured numbers: memory, rollout time, store, planner, patches
	$(CARGO) build --release --locked --package xtask
	$(SUDO) target/release/xtask measure $(RELEASE)
	$(CARGO) bench --locked --workspace

soak: deps ## what needs longer than a test run may take
	scripts/install-tools cargo-nextest
	PROPTEST_CASES=20000 $(CARGO) nextest run --release --locked --workspace --profile soak -E 'not package(pandaemon-e2e)'
	$(CARGO) test --release --locked --package pandaemon-planner --test simulator -- --seeds 20000
	STORE_SEEDS=500000 $(CARGO) nextest run --release --locked --package pandaemon-store --profile soak -E 'test(/disk_with_faults/)'
	HISTORY_FAULTS=1000 $(CARGO) nextest run --release --locked --package pandaemon-cli --profile soak --no-capture -E 'test(/histories_under_faults/)'
	failed=0; scripts/fuzz || failed=1; for shard in $$(seq 0 7); do scripts/mutants $$shard/8 || failed=1; done; exit $$failed

fuzz: ## the fuzz targets of fuzz/ (or TARGETS), SECONDS_EACH each (60); without a nightly toolchain they are skipped by name
	SECONDS_EACH=$(or $(SECONDS_EACH),60) scripts/fuzz $(TARGETS)

mutants: ## mutation tests of the lines of placement and planner that changed since BASE (HEAD~1)
	scripts/mutants $(or $(BASE),HEAD~1)

clean: ## end what this checkout started and remove what it built
	scripts/sweep target/up
	$(CARGO) clean
