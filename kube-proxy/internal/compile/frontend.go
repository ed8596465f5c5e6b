// Package compile says what a Service means on one node: pure, from a
// Service, its EndpointSlices and what the node knows of itself, to frontends
// with the backends that traffic to them may reach. Every backend (nftables,
// IPVS) renders the same frontends.
package compile

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Kind of a frontend says whose traffic comes to it.
type Kind uint8

const (
	// ClusterIP is reached from pods and nodes.
	ClusterIP Kind = iota
	// External is an external IP or a load balancer's.
	External
	// NodePort is a port of the node's own addresses; its address is zero.
	NodePort
)

func (k Kind) String() string { return [...]string{"cluster", "external", "node"}[k] }

// Masquerade says whose source address is replaced by the node's, so that
// answers come back through it.
type Masquerade uint8

const (
	// Never keeps the client's address.
	Never Masquerade = iota
	// OffCluster replaces that of clients that are not pods.
	OffCluster
	// Always replaces it.
	Always
)

func (m Masquerade) String() string { return [...]string{"never", "off-cluster", "always"}[m] }

// Missing is what happens where there is no backend.
type Missing uint8

const (
	// Reject tells the client at once: the Service has no endpoints at all.
	Reject Missing = iota
	// Drop is silent: there are endpoints, elsewhere, that policy forbids.
	Drop
)

// Backend is an endpoint that takes connections.
type Backend struct {
	Endpoint
	// Local ones are pods of this node: answers must come back through the
	// node when such a pod calls itself.
	Local bool
}

// Pool are the backends of one sort of client.
type Pool struct {
	Backends   []Backend // in order of address, each once
	Missing    Missing
	Masquerade Masquerade
	// Local pools are those of the policy Local.
	Local bool
}

// Frontend is an address and port that clients use.
type Frontend struct {
	Kind     Kind
	Addr     netip.Addr // zero for NodePort
	Protocol uint8      // IPPROTO_*
	Port     uint16
	V4       bool
	// Pool serves all clients, or those inside the cluster when Outside is
	// set.
	Pool    Pool
	Outside *Pool
	// Affinity is how long a client stays with a backend; 0: not at all.
	Affinity time.Duration
	// Sources may connect from outside; nil: all.
	Sources []netip.Prefix
	// PortName is the service's name of the port, often empty.
	PortName string
	// Balancer tells a load balancer's address from an external IP.
	Balancer bool
}

// Service is what one Service means here.
type Service struct {
	Name      string // namespace/name
	Frontends []Frontend
	Health    *Health
}

// Health is the answer at a healthCheckNodePort.
type Health struct {
	Port  uint16
	Local int // endpoints of this node
}

// String prints a service for people and golden tests.
func (s *Service) String() string {
	var b strings.Builder
	for i := range s.Frontends {
		f := &s.Frontends[i]
		at := fmt.Sprintf("%d", f.Port)
		if f.Kind != NodePort {
			at = netip.AddrPortFrom(f.Addr, f.Port).String()
		} else if !f.V4 {
			at += " v6"
		}
		fmt.Fprintf(&b, "%s %s %s", f.Kind, protocolName(f.Protocol), at)
		if f.Affinity > 0 {
			fmt.Fprintf(&b, " affinity %v", f.Affinity)
		}
		if f.Sources != nil {
			fmt.Fprintf(&b, " from %v", f.Sources)
		}
		b.WriteString(f.Pool.text())
		if f.Outside != nil {
			b.WriteString(" outside" + f.Outside.text())
		}
		b.WriteByte('\n')
	}
	if s.Health != nil {
		fmt.Fprintf(&b, "health %d local %d\n", s.Health.Port, s.Health.Local)
	}
	return b.String()
}

func (p *Pool) text() string {
	if len(p.Backends) == 0 {
		return " -> " + [...]string{"reject", "drop"}[p.Missing]
	}
	var b strings.Builder
	for _, x := range p.Backends {
		b.WriteString(" " + x.String())
		if x.Local {
			b.WriteByte('*')
		}
	}
	return " masquerade " + p.Masquerade.String() + " ->" + b.String()
}

// Equal tells whether two services mean the same.
func (s *Service) Equal(t *Service) bool {
	return s.Name == t.Name && (s.Health == nil) == (t.Health == nil) && (s.Health == nil || *s.Health == *t.Health) &&
		slices.EqualFunc(s.Frontends, t.Frontends, func(a, b Frontend) bool { return a.equal(&b) })
}

func (f *Frontend) equal(g *Frontend) bool {
	return f.PortName == g.PortName && f.Balancer == g.Balancer && f.Kind == g.Kind && f.Addr == g.Addr && f.Protocol == g.Protocol && f.Port == g.Port && f.V4 == g.V4 &&
		f.Affinity == g.Affinity && slices.Equal(f.Sources, g.Sources) && (f.Sources == nil) == (g.Sources == nil) &&
		f.Pool.Equal(&g.Pool) && (f.Outside == nil) == (g.Outside == nil) && (f.Outside == nil || f.Outside.Equal(g.Outside))
}

// Equal tells whether two pools are the same.
func (p *Pool) Equal(q *Pool) bool {
	return p.Local == q.Local && p.Missing == q.Missing && p.Masquerade == q.Masquerade && slices.Equal(p.Backends, q.Backends)
}
