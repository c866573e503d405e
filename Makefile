# capvet. `make help` lists every target; all of them set up what they need.

SHELL := /bin/sh
.DEFAULT_GOAL := help

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X main.version=$(VERSION)
# -race needs cgo and a C compiler; a machine without one still tests.
RACE := $(shell command -v $$(go env CC) >/dev/null 2>&1 && echo -race)
GO_TEST := go test $(RACE)

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ Use

.PHONY: build
build: ## build bin/webhook and bin/capvet
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o bin/ ./cmd/...

.PHONY: demo
demo: ## a real API server, registry and webhook with three namespaces; DEMO_EXIT=1 checks and exits
	@go run ./test/demo

##@ Test

.PHONY: test
test: test-unit test-integration test-chart test-alerts test-release test-corpus ## everything

.PHONY: test-unit
test-unit: ## what needs nothing but Go; seconds
	$(GO_TEST) ./...

.PHONY: test-integration
# The webhook under test is built by the tests, which go's cache of results does
# not see: it must not be asked.
test-integration: ## against a real kube-apiserver, etcd, kube-controller-manager, registry, unpackers and the scheduler's own plugins
	assets=$$(tools/ensure controlplane) && controllers=$$(tools/ensure controllers) && registry=$$(tools/ensure registry) && unpack=$$(tools/ensure unpack) && chunked=$$(tools/ensure chunked) && scheduler=$$(tools/ensure scheduler) && \
	KUBEBUILDER_ASSETS=$$assets CAPVET_CONTROLLERS_TOOLS=$$controllers CAPVET_REGISTRY_TOOLS=$$registry CAPVET_UNPACK_TOOLS=$$unpack CAPVET_CHUNKED_TOOLS=$$chunked CAPVET_SCHEDULER_TOOLS=$$scheduler \
		$(GO_TEST) -count=1 -v -tags integration -timeout 20m ./test/integration/... ./test/registry/... ./test/unpack/... ./test/scheduler/...

.PHONY: test-chart
test-chart: ## the Helm chart and config/: unit tests, rendered, validated and lived with on a real API server; UPDATE=-update writes the golden render anew
	unittest=$$(tools/ensure unittest) && $$unittest/helm-unittest --strict charts/capvet
	assets=$$(tools/ensure controlplane) && helm=$$(tools/ensure helm) && registry=$$(tools/ensure registry) && certmanager=$$(tools/ensure certmanager) && \
	KUBEBUILDER_ASSETS=$$assets CAPVET_HELM_TOOLS=$$helm CAPVET_REGISTRY_TOOLS=$$registry CAPVET_CERTMANAGER_TOOLS=$$certmanager $(GO_TEST) -count=1 -v -tags chart -timeout 20m ./test/chart/... $(UPDATE)

.PHONY: test-alerts
test-alerts: ## the alerts and the dashboard: promtool, and a real Prometheus that scrapes a real webhook until each alert fires
	assets=$$(tools/ensure controlplane) && helm=$$(tools/ensure helm) && prometheus=$$(tools/ensure prometheus) && \
	KUBEBUILDER_ASSETS=$$assets CAPVET_HELM_TOOLS=$$helm CAPVET_PROMETHEUS_TOOLS=$$prometheus $(GO_TEST) -count=1 -tags alerts -timeout 20m ./test/alerts/...

.PHONY: test-release
test-release: ## what a release is made of: archives, krew's manifest with the real kubectl, SBOMs, the pushed image, the chart's package, the workflows
	assets=$$(tools/ensure controlplane) && helm=$$(tools/ensure helm) && registry=$$(tools/ensure registry) && release=$$(tools/ensure release) && \
	KUBEBUILDER_ASSETS=$$assets CAPVET_HELM_TOOLS=$$helm CAPVET_REGISTRY_TOOLS=$$registry CAPVET_RELEASE_TOOLS=$$release \
		$(GO_TEST) -count=1 -tags release -timeout 20m ./test/release/...

.PHONY: test-corpus
test-corpus: ## verdicts on Debian's own HAProxy and nginx packages, on HAProxy built against musl, and on a labelled corpus where there is one
	$(GO_TEST) -tags corpus -timeout 45m ./test/corpus/... ./test/debian/... ./test/musl/... ./test/testimage/...

.PHONY: test-image
test-image: ## the Dockerfile, built with buildah, equals what tools/image assembles, twice; as root on Debian it installs what it needs
	CGO_ENABLED=0 go test -tags image -count=1 -timeout 30m -v ./test/image

.PHONY: prove
prove: ## verdicts against what strace and an arm64 kernel's log say when the same programs run; as root on Debian it installs what it needs
	CGO_ENABLED=0 go test -tags prove -count=1 -timeout 60m -v ./test/prove

.PHONY: fuzz
# A count, not a time: go's fuzzer at times reports its own deadline as a failure.
FUZZTIME ?= 50000x
fuzz: ## run every fuzz target for FUZZTIME (50000x: inputs)
	@set -e; for package in $$(go list ./internal/... ./cmd/...); do \
		for target in $$(go test -list '^Fuzz' $$package | grep '^Fuzz' || true); do \
			echo "$$package $$target"; go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x $$package; \
		done; \
	done

