# `make help` lists the targets. Each target builds or fetches the tools that it needs.

SHELL := /bin/sh
.DEFAULT_GOAL := help

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X main.version=$(VERSION)
# The race detector needs cgo and a C compiler. Without a compiler the lanes run without it.
RACE := $(shell command -v $$(go env CC) >/dev/null 2>&1 && echo -race)
GO_TEST := go test $(RACE)

##@ Use

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^##@ / {printf "\n%s\n", substr($$0, 5)} /^[a-z-]+:.*## / {printf "  %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## build bin/webhook and bin/capvet
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o bin/ ./cmd/...

.PHONY: demo
demo: ## run an API server, a registry and the webhook; DEMO_EXIT=1 checks and exits
	@go run ./test/demo

##@ Test

.PHONY: test
test: test-race test-integration test-chart test-alerts test-release test-corpus ## run the lanes test-race to test-corpus

.PHONY: test-unit
test-unit: ## run the unit tests without the race detector: needs only Go
	@echo "make test-unit: unit tests without the race detector; under a minute with a warm build cache, about 3 minutes without one"
	@go test ./...

.PHONY: test-race
test-race: ## run the unit tests with the race detector: needs Go and a C compiler
	@echo "make test-race: unit tests$(if $(RACE), with the race detector,: there is no C compiler for the race detector); about 2 minutes with a warm build cache, 4 without one"
	@$(GO_TEST) ./...

.PHONY: test-integration
# The tests build the webhook themselves. go's result cache does not track that build, so -count=1 bypasses it.
test-integration: ## test with a control plane, a registry, layer unpackers and scheduler plugins
	assets=$$(tools/ensure controlplane) && controllers=$$(tools/ensure controllers) && registry=$$(tools/ensure registry) && unpack=$$(tools/ensure unpack) && chunked=$$(tools/ensure chunked) && scheduler=$$(tools/ensure scheduler) && \
	KUBEBUILDER_ASSETS=$$assets CAPVET_CONTROLLERS_TOOLS=$$controllers CAPVET_REGISTRY_TOOLS=$$registry CAPVET_UNPACK_TOOLS=$$unpack CAPVET_CHUNKED_TOOLS=$$chunked CAPVET_SCHEDULER_TOOLS=$$scheduler \
		$(GO_TEST) -count=1 -v -tags integration -timeout 20m ./test/integration/... ./test/bounds/... ./test/registry/... ./test/unpack/... ./test/scheduler/...

.PHONY: test-chart
test-chart: ## test the Helm chart and config/; UPDATE=-update rewrites the golden file
	unittest=$$(tools/ensure unittest) && $$unittest/helm-unittest --strict charts/capvet
	assets=$$(tools/ensure controlplane) && helm=$$(tools/ensure helm) && registry=$$(tools/ensure registry) && certmanager=$$(tools/ensure certmanager) && \
	KUBEBUILDER_ASSETS=$$assets CAPVET_HELM_TOOLS=$$helm CAPVET_REGISTRY_TOOLS=$$registry CAPVET_CERTMANAGER_TOOLS=$$certmanager $(GO_TEST) -count=1 -v -tags chart -timeout 20m ./test/chart/... $(UPDATE)

.PHONY: test-alerts
test-alerts: ## test the alerts and the dashboard with promtool and Prometheus
	assets=$$(tools/ensure controlplane) && helm=$$(tools/ensure helm) && prometheus=$$(tools/ensure prometheus) && \
	KUBEBUILDER_ASSETS=$$assets CAPVET_HELM_TOOLS=$$helm CAPVET_PROMETHEUS_TOOLS=$$prometheus $(GO_TEST) -count=1 -tags alerts -timeout 20m ./test/alerts/...

.PHONY: test-release
test-release: ## test the release artifacts, the published image and chart, and the workflows
	assets=$$(tools/ensure controlplane) && helm=$$(tools/ensure helm) && registry=$$(tools/ensure registry) && release=$$(tools/ensure release) && \
	KUBEBUILDER_ASSETS=$$assets CAPVET_HELM_TOOLS=$$helm CAPVET_REGISTRY_TOOLS=$$registry CAPVET_RELEASE_TOOLS=$$release \
		$(GO_TEST) -count=1 -tags release -timeout 20m ./test/release/...

.PHONY: test-corpus
test-corpus: ## test verdicts on Debian packages, musl builds and the labelled corpus
	$(GO_TEST) -tags corpus -timeout 45m ./test/corpus/... ./test/debian/... ./test/musl/... ./test/testimage/...

.PHONY: test-image
test-image: ## compare the Dockerfile's image with that of tools/image; needs root
	CGO_ENABLED=0 go test -tags image -count=1 -timeout 30m -v ./test/image

.PHONY: prove
prove: ## compare verdicts with strace and an arm64 kernel log; installs packages as root
	CGO_ENABLED=0 go test -tags prove -count=1 -timeout 60m -v ./test/prove

.PHONY: fuzz
# A count of inputs instead of a time, because go's fuzzer sometimes reports its own deadline as a failure.
FUZZTIME ?= 50000x
fuzz: ## run each fuzz target with FUZZTIME inputs (default 50000x)
	@set -e; for package in $$(go list ./internal/... ./cmd/...); do \
		for target in $$(go test -list '^Fuzz' $$package | grep '^Fuzz' || true); do \
			echo "$$package $$target"; go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x $$package; \
		done; \
	done

