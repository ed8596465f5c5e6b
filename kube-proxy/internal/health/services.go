package health

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"xebec.dev/kube-proxy/internal/compile"
	"xebec.dev/kube-proxy/internal/ipvs"
)

// Services answers at health check ports. A Service's port may be taken by
// somebody else, and an address come later: that is told, and tried again at
// each change.
type Services struct {
	proxy *Proxy
	log   *zap.Logger
	// listen is net.Listen but in tests.
	listen func(network, address string) (net.Listener, error)
	// own are the node's addresses.
	own func() ([]net.Addr, error)
	// Failed, when set, is told of ports that can't be opened.
	Failed func(service string, port uint16, err error)

	mu sync.Mutex
	// guarded by mu
	ports map[string]*port
	nodes []netip.Prefix
	none  bool // has been told: the node has none of the addresses
}

// port is one Service's.
type port struct {
	health compile.Health
	open   map[string]net.Listener // by address
	failed string                  // has been told
}

// NewServices makes one without ports.
func NewServices(p *Proxy, log *zap.Logger) *Services {
	return &Services{proxy: p, log: log, listen: net.Listen, own: ownAddresses, ports: map[string]*port{}}
}

// ownAddresses are those of the node's links, but for the one that has the
// addresses of Services in mode ipvs.
func ownAddresses() ([]net.Addr, error) {
	links, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	var all []net.Addr
	for i := range links {
		if links[i].Name == ipvs.Link {
			continue
		}
		of, err := links[i].Addrs()
		if err != nil {
			return nil, err
		}
		all = append(all, of...)
	}
	return all, nil
}

// Changed follows services.
func (s *Services) Changed(u *compile.Update) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.nodes = slices.Clone(u.NodePorts)
	if u.Full {
		s.forget(u.Changes)
	}
	for _, c := range u.Changes {
		if c.New == nil || c.New.Health == nil {
			s.drop(c.Name)
		}
	}
	for _, c := range u.Changes {
		if c.New != nil && c.New.Health != nil {
			s.put(c.Name, *c.New.Health)
		}
	}
	if len(s.ports) > 0 {
		s.follow()
	}
}

// forget drops the ports of services that are in no change.
func (s *Services) forget(all []compile.Change) {
	there := map[string]bool{}
	for _, c := range all {
		there[c.Name] = true
	}
	for name := range s.ports {
		if !there[name] {
			s.drop(name)
		}
	}
}

func (s *Services) drop(name string) {
	if p := s.ports[name]; p != nil {
		p.close(nil)
		delete(s.ports, name)
	}
}

func (s *Services) put(name string, h compile.Health) {
	p := s.ports[name]
	if p != nil && p.health.Port != h.Port {
		s.drop(name)
		p = nil
	}
	if p == nil {
		p = &port{open: map[string]net.Listener{}}
		s.ports[name] = p
	}
	p.health = h
}

// close closes all but the addresses of but.
func (p *port) close(but []string) {
	for a, l := range p.open {
		if !slices.Contains(but, a) {
			_ = l.Close() // nobody is told
			delete(p.open, a)
		}
	}
}

// follow has all ports open at the node's addresses of now, as far as it is
// known which these are.
func (s *Services) follow() {
	all, err := s.addresses()
	if none := len(all) == 0 && err == nil; none != s.none {
		if s.none = none; none {
			s.log.Warn("health check ports of services are closed: the node has no address in the networks of node ports", zap.Stringers("networks", s.nodes))
		}
	}
	for name, p := range s.ports {
		if err == nil {
			p.close(all) // first: all addresses and one of them exclude each other
		}
		s.open(name, p, all, err)
	}
}

// addresses are those of the node ports: the node's own in their networks,
// once it is known which.
func (s *Services) addresses() (out []string, err error) {
	var own []net.Addr
	for _, n := range s.nodes {
		switch {
		case n.Bits() == 0:
			return []string{""}, nil
		case n.IsSingleIP():
			if a := n.Addr().String(); !slices.Contains(out, a) {
				out = append(out, a)
			}
			continue
		}
		if own == nil {
			if own, err = s.own(); err != nil {
				return out, fmt.Errorf("the node's addresses: %w", err)
			}
		}
		for _, a := range own {
			p, err := netip.ParsePrefix(a.String())
			if ip := p.Addr().Unmap(); err == nil && n.Contains(ip) && !(ip.Is6() && ip.IsLinkLocalUnicast()) && !slices.Contains(out, ip.String()) {
				out = append(out, ip.String())
			}
		}
	}
	return out, nil
}

// open opens a port where it is not; unknown is why not all addresses are
// known.
func (s *Services) open(name string, p *port, all []string, unknown error) {
	errs := []error{unknown}
	for _, a := range all {
		if p.open[a] != nil {
			continue
		}
		l, err := s.listen("tcp", net.JoinHostPort(a, fmt.Sprint(p.health.Port)))
		if err != nil {
			errs = append(errs, err)
			continue
		}
		p.open[a] = l
		s.serve(name, l)
	}
	err, before := errors.Join(errs...), p.failed
	if p.failed = ""; err == nil {
		return
	}
	if p.failed = err.Error(); p.failed != before {
		s.log.Error("the health check port of a service can't be opened", zap.String("service", name), zap.Error(err))
		if s.Failed != nil {
			s.Failed(name, p.health.Port, err)
		}
	}
}

func (s *Services) serve(name string, l net.Listener) {
	namespace, short, _ := strings.Cut(name, "/")
	srv := &http.Server{ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		s.mu.Lock()
		local := 0
		if p := s.ports[name]; p != nil {
			local = p.health.Local
		}
		s.mu.Unlock()
		writeService(w, namespace, short, local, s.proxy.Healthy())
	})}
	go func() { _ = srv.Serve(l) }() // ends with the listener
}

// Close closes all ports.
func (s *Services) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name := range s.ports {
		s.drop(name)
	}
}
