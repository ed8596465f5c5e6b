package testnet

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/kube-proxy/internal/compile"
)

// policy is a service in a cluster, with an endpoint on some nodes.
type policy struct {
	name, clusterIP    string
	nodePort           int32
	balancer           string
	internal, external bool   // traffic policy Local
	on                 string // nodes with endpoints
	// hint gives an endpoint's hints, as the controller does for the service's
	// trafficDistribution.
	hint func(n *ClusterNode) *discoveryv1.EndpointHints
}

func sameZone(n *ClusterNode) *discoveryv1.EndpointHints {
	return &discoveryv1.EndpointHints{ForZones: []discoveryv1.ForZone{{Name: n.Zone}}}
}

// sameNode has the zone too, for nodes without an endpoint.
func sameNode(n *ClusterNode) *discoveryv1.EndpointHints {
	h := sameZone(n)
	h.ForNodes = []discoveryv1.ForNode{{Name: n.Name}}
	return h
}

func (p *policy) objects(c *Cluster) (*corev1.Service, []*discoveryv1.EndpointSlice) {
	s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "x", Name: p.name}, Spec: corev1.ServiceSpec{
		Type: corev1.ServiceTypeLoadBalancer, ClusterIP: p.clusterIP, ClusterIPs: []string{p.clusterIP},
		Ports: []corev1.ServicePort{{Port: 80, NodePort: p.nodePort, Protocol: corev1.ProtocolTCP}},
	}}
	if p.internal {
		local := corev1.ServiceInternalTrafficPolicyLocal
		s.Spec.InternalTrafficPolicy = &local
	}
	if p.external {
		s.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal
	}
	if p.balancer != "" {
		s.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: p.balancer}}
	}
	port := int32(8080)
	slice := &discoveryv1.EndpointSlice{AddressType: discoveryv1.AddressTypeIPv4, Ports: []discoveryv1.EndpointPort{{Port: &port}}}
	for i, n := range c.Nodes {
		if !strings.Contains(p.on, n.Name) {
			continue
		}
		e := discoveryv1.Endpoint{Addresses: []string{fmt.Sprintf("10.244.%d.2", i+1)}, NodeName: &n.Name, Zone: &n.Zone}
		if p.hint != nil {
			e.Hints = p.hint(n)
		}
		slice.Endpoints = append(slice.Endpoints, e)
	}
	return s, []*discoveryv1.EndpointSlice{slice}
}

// write puts services into the kernels of all nodes, as each node has them.
func (c *Cluster) write(t testing.TB, all []policy) {
	t.Helper()
	for _, n := range c.Nodes {
		var services []*compile.Service
		for i := range all {
			s, endpoints := all[i].objects(c)
			services = append(services, compile.One(s, endpoints, &n.Node))
		}
		u := Full(services...)
		u.NodePorts = Prefixes(n.Addr + "/32")
		n.Space.In(t, func() error { return n.Sync(u) })
	}
}

// space by name: a node's letter, "pod-" and its letter, "outside".
func (c *Cluster) space(name string) Space {
	for _, n := range c.Nodes {
		switch name {
		case n.Name:
			return n.Space
		case "pod-" + n.Name:
			return n.Pod
		}
	}
	return c.Outside
}

// answers are who answers, in order of name, when asked until all of want have,
// and some times more; nobody is "".
func (c *Cluster) answers(from, to, want string) string {
	const sure = 24 // one of two that is left out here is so by 1 of 16 million
	seen := map[string]bool{}
	ended := time.Now().Add(30 * time.Second)
	for n := 0; n < sure || len(seen) < len(strings.Fields(want)) && time.Now().Before(ended); n++ {
		text, err := Call(c.space(from), "", to)
		if errors.Is(err, syscall.ECONNREFUSED) {
			text = "refused"
		} else if err != nil {
			break // dropped: asking again takes as long
		}
		seen[text] = true
	}
	var out []string
	for s := range seen {
		out = append(out, strings.ReplaceAll(s, " ", "@"))
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

// Policies checks by packets between three nodes and a host outside where
// traffic distribution and traffic policies send clients. Pods say whom they
// see: "a@10.244.1.2" is the pod of node a that was called from that address.
func Policies(t *testing.T, c *Cluster) {
	c.write(t, []policy{
		{name: "zone", clusterIP: "10.96.0.1", on: "abc", hint: sameZone},
		{name: "zone-gone", clusterIP: "10.96.0.2", on: "ab", hint: sameZone},
		{name: "node", clusterIP: "10.96.0.3", on: "abc", hint: sameNode},
		{name: "node-gone", clusterIP: "10.96.0.4", on: "bc", hint: sameNode},
		{name: "inside", clusterIP: "10.96.0.5", on: "ab", internal: true},
		{name: "outside", clusterIP: "10.96.0.6", on: "ab", nodePort: 30006, balancer: "203.0.113.6", external: true},
		{name: "anywhere", clusterIP: "10.96.0.7", on: "a", nodePort: 30007},
	})
	c.Outside.In(t, func() error { return Route("203.0.113.6/32", "192.168.9.2") })
	for _, x := range []struct{ name, from, to, want string }{
		{"PreferSameZone: both of the zone", "pod-a", "10.96.0.1:80", "a@10.244.1.1 b@10.244.1.2"},
		{"and of the other zone", "pod-c", "10.96.0.1:80", "c@10.244.3.1"},
		{"PreferSameZone without one in the zone: any", "pod-c", "10.96.0.2:80", "a@10.244.3.2 b@10.244.3.2"},
		{"PreferSameNode: the node's own", "pod-b", "10.96.0.3:80", "b@10.244.2.1"},
		{"from the node itself", "b", "10.96.0.3:80", "b@10.244.2.1"},
		{"PreferSameNode without one on the node: the zone's", "pod-a", "10.96.0.4:80", "b@10.244.1.2"},
		{"internal policy Local: the node's own", "pod-a", "10.96.0.5:80", "a@10.244.1.1"},
		{"from a node without one: dropped", "pod-c", "10.96.0.5:80", ""},
		{"external policy Local leaves the address", "outside", "192.168.9.1:30006", "a@192.168.9.100"},
		{"and at another node", "outside", "192.168.9.2:30006", "b@192.168.9.100"},
		{"at a node without one: dropped", "outside", "192.168.9.3:30006", ""},
		{"by the load balancer's address", "outside", "203.0.113.6:80", "b@192.168.9.100"},
		{"inside the cluster it does not apply", "pod-c", "203.0.113.6:80", "a@10.244.3.2 b@10.244.3.2"},
		{"nor at the own node's port", "pod-c", "192.168.9.3:30006", "a@10.244.3.2 b@10.244.3.2"},
		{"policy Cluster: by another node, with its address", "outside", "192.168.9.3:30007", "a@192.168.9.3"},
		{"from a pod of another node", "pod-b", "10.96.0.7:80", "a@10.244.2.2"},
	} {
		t.Run(x.name, func(t *testing.T) {
			if got := c.answers(x.from, x.to, x.want); got != x.want {
				t.Errorf("from %s to %s: %q, want %q", x.from, x.to, got, x.want)
			}
		})
	}
}