.PHONY: bench
bench: ## measure analysis throughput and cold scans
	go test -run '^$$' -bench . -benchmem ./internal/...
	assets=$$(tools/ensure controlplane) && tools=$$(tools/ensure registry) && KUBEBUILDER_ASSETS=$$assets CAPVET_REGISTRY_TOOLS=$$tools \
		go test -tags bench -run "^$$" -bench . -benchtime 5x ./test/bench/...

.PHONY: bench-scan
bench-scan: ## compare cold scans with crane and syft; see docs/performance.md for settings
	tools=$$(tools/ensure registry) && syft=$$(tools/ensure syft) && CAPVET_REGISTRY_TOOLS=$$tools CAPVET_SYFT_TOOLS=$$syft go run ./test/bench/scan

.PHONY: bench-load
bench-load: ## compare warm admissions with a no-op webhook and pod-security-admission
	podsecurity=$$(tools/ensure podsecurity) && CAPVET_PODSECURITY_TOOLS=$$podsecurity go test -tags load -count=1 -run 'TestLoad$$' -v ./internal/admission

##@ Maintain

.PHONY: generate
generate: ## generate CRDs, RBAC, deepcopy and the chart's README
	@tools=$$(tools/ensure dev) && set -x && \
	$$tools/controller-gen object paths=./api/... && \
	$$tools/controller-gen crd paths=./api/... output:crd:dir=config/crd/bases && \
	$$tools/controller-gen rbac:roleName=capvet paths=./cmd/... output:rbac:dir=config/rbac
	cp config/crd/bases/*.yaml charts/capvet/files/crds/
	cp config/rbac/role.yaml config/webhook/validating_webhook.yaml charts/capvet/files/
	@helm=$$(tools/ensure helm) && $$helm/helm-docs --chart-search-root charts --log-level error

.PHONY: lint
lint: ## run golangci-lint and actionlint
	@tools=$$(tools/ensure dev) && $$tools/golangci-lint run && $$tools/golangci-lint fmt --diff
	@tools=$$(tools/ensure release) && $$tools/actionlint -shellcheck= -pyflakes=

.PHONY: verify
verify: generate ## fail if a generated file or go.mod is out of date
	go mod tidy
	go mod verify
	git diff --exit-code -- api config charts go.mod go.sum

.PHONY: image
image: ## build the image with docker, podman or buildah, else an OCI layout in bin/image
	@engine=$$(command -v docker || command -v podman || command -v buildah) && $$engine info >/dev/null 2>&1 || { \
		echo "make image: no working docker, podman or buildah; assembling bin/image" >&2; \
		exec go run ./tools/image -version $(VERSION); }; \
	$$engine build --build-arg VERSION=$(VERSION) -t capvet:$(VERSION) .

.PHONY: clean
clean: ## remove bin and dist
	rm -rf bin $(DIST)

##@ Release (see docs/releasing.md)

DIST ?= dist
IMAGE ?= ghcr.io/capvet/capvet
CRANE_FLAGS ?=

.PHONY: release-check
release-check: release-notes ## fail if the chart or the changelog does not have VERSION
	@chart=$$(sed -n 's/^version: //p' charts/capvet/Chart.yaml) && [ "v$$chart" = "$(VERSION)" ] || { \
		echo "make release-check: the version is $(VERSION), but that of charts/capvet/Chart.yaml is $$chart: change it, or tag v$$chart" >&2; exit 1; }

.PHONY: release-notes
release-notes: ## print VERSION's section of CHANGELOG.md
	@awk -v heading='## [$(VERSION:v%=%)]' 'index($$0, "## ") == 1 || /^\[.*\]: / { on = index($$0, heading) == 1; next } on { print; found = found || NF } END { exit !found }' CHANGELOG.md || { \
		echo "make release-notes: CHANGELOG.md has nothing under [$(VERSION:v%=%)]" >&2; exit 1; }

.PHONY: release-artifacts
release-artifacts: ## build the CLI archives, SHA256SUMS and the krew manifest in dist
	go run ./tools/artifacts -version $(VERSION) -output $(DIST)

.PHONY: sbom
sbom: ## write a CycloneDX SBOM of each program to dist
	@mkdir -p $(DIST) && tools=$$(tools/ensure release) && work=$$(mktemp -d) && trap 'rm -rf "$$work"' EXIT && \
	for arch in amd64 arm64; do \
		CGO_ENABLED=0 GOOS=linux GOARCH=$$arch go build -trimpath -buildvcs=false -ldflags '$(LDFLAGS)' -o "$$work/" ./cmd/... || exit; \
		for program in webhook capvet; do \
			sbom=$(DIST)/$${program}_$(VERSION)_linux_$$arch.cdx.json; \
			$$tools/cyclonedx-gomod bin -json -noserial -notimestamp -std -version $(VERSION) -output "$$sbom" "$$work/$$program" || exit; \
			echo "$$sbom"; \
		done; \
	done

.PHONY: chart-package
chart-package: ## package the chart in dist
	@helm=$$(tools/ensure helm) && $$helm/helm package charts/capvet --destination $(DIST)

.PHONY: push-image
push-image: ## push the image as IMAGE:VERSION; write its digest reference to dist/image
	go run ./tools/image -version $(VERSION) -output $(DIST)/layout
	@tools=$$(tools/ensure registry) && $$tools/crane push $(CRANE_FLAGS) --index $(DIST)/layout $(IMAGE):$(VERSION:v%=%) >$(DIST)/image && cat $(DIST)/image
