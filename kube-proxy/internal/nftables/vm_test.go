//go:build vm

package nftables

import (
	"testing"

	"xebec.dev/kube-proxy/internal/testnet"
)

// TestSCTP needs a kernel with SCTP: test/vm has one.
func TestSCTP(t *testing.T) {
	w := testWorld(t)
	testnet.SCTP(t, w.World, w.sync)
}
