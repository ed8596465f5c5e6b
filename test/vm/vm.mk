.PHONY: test-vm

test-vm: build bin/iptables ## IPVS, SCTP and cgroup v2 in a Debian kernel under QEMU
	test/vm/run
