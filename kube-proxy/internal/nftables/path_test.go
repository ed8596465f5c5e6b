package nftables

import (
	"testing"

	"xebec.dev/kube-proxy/internal/compile"
	"xebec.dev/kube-proxy/internal/testnet"
)

// Short names of what all tests here use.
var (
	prefixes = testnet.Prefixes
	poolOf   = testnet.PoolOf
	frontend = testnet.Frontend
	service  = testnet.Service
	full     = testnet.Full
	change   = testnet.Change
)

func (w *world) sync(t testing.TB, u *compile.Update) {
	t.Helper()
	if err := w.proxy.Sync(u); err != nil {
		t.Fatal(err)
	}
}

func testWorld(t testing.TB) *world {
	return newWorld(t, Options{Pods: Pods{Networks: prefixes("10.244.0.0/16", "fd44::/56")}})
}

func TestPaths(t *testing.T) {
	w := testWorld(t)
	testnet.Paths(t, w.World, w.sync)
}

// TestPolicies: three nodes, each with its own tables.
func TestPolicies(t *testing.T) {
	c := testnet.NewCluster(t)
	for _, n := range c.Nodes {
		n.Space.In(t, func() error {
			p, err := New(Options{Pods: Pods{Networks: prefixes("10.244.0.0/16")}})
			if err == nil {
				t.Cleanup(func() { p.Close() })
				n.Sync = p.Sync
			}
			return err
		})
	}
	testnet.Policies(t, c)
}
