package podnet

import (
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func prefixes(texts ...string) (out []netip.Prefix) {
	for _, t := range texts {
		out = append(out, netip.MustParsePrefix(t))
	}
	return out
}

func addresses(texts ...string) (out []netip.Addr) {
	for _, t := range texts {
		out = append(out, netip.MustParseAddr(t))
	}
	return out
}

func TestCompile(t *testing.T) {
	peer := Node{"b", prefixes("10.244.1.0/24"), addresses("192.168.0.2")}
	for name, s := range map[string]*State{
		"no-network-yet": {Node: "a", Nodes: []Node{{Name: "a"}, peer}, Cluster: prefixes("10.244.0.0/16")},
		"dual-stack": {
			Node: "a", Bridge: "cni0", Bridged: true, Cluster: prefixes("10.244.0.0/16", "fd44::/48"),
			Nodes: []Node{
				{"c", prefixes("10.244.2.0/24", "fd44:0:0:2::/64"), addresses("fd00::3", "192.168.0.3")},
				peer, // has no network of the second family
				{"a", prefixes("10.244.0.0/24", "fd44::/64"), addresses("192.168.0.1")},
				{"late", prefixes("10.244.3.0/24"), nil},
			},
			Pods: []Pod{
				{"x/any", addresses("10.244.0.9", "fd44::9"), []HostPort{{"TCP", netip.Addr{}, 80, 8080}}},
				{"x/zero", addresses("10.244.0.8", "fd44::8"), []HostPort{{"UDP", netip.IPv4Unspecified(), 53, 53}}},
				{"x/one", addresses("10.244.0.7"), []HostPort{{"TCP", netip.MustParseAddr("127.0.0.1"), 80, 8081}}},
				{"x/starting", nil, []HostPort{{"TCP", netip.Addr{}, 81, 81}}},
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := compile(s)
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join("testdata", name+".txt")
			if *update {
				if err := os.WriteFile(file, []byte(p.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if p.String() != string(want) {
				t.Errorf("got\n%s\nwant\n%s", p, want)
			}
		})
	}
}
