# Xebec: build, check and test. Everything a target needs beyond Go is
# installed below .cache by the target itself.
SHELL := /bin/bash
MODULES := proto api client apiserver scheduler controller-manager kubelet kube-proxy deploy test
# Modules whose cmd/ holds programs of the cluster.
PROGRAMS := scheduler controller-manager kubelet kube-proxy deploy
CACHE := $(CURDIR)/.cache
TOOLS := $(CACHE)/bin
VERSION ?= v1.37.2+xebec.1
COMMIT := $(shell git rev-parse HEAD 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X xebec.dev/apiserver/internal/version.GitVersion=$(VERSION) \
	-X xebec.dev/apiserver/internal/version.GitCommit=$(COMMIT) \
	-X xebec.dev/client/daemon.GitVersion=$(VERSION) -X xebec.dev/client/daemon.GitCommit=$(COMMIT) \
	-X xebec.dev/deploy/internal/cli.Version=$(VERSION) -X xebec.dev/deploy/internal/cli.Commit=$(COMMIT)

.PHONY: all build kubectl etcd helm test test-server test-nodes check generate bench bench-server bench-cluster race fuzz clean

all: build

build: ## the daemons, into bin/
	@mkdir -p bin
	cd apiserver && CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o ../bin/kube-apiserver ./cmd/kube-apiserver
	@for m in $(PROGRAMS); do [ ! -d $$m/cmd ] || (cd $$m && CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o ../bin/ ./cmd/...) || exit 1; done

kubectl: ## kubectl v1.37, built from k8s.io/kubectl, into bin/
	@mkdir -p bin
	cd test/kubectl && GOWORK=off CGO_ENABLED=0 go build -trimpath -ldflags '-s -w -X k8s.io/component-base/version.gitVersion=v1.37.2' -o ../../bin/kubectl .

etcd: ## etcd 3.7, built from its module, into bin/
	@mkdir -p bin
	cd test/etcd && GOWORK=off CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o ../../bin/etcd .

helm: ## Helm 4, built from its module, into bin/
	@mkdir -p bin
	cd test/helm && GOWORK=off CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o ../../bin/helm .

# Tests that run containers: whole clusters', and a kubelet's.
NODE_TESTS := ./e2e ./kubelet/...

test: test-server test-nodes ## everything, from unit tests to clusters with real containers

# The programs in bin/ are what is tested: go's cache of results does not see them.
# What fails is run once more and told as flaky if it passes then; what fails twice fails.
test-server: build kubectl etcd helm tools ## unit tests, then the tests against a real server
	@for m in $(filter-out test,$(MODULES)); do echo "== $$m"; tools/again.sh $$m 30m ./... || exit 1; done
	@echo "== upstream's tests of storage"; GOWORK=off tools/again.sh test/upstreamstorage 30m ./...
	@echo "== test"; tools/again.sh test 40m -count=1 -timeout=30m -p=1 $$(cd test && go list ./... | grep -vE '/test/(kubelet|e2e)')

# SHORT=-short leaves out the renewal of a pod's token, which takes eight minutes.
test-nodes: images ## tests with real containers; as root
	@tools/can-run-containers
	@echo "== nodes"; tools/again.sh test $(or $(LIMIT),45m) -sweep -count=1 -timeout=1h $(SHORT) -p=2 $(NODE_TESTS)

include deploy/deploy.mk
include test/vm/vm.mk

check: $(TOOLS)/staticcheck ## gofmt, vet, staticcheck, modules alone, generated code, fences
	@test -z "$$(gofmt -l $(MODULES))" || { echo "gofmt these:"; gofmt -l $(MODULES); exit 1; }
	@for m in $(MODULES); do echo "== $$m"; (cd $$m && GOWORK=off go build ./... && GOWORK=off go vet ./... && $(TOOLS)/staticcheck ./...) || exit 1; done
	@./tools/fences.sh
	@$(MAKE) --no-print-directory generate
	@git diff --exit-code --stat -- proto/gen api/openapi || { echo "make generate leaves a diff: commit it"; exit 1; }

generate: $(TOOLS)/protoc-gen-go $(TOOLS)/protoc-gen-go-grpc $(TOOLS)/buf ## generated code and schema data
	cd proto && PATH=$(TOOLS):$$PATH buf generate
	cd api && go generate ./...

bench: bench-server bench-cluster ## every figure of docs/benchmarks.md; as root

bench-server: build ## the API server beside the peer, as a table of ratios
	cd test && go run ./bench

bench-cluster: images ## the other daemons: scheduling, controllers, proxy, pod starts; as root
	cd test && go run ./cluster/bench
	cd test && go run ./scheduling/bench
	cd test && go test ./controllers -run '^$$' -bench Controllers -benchtime 5x
	cd kube-proxy && go test -run '^$$' -bench TenThousand -benchtime 1x ./internal/nftables
	cd test && go test -run '^$$' -bench EndpointToRule -benchtime 1x ./proxy
	cd test && go run ./kubelet/bench

# What shares memory between goroutines and has tests that make them meet.
RACY := client:./... apiserver:./internal/bell,./internal/flow,./internal/h2/...,./internal/watchcache/...,./internal/rpc/... \
	scheduler:./internal/queue,./internal/loop,./internal/bind,./internal/feed,./internal/cache \
	controller-manager:./internal/write,./internal/dependents,./internal/manager \
	kube-proxy:./internal/state/...,./internal/conntrack/...,./internal/health/... kubelet:./internal/worker/...,./internal/pleg/...,./internal/status/...,./internal/object/...

race: ## the race detector, where goroutines meet
	@command -v gcc >/dev/null || (apt-get update -qq && apt-get install -y -qq gcc libc6-dev)
	@for m in $(RACY); do echo "== $${m%%:*}"; p=$${m#*:}; CGO_ENABLED=1 tools/again.sh $${m%%:*} 20m -race $${p//,/ } || exit 1; done

fuzz: ## every fuzz target, briefly
	@./tools/fuzz.sh $(or $(SECONDS_EACH),10)

clean:
	rm -rf bin .cache

$(TOOLS)/staticcheck:
	GOBIN=$(TOOLS) go install honnef.co/go/tools/cmd/staticcheck@v0.8.2
$(TOOLS)/protoc-gen-go:
	GOBIN=$(TOOLS) go install google.golang.org/protobuf/cmd/protoc-gen-go@v1.36.12
$(TOOLS)/protoc-gen-go-grpc:
	GOBIN=$(TOOLS) go install google.golang.org/grpc/cmd/protoc-gen-go-grpc@v1.6.2
$(TOOLS)/buf:
	GOBIN=$(TOOLS) go install github.com/bufbuild/buf/cmd/buf@v1.75.0
