package nftables

import (
	"testing"

	"xebec.dev/kube-proxy/internal/testnet"
)

// world has a Proxy on its node.
type world struct {
	*testnet.World
	proxy *Proxy
}

func newWorld(t testing.TB, o Options) *world {
	t.Helper()
	w := &world{World: testnet.NewWorld(t)}
	w.Node.In(t, func() (err error) {
		w.proxy, err = New(o)
		return err
	})
	t.Cleanup(func() { _ = w.proxy.Close() })
	return w
}