.PHONY: bench
bench: ## what a user waits for: analysis in MB/s, a cold scan against crane export | tar
	go test -run '^$$' -bench . -benchmem ./internal/...
	assets=$$(tools/ensure controlplane) && tools=$$(tools/ensure registry) && KUBEBUILDER_ASSETS=$$assets CAPVET_REGISTRY_TOOLS=$$tools \
		go test -tags bench -run "^$$" -bench . -benchtime 5x ./test/bench/...

.PHONY: bench-scan
bench-scan: ## cold scans of three images, as gzip, zstd and eStargz, against crane, syft and the floor; CAPVET_BENCH_SCALE=1 is the full size, CAPVET_BENCH_IMAGES=large,... some of them
	tools=$$(tools/ensure registry) && syft=$$(tools/ensure syft) && CAPVET_REGISTRY_TOOLS=$$tools CAPVET_SYFT_TOOLS=$$syft go run ./test/bench/scan

.PHONY: bench-load
bench-load: ## warm admissions per second and p50/p99 through TLS, beside a controller-runtime webhook that does nothing and pod-security-admission's own
	podsecurity=$$(tools/ensure podsecurity) && CAPVET_PODSECURITY_TOOLS=$$podsecurity go test -tags load -count=1 -run 'TestLoad$$' -v ./internal/admission

##@ Keep

.PHONY: generate
generate: ## CRDs, RBAC and deepcopy from their markers; the chart's copies and README
	@tools=$$(tools/ensure dev) && set -x && \
	$$tools/controller-gen object paths=./api/... && \
	$$tools/controller-gen crd paths=./api/... output:crd:dir=config/crd/bases && \
	$$tools/controller-gen rbac:roleName=capvet paths=./cmd/... output:rbac:dir=config/rbac
	cp config/crd/bases/*.yaml charts/capvet/files/crds/
	cp config/rbac/role.yaml config/webhook/validating_webhook.yaml charts/capvet/files/
	@helm=$$(tools/ensure helm) && $$helm/helm-docs --chart-search-root charts --log-level error

.PHONY: lint
lint: ## golangci-lint with .golangci.yaml, actionlint on the workflows
	@tools=$$(tools/ensure dev) && $$tools/golangci-lint run && $$tools/golangci-lint fmt --diff
	@tools=$$(tools/ensure release) && $$tools/actionlint -shellcheck= -pyflakes=

.PHONY: verify
verify: generate ## fail when a generated file or go.mod is not what it should be
	go mod tidy
	go mod verify
	git diff --exit-code -- api config charts go.mod go.sum

.PHONY: image
image: ## build the image with docker, podman or buildah; without any, an OCI layout of the same content in bin/image
	@engine=$$(command -v docker || command -v podman || command -v buildah) && $$engine info >/dev/null 2>&1 || { \
		echo "make image: no working docker, podman or buildah; assembling bin/image" >&2; \
		exec go run ./tools/image -version $(VERSION); }; \
	$$engine build --build-arg VERSION=$(VERSION) -t capvet:$(VERSION) .

##@ Release, see docs/releasing.md

DIST ?= dist
IMAGE ?= ghcr.io/capvet/capvet
CRANE_FLAGS ?=

.PHONY: release-check
release-check: release-notes ## fail when VERSION is not that of the chart, or the changelog has nothing on it
	@chart=$$(sed -n 's/^version: //p' charts/capvet/Chart.yaml) && [ "v$$chart" = "$(VERSION)" ] || { \
		echo "make release-check: the version is $(VERSION), but that of charts/capvet/Chart.yaml is $$chart: change it, or tag v$$chart" >&2; exit 1; }

.PHONY: release-notes
release-notes: ## what CHANGELOG.md says of VERSION
	@awk -v heading='## [$(VERSION:v%=%)]' 'index($$0, "## ") == 1 || /^\[.*\]: / { on = index($$0, heading) == 1; next } on { print; found = found || NF } END { exit !found }' CHANGELOG.md || { \
		echo "make release-notes: CHANGELOG.md has nothing under [$(VERSION:v%=%)]" >&2; exit 1; }

.PHONY: release-artifacts
release-artifacts: ## the command line's archives, SHA256SUMS and krew's manifest, in dist
	go run ./tools/artifacts -version $(VERSION) -output $(DIST)

.PHONY: sbom
sbom: ## what each program in the image is made of, as CycloneDX, in dist
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
chart-package: ## the chart as a package, in dist
	@helm=$$(tools/ensure helm) && $$helm/helm package charts/capvet --destination $(DIST)

.PHONY: push-image
push-image: ## assemble the image for amd64 and arm64, push it as IMAGE:VERSION, and write its reference by digest to dist/image
	go run ./tools/image -version $(VERSION) -output $(DIST)/layout
	@tools=$$(tools/ensure registry) && $$tools/crane push $(CRANE_FLAGS) --index $(DIST)/layout $(IMAGE):$(VERSION:v%=%) >$(DIST)/image && cat $(DIST)/image

.PHONY: clean
clean: ## remove what was built
	rm -rf bin $(DIST)
