package ipvs

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"xebec.dev/kube-proxy/internal/compile"
	"xebec.dev/kube-proxy/internal/golden"
)

// TestGolden reads testdata/*.txt: states of a Service and its slices as YAML
// documents, with "====" between one state and the next, then "----". What
// follows are, for each state, its virtual servers on node a, the addresses
// that the node has for them, and the changes from the state before.
func TestGolden(t *testing.T) {
	golden.Run(t, planned)
}

func planned(t *testing.T, in string) string {
	t.Helper()
	m := newMarks(1 << 14)
	p := planner{scheduler: "rr", sticky: "sh", six: true, mark: m.of, nodes: []netip.Addr{netip.MustParseAddr("192.168.9.1"), netip.MustParseAddr("fd09::1")}}
	k := newFake()
	before := map[Key]*Virtual{}
	var b strings.Builder
	for i, state := range strings.Split(in, "\n====\n") {
		if i > 0 {
			b.WriteString("====\n")
		}
		virtuals, addresses := p.virtuals(compile.One(parseState(t, state)))
		fmt.Fprint(&b, text(virtuals), "addresses ", addresses, "\n")
		now := map[Key]*Virtual{}
		for _, v := range virtuals {
			now[v.Key] = v
			before[v.Key] = v
		}
		keys := make([]Key, 0, len(before))
		for key := range before {
			keys = append(keys, key)
		}
		for _, key := range sortKeys(keys) {
			ops := diff(key, k.virtuals[key], now[key])
			b.WriteString(text(ops))
			for _, o := range ops {
				if err := k.Do(o); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	return b.String()
}

func parseState(t *testing.T, in string) (*corev1.Service, []*discoveryv1.EndpointSlice, *compile.Node) {
	t.Helper()
	service, endpoints := golden.Service(t, in)
	return service, endpoints, &compile.Node{Name: "a", NodePortsV4: true, NodePortsV6: true}
}

func TestKernels(t *testing.T) {
	for release, want := range map[string]bool{"5.8.0-1-amd64": true, "4.19.0": true, "5.9.0": false, "6.1.0-56": false, "": false} {
		if got := before(release, 5, 9); got != want {
			t.Errorf("%q is older than 5.9: %v", release, got)
		}
	}
}
