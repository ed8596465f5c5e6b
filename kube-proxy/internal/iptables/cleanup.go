package iptables

import (
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"

	"xebec.dev/kube-proxy/internal/nfacct"
)

// kubelet's chain tells that the kubelet of Kubernetes looks after a table too.
const kubeletCanary = "KUBE-KUBELET-CANARY"

// Cleanup removes our chains and what leads to them, Kubernetes' ones as well.
// Without the programs there is nothing that we could have made.
func Cleanup() error { return cleanup(execute) }

func cleanup(run runner) error {
	var errs []error
	removed := false
	for _, v4 := range []bool{true, false} {
		if !v4 && !ipv6() {
			continue
		}
		if _, err := exec.LookPath(program(v4, "-save")); err != nil {
			continue
		}
		text, err := run("", program(v4, "-save"))
		if err == nil {
			if s := removal(parseSaved(text)); s != "" {
				_, err = run(s, program(v4, "-restore"), "-w", wait, "--noflush", "--counters")
				removed = true
			}
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("remove rules: %w", err))
		}
	}
	if removed && len(errs) == 0 {
		errs = append(errs, nfacct.Remove(counterInvalid), nfacct.Remove(counterLoopback))
	}
	return errors.Join(errs...)
}

// removal is the script that takes away what there is of ours.
func removal(was *saved) string {
	var b strings.Builder
	for _, table := range order {
		var gone []string
		kubelet := slices.Contains(was.chains[table], kubeletCanary)
		for _, name := range was.chains[table] {
			if ours(name) && (name != localnet || !kubelet) {
				gone = append(gone, name)
			}
		}
		if len(gone) == 0 {
			continue
		}
		fmt.Fprintf(&b, "*%s\n", table)
		for _, name := range gone {
			fmt.Fprintf(&b, ":%s - [0:0]\n", name) // which empties it
		}
		for _, r := range was.rules[table] {
			if at := strings.LastIndex(r, " -j "); slices.Contains(gone, r[at+len(" -j "):]) {
				b.WriteString("-D" + strings.TrimPrefix(r, "-A") + "\n")
			}
		}
		for _, name := range gone {
			fmt.Fprintf(&b, "-X %s\n", name)
		}
		b.WriteString("COMMIT\n")
	}
	return b.String()
}

func ours(name string) bool {
	switch name {
	case services, external, nodePorts, postrouting, markMasq, forward, firewall, localnet, canary, markOff, probe:
		return true
	}
	return ofService(name)
}
