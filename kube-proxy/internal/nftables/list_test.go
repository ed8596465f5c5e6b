package nftables

import (
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"

	"xebec.dev/kube-proxy/internal/compile"
	"xebec.dev/kube-proxy/internal/testnet"
)

// TestListed: people look at tables with nft(8), which ends at rules that it
// does not understand, and then shows nothing of others' tables either.
func TestListed(t *testing.T) {
	if _, err := exec.LookPath("nft"); err != nil {
		t.Fatal("nft(8) is missing: Debian's package nftables has it")
	}
	h := testnet.NewSpace(t)
	h.In(t, func() error {
		o := Options{Pods: Pods{Networks: prefixes("10.244.0.0/16", "fd44::/56")}}
		p, err := New(o)
		if err != nil {
			return err
		}
		defer p.Close()
		guard, err := NewGuard(o, besideNothing{})
		if err != nil {
			return err
		}
		defer guard.Close()
		var all []*compile.Service
		for i, affinity := range []time.Duration{0, time.Hour} {
			for j, m := range []compile.Masquerade{compile.Never, compile.OffCluster, compile.Always} {
				n := i*3 + j + 1
				four := frontend(compile.ClusterIP, fmt.Sprintf("10.96.0.%d:80", n), poolOf(m, "10.244.0.2:8080", "10.244.0.3:8080"))
				six := frontend(compile.ClusterIP, fmt.Sprintf("[fd96::%d]:80", n), poolOf(m, "[fd44::2]:8080"))
				port := frontend(compile.NodePort, fmt.Sprintf("0.0.0.0:%d", 30000+n), four.Pool)
				lb := frontend(compile.External, fmt.Sprintf("192.0.2.%d:80", n), four.Pool)
				lb.Outside, lb.Sources = &six.Pool, prefixes("198.51.100.0/24")
				lb.Outside = &four.Pool
				s := service(fmt.Sprint("x/", n), four, six, port, lb)
				for k := range s.Frontends {
					s.Frontends[k].Affinity = affinity
				}
				all = append(all, s)
			}
		}
		for _, p := range []*Proxy{p, guard} {
			if err := p.Sync(full(all...)); err != nil {
				return err
			}
			out, err := exec.Command("nft", "list", "ruleset").CombinedOutput()
			if err != nil || strings.Contains(string(out), "Error") {
				return fmt.Errorf("nft list ruleset: %w\n%s", err, out)
			}
			t.Logf("%s", out)
		}
		return nil
	})
}

// besideNothing stands for IPVS: rules beside it need none.
type besideNothing struct{}

func (besideNothing) Mark(f *compile.Frontend) uint32 {
	if f.Outside == nil {
		return 0
	}
	return 0x0b000000 | uint32(f.Port)
}

func (besideNothing) Bound(netip.Addr) bool { return true }
