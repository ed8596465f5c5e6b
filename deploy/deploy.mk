# Targets of deploy/: the programs a node runs beside ours, each built from its
# own small module (so that their dependency graphs stay apart), images, and
# `make up` / `make down`. Included by the root Makefile. A target is built only
# when its module has changed: first builds take minutes.

DEPLOY := deploy
NODE_TOOLS := bin/containerd bin/containerd-shim-runc-v2 bin/ctr bin/runc bin/coredns \
	bin/cni/bridge bin/cni/host-local bin/cni/loopback bin/cni/portmap
# What containerd leaves out: storage drivers that need C libraries and that no kubelet asks for.
CONTAINERD_TAGS := no_btrfs,no_devmapper,no_zfs,no_aufs,netgo,osusergo
CONTAINERD_VERSION := $(shell awk '$$1=="require"&&$$2=="github.com/containerd/containerd/v2"{print $$3} $$1=="github.com/containerd/containerd/v2"{print $$2}' $(DEPLOY)/tools/containerd/go.mod | head -1)
CONTAINERD_PKG := github.com/containerd/containerd/v2
TOOL_LDFLAGS := -s -w

.PHONY: tools images up down deploy-deps

tools: $(NODE_TOOLS) bin/etcd bin/helm bin/kubectl ## containerd, runc, CNI plugins, CoreDNS, etcd, helm, kubectl into bin/

bin/containerd bin/containerd-shim-runc-v2 bin/ctr: bin/%: $(DEPLOY)/tools/containerd/go.mod
	@mkdir -p bin
	cd $(DEPLOY)/tools/containerd && GOWORK=off CGO_ENABLED=0 go build -trimpath -tags $(CONTAINERD_TAGS) \
		-ldflags '$(TOOL_LDFLAGS) -X $(CONTAINERD_PKG)/version.Version=$(CONTAINERD_VERSION)' -o ../../../bin/$* $(CONTAINERD_PKG)/cmd/$* || \
		$(CURDIR)/$(DEPLOY)/debian.sh containerd usr/bin/$* $(CURDIR)/$@
	@touch $@

bin/runc: $(DEPLOY)/tools/runc/go.mod | deploy-deps
	@mkdir -p bin
	cd $(DEPLOY)/tools/runc && GOWORK=off CGO_ENABLED=1 go build -trimpath -tags seccomp,netgo,osusergo \
		-ldflags '$(TOOL_LDFLAGS) -extldflags -static' -o ../../../bin/runc github.com/opencontainers/runc || \
		$(CURDIR)/$(DEPLOY)/debian.sh runc usr/sbin/runc $(CURDIR)/$@
	@touch $@

bin/cni/bridge bin/cni/loopback: KIND := main
bin/cni/host-local: KIND := ipam
bin/cni/portmap: KIND := meta
bin/cni/%: $(DEPLOY)/tools/cni-plugins/go.mod
	@mkdir -p bin/cni
	cd $(DEPLOY)/tools/cni-plugins && GOWORK=off CGO_ENABLED=0 go build -trimpath -ldflags '$(TOOL_LDFLAGS)' \
		-o ../../../bin/cni/$* github.com/containernetworking/plugins/plugins/$(KIND)/$* || \
		$(CURDIR)/$(DEPLOY)/debian.sh containernetworking-plugins usr/lib/cni/$* $(CURDIR)/$@
	@touch $@

bin/coredns: $(DEPLOY)/tools/coredns/go.mod $(DEPLOY)/tools/coredns/main.go
	@mkdir -p bin
	cd $(DEPLOY)/tools/coredns && GOWORK=off CGO_ENABLED=0 go build -trimpath -ldflags '$(TOOL_LDFLAGS)' -o ../../../bin/coredns .
	@touch $@

bin/etcd bin/helm: bin/%: test/%/go.mod test/%/main.go
	@$(MAKE) --no-print-directory $*
	@touch $@
bin/kubectl: test/kubectl/go.mod test/kubectl/main.go
	@$(MAKE) --no-print-directory kubectl
	@touch $@

# C libraries and programs of Debian that the tools are built with or run with.
deploy-deps:
	@$(DEPLOY)/deps.sh

PAUSE_CFLAGS := -Os -Wall -Wextra -static -nostdlib -ffreestanding -fno-stack-protector -fno-asynchronous-unwind-tables \
	-fno-pie -no-pie -Wl,--build-id=none,-z,noseparate-code,-s
bin/pause: $(DEPLOY)/pause/pause.c | deploy-deps
	@mkdir -p bin
	$(CC) $(PAUSE_CFLAGS) -o $@ $<

# For kube-proxy's mode iptables. A machine that no Debian package is to be had on goes without.
bin/iptables: $(DEPLOY)/iptables.sh
	@$(DEPLOY)/iptables.sh $(CURDIR)/$@ || echo "Debian's iptables is not to be had: kube-proxy's image will be without the mode iptables" >&2

images: build tools bin/pause bin/iptables ## OCI archives of everything that runs in pods, into bin/images/
	bin/xebec-images --bin bin --out bin/images

# `make up`: a one-node cluster on this machine. UPFLAGS are those of xebec-up,
# as in `make up UPFLAGS='--nodes 3'`; `make down` wants the same --name and --root, if they were given.
up: images ## a cluster on this machine: containerd, kubelet, everything else in pods
	bin/xebec-up up --bin bin $(UPFLAGS)

down: ## takes away what `make up` made, and looks that nothing is left
	bin/xebec-up down --bin bin $(UPFLAGS)

.PHONY: test-install test-systemd test-systemd-vm
test-install: images ## what the READMEs tell, on clusters with real containers: quick start, registry, upgrade and the like; as root
	cd test && go test -timeout 20m -v ./e2e/install

test-systemd: images ## systemd in namespaces of its own keeps a node by units; as root
	test/deploy/systemd/contain.sh bin .cache/systemd

test-systemd-vm: images ## make up and down in a Debian under QEMU, with cgroups v2; seven minutes where it is emulated
	test/deploy/systemd/boot.sh bin .cache/systemd
