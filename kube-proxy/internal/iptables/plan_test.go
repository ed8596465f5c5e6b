package iptables

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"xebec.dev/kube-proxy/internal/compile"
	"xebec.dev/kube-proxy/internal/golden"
	"xebec.dev/kube-proxy/internal/nftables"
)

func podsOf(networks ...string) Options {
	o := Options{LocalhostNodePorts: true}
	for _, n := range networks {
		o.Pods.Networks = append(o.Pods.Networks, netip.MustParsePrefix(n))
	}
	return o
}

// TestGolden reads testdata/*.txt: a comment, a Service and its slices as
// YAML documents, "----" and the rules of node a, of both families.
func TestGolden(t *testing.T) {
	golden.Run(t, func(t *testing.T, in string) string {
		service, endpoints := golden.Service(t, in)
		node := &compile.Node{Name: "a", Zone: "z1", NodePortsV4: true, MasqueradeAll: strings.Contains(in, "masquerade all")}
		s := compile.One(service, endpoints, node)
		o := podsOf("10.244.0.0/16", "fd44::/56")
		o.counts = strings.Contains(in, "packets are counted")
		return "IPv4\n" + plan(s, true, &o).String() + "IPv6\n" + plan(s, false, &o).String()
	})
}

// TestNames: the chains of services that every cluster has are known by name.
func TestNames(t *testing.T) {
	for _, c := range []struct{ service, port, protocol, want string }{
		{"default/kubernetes", "https", "tcp", "NPX46M4PTMTKRN6Y"},
		{"kube-system/kube-dns", "dns", "udp", "TCOU7JCQXEZGVUNU"},
		{"kube-system/kube-dns", "dns-tcp", "tcp", "ERIFXISQEP7F7OF4"},
		{"kube-system/kube-dns", "metrics", "tcp", "JD5MR3NA4I4DYORP"},
	} {
		if got := hashed(portName(c.service, c.port), c.protocol); got != c.want {
			t.Errorf("%s:%s is %s, want %s", c.service, c.port, got, c.want)
		}
	}
}

func service(name string, endpoints ...string) *compile.Service {
	p := compile.Pool{Masquerade: compile.OffCluster}
	for _, e := range endpoints {
		p.Backends = append(p.Backends, compile.Backend{Endpoint: compile.EndpointOf(netip.MustParseAddrPort(e))})
	}
	a := netip.MustParseAddr("10.96.0." + name[len(name)-1:])
	return &compile.Service{Name: name, Frontends: []compile.Frontend{{Kind: compile.ClusterIP, Addr: a, Protocol: 6, Port: 80, V4: true, Pool: p}}}
}

func changes(all ...*compile.Service) (out []compile.Change) {
	for _, s := range all {
		out = append(out, compile.Change{Name: s.Name, New: s})
	}
	return out
}

// text is what the parts of a change are together.
func text(parts []*script) string { return packed(parts, 0)[0].String() }

// TestPacked: the parts of a load are so packed that a service's chains are
// written at once, before anything leads to them, and each no later than
// what they lead to.
func TestPacked(t *testing.T) {
	o := podsOf("10.244.0.0/16")
	f := newFamily(true, &o)
	var all []*compile.Service
	for i := range 9 {
		all = append(all, service(fmt.Sprint("x/", i), "10.244.0.1:80", "10.244.0.2:80"))
	}
	f.change(changes(all...))
	parts := f.all(parseSaved("*nat\n:KUBE-SVC-OLD - [0:0]\nCOMMIT\n"))
	for _, c := range []struct{ most, want int }{{0, 1}, {1000, 1}, {14, 4}, {1, 11}} {
		scripts := packed(parts, c.most)
		if len(scripts) != c.want {
			t.Errorf("of at most %d chains there are %d scripts, want %d", c.most, len(scripts), c.want)
		}
		written := map[string]int{}
		for i, s := range scripts {
			if c.most > 1 && s.chains() > c.most {
				t.Errorf("a script has %d chains, want at most %d", s.chains(), c.most)
			}
			for line := range strings.Lines(s.String()) {
				if name, ok := strings.CutPrefix(line, ":"); ok {
					name, _, _ = strings.Cut(name, " ")
					written[name] = i
				}
			}
			for line := range strings.Lines(s.String()) {
				if at := strings.LastIndex(line, " -j KUBE-"); at >= 0 {
					if _, ok := written[strings.TrimSpace(line[at+len(" -j "):])]; !ok {
						t.Errorf("script %d leads to what is not there yet: %s", i, line)
					}
				}
			}
		}
		last := len(scripts) - 1
		if written[services] != last || written["KUBE-SVC-OLD"] != last {
			t.Errorf("KUBE-SERVICES is in script %d and a chain that is gone in %d, want the last one, %d", written[services], written["KUBE-SVC-OLD"], last)
		}
		for _, s := range all {
			if a, b := written[prefixCluster+hashed(s.Name, "tcp")], written[end(s.Name, "10.244.0.2:80")]; a != b {
				t.Errorf("chains of %s are in scripts %d and %d", s.Name, a, b)
			}
		}
	}
}

// TestChange: a change of endpoints writes the chains that change and no
// others; what all services share is written when a frontend comes or goes.
func TestChange(t *testing.T) {
	o := podsOf("10.244.0.0/16")
	f := newFamily(true, &o)
	f.networks = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}
	f.change(changes(service("x/1", "10.244.0.1:80", "10.244.0.2:80"), service("x/2", "10.244.0.3:80")))
	rules := f.rules[nat]
	got := text(f.change(changes(service("x/1", "10.244.0.2:80", "10.244.0.4:80"))))
	svc, gone, kept, came := prefixCluster+hashed("x/1", "tcp"), end("x/1", "10.244.0.1:80"), end("x/1", "10.244.0.2:80"), end("x/1", "10.244.0.4:80")
	for text, want := range map[string]bool{
		":" + svc + " ": true, ":" + came + " ": true, "-X " + gone + "\n": true, ":" + kept + " ": false,
		":KUBE-SERVICES ": false, hashed("x/2", "tcp"): false, "*filter": false, "*mangle": false,
	} {
		if strings.Contains(got, text) != want {
			t.Errorf("%q there is %t, want %t:\n%s", text, !want, want, got)
		}
	}
	if f.rules[nat] != rules {
		t.Errorf("%d rules, want %d as before", f.rules[nat], rules)
	}
	if s := text(f.change(changes(service("x/1", "10.244.0.2:80", "10.244.0.4:80")))); s != "" {
		t.Errorf("no change is\n%s", s)
	}
	// Without endpoints a service moves from one table to the other.
	got = text(f.change(changes(service("x/1"))))
	for _, text := range []string{"*nat", "*filter", ":KUBE-SERVICES ", "-X " + svc + "\n", `"x/1 has no endpoints"`, "-j REJECT"} {
		if !strings.Contains(got, text) {
			t.Errorf("no %q:\n%s", text, got)
		}
	}
	f.change([]compile.Change{{Name: "x/1"}, {Name: "x/2"}})
	if len(f.services) != 0 || f.rules[nat] != 0 || f.rules[filter] != 0 {
		t.Errorf("%d services and %v rules are left of none", len(f.services), f.rules)
	}
}

func end(service, endpoint string) string {
	return prefixEndpoint + hashed(service, "tcp", endpoint)
}

// TestAll: everything is written over what there is; chains of services that
// are gone go, and jumps that are there stay.
func TestAll(t *testing.T) {
	o := podsOf("10.244.0.0/16", "10.245.0.0/16")
	f := newFamily(true, &o)
	f.networks = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}
	f.change(changes(service("x/1", "10.244.0.1:80")))
	got := text(f.all(parseSaved(`*nat
:PREROUTING ACCEPT [0:0]
:KUBE-SERVICES - [0:0]
:KUBE-SEP-OLD - [0:0]
:OTHERS - [0:0]
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A KUBE-SERVICES -j KUBE-SEP-OLD
COMMIT
`)))
	for text, want := range map[string]bool{
		"-X KUBE-SEP-OLD\n": true, "OTHERS": false, "-I PREROUTING ": false, "-I OUTPUT ": true, "-I POSTROUTING ": true, "-I INPUT -j KUBE-FIREWALL\n": true,
		// Not of several networks: a rule can say it of one.
		"-A KUBE-MARK-MASQ-OFF -s 10.245.0.0/16 -j RETURN\n": true, "-d 10.96.0.1 -j KUBE-MARK-MASQ-OFF\n": true, " ! -s ": true,
	} {
		if strings.Contains(got, text) != want {
			t.Errorf("%q there is %t, want %t:\n%s", text, !want, want, got)
		}
	}
	if gone := removal(parseSaved("*filter\n:KUBE-FIREWALL - [0:0]\n:KUBE-KUBELET-CANARY - [0:0]\nCOMMIT\n")); gone != "" {
		t.Errorf("what the kubelet made is removed:\n%s", gone)
	}
}

// TestInterfaces: pods are told by links as well as by networks.
func TestInterfaces(t *testing.T) {
	for prefix, want := range map[bool]string{false: "! -i cali0 -j KUBE-MARK-MASQ", true: "! -i cali0+ -j KUBE-MARK-MASQ"} {
		o := Options{Options: nftables.Options{Pods: nftables.Pods{Interface: "cali0", Prefix: prefix}}}
		if got := plan(service("x/1", "10.244.0.1:80"), true, &o).String(); !strings.Contains(got, want) {
			t.Errorf("no %q:\n%s", want, got)
		}
	}
}
