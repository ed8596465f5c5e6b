// Package conntrack removes the kernel's entries of flows that would go on to
// where no endpoint is. UDP and SCTP clients keep their ports, so such an
// entry would live as long as they send: after an endpoint went, and after a
// Service got its first one. Entries that lead to endpoints stay, whatever is
// restarted.
package conntrack

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/vishvananda/netlink"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"xebec.dev/kube-proxy/internal/compile"
)

// place is where clients send to.
type place struct {
	addr     netip.Addr // zero for node ports
	port     uint16
	protocol uint8
	v4       bool
}

// valid are the endpoints that flows to a place may go to. A place that is no
// frontend any more has none, and flows that were not translated are not ours.
type valid struct {
	endpoints map[netip.AddrPort]bool
	gone      bool
}

// Cleaner removes entries. Run does the work; Changed only notes it.
type Cleaner struct {
	log     *zap.Logger
	deleted *prometheus.CounterVec
	took    *prometheus.HistogramVec
	wake    chan struct{}

	mu sync.Mutex
	// guarded by mu
	todo     map[place]valid
	networks []netip.Prefix
}

// New makes a Cleaner that has nothing to do.
func New(log *zap.Logger) *Cleaner {
	labels := []string{"ip_family"}
	return &Cleaner{
		log: log, wake: make(chan struct{}, 1), todo: map[place]valid{},
		deleted: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "kubeproxy", Name: "conntrack_reconciler_deleted_entries_total", Help: "Cumulative conntrack flows deleted by conntrack reconciler",
		}, labels),
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "kubeproxy", Name: "conntrack_reconciler_sync_duration_seconds", Help: "ReconcileConntrackFlowsLatency latency in seconds", Buckets: prometheus.ExponentialBuckets(0.001, 2, 15),
		}, labels),
	}
}

// Collectors are the metrics.
func (c *Cleaner) Collectors() []prometheus.Collector {
	return []prometheus.Collector{c.deleted, c.took}
}

// Changed notes the places that flows may be stale at.
func (c *Cleaner) Changed(u *compile.Update) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.networks = u.NodePorts
	for i := range u.Changes {
		c.note(&u.Changes[i])
	}
	if len(c.todo) == 0 {
		return
	}
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// note needs the lock.
func (c *Cleaner) note(change *compile.Change) {
	old := endpointsOf(change.Old)
	now := endpointsOf(change.New)
	for p, endpoints := range now {
		was, there := old[p]
		if there && len(was) > 0 && includes(endpoints, was) {
			// Nothing has gone. What is to be done still must know of what came.
			if _, waiting := c.todo[p]; !waiting {
				continue
			}
		}
		c.todo[p] = valid{endpoints: endpoints}
	}
	for p := range old {
		if _, there := now[p]; !there {
			c.todo[p] = valid{gone: true}
		}
	}
}

func includes(all, some map[netip.AddrPort]bool) bool {
	for a := range some {
		if !all[a] {
			return false
		}
	}
	return true
}

// endpointsOf are those of a service's places without connections.
func endpointsOf(s *compile.Service) map[place]map[netip.AddrPort]bool {
	if s == nil {
		return nil
	}
	var out map[place]map[netip.AddrPort]bool
	for i := range s.Frontends {
		f := &s.Frontends[i]
		if f.Protocol == unix.IPPROTO_TCP {
			continue
		}
		all := map[netip.AddrPort]bool{}
		for _, pool := range []*compile.Pool{&f.Pool, f.Outside} {
			if pool == nil {
				continue
			}
			for _, b := range pool.Backends {
				all[b.AddrPort()] = true
			}
		}
		if out == nil {
			out = map[place]map[netip.AddrPort]bool{}
		}
		out[place{f.Addr, f.Port, f.Protocol, f.V4}] = all
	}
	return out
}

// again is the pause after a failure.
const again = time.Second

// Run cleans until ctx ends.
func (c *Cleaner) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-c.wake:
		}
		for ctx.Err() == nil {
			err := c.clean()
			if err == nil {
				break
			}
			c.log.Warn("stale entries of connection tracking are tried again", zap.Error(err))
			select {
			case <-ctx.Done():
			case <-time.After(again):
			}
		}
	}
}

// clean does what is to be done now; what comes meanwhile is done next.
func (c *Cleaner) clean() error {
	c.mu.Lock()
	todo := make(map[place]valid, len(c.todo))
	four, six := false, false
	for p, v := range c.todo {
		todo[p] = v
		four, six = four || p.v4, six || !p.v4
	}
	networks := c.networks
	c.mu.Unlock()
	local, err := localAddresses()
	for _, f := range []struct {
		wanted bool
		family netlink.InetFamily
		label  string
	}{{four, unix.AF_INET, "IPv4"}, {six, unix.AF_INET6, "IPv6"}} {
		if !f.wanted || err != nil {
			continue
		}
		started := time.Now()
		n, failed := netlink.ConntrackDeleteFilters(netlink.ConntrackTable, f.family, &filter{c, todo, networks, local})
		c.deleted.WithLabelValues(f.label).Add(float64(n))
		c.took.WithLabelValues(f.label).Observe(time.Since(started).Seconds())
		err = failed
	}
	if err == nil {
		c.done(todo)
	}
	return err
}

// done forgets what was done, unless it has changed since.
func (c *Cleaner) done(todo map[place]valid) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for p, v := range todo {
		now, ok := c.todo[p]
		if ok && now.gone == v.gone && len(now.endpoints) == len(v.endpoints) && includes(now.endpoints, v.endpoints) {
			delete(c.todo, p)
		}
	}
}

func localAddresses() (map[netip.Addr]bool, error) {
	all, err := net.InterfaceAddrs()
	out := make(map[netip.Addr]bool, len(all))
	for _, a := range all {
		if n, ok := a.(*net.IPNet); ok {
			out[addrOf(n.IP)] = true
		}
	}
	return out, err
}

func addrOf(ip net.IP) netip.Addr {
	a, _ := netip.AddrFromSlice(ip) // the zero address is nobody's
	return a.Unmap()
}

// filter matches stale entries.
type filter struct {
	c        *Cleaner
	todo     map[place]valid
	networks []netip.Prefix
	local    map[netip.Addr]bool
}

// MatchConntrackFlow implements netlink.CustomConntrackFilter.
func (f *filter) MatchConntrackFlow(flow *netlink.ConntrackFlow) bool {
	if flow.Forward.Protocol == unix.IPPROTO_TCP {
		return false
	}
	to := netip.AddrPortFrom(addrOf(flow.Forward.DstIP), flow.Forward.DstPort)
	from := netip.AddrPortFrom(addrOf(flow.Reverse.SrcIP), flow.Reverse.SrcPort)
	p := place{to.Addr(), to.Port(), flow.Forward.Protocol, to.Addr().Is4()}
	if f.stale(p, to, from) {
		return true
	}
	if !f.local[to.Addr()] {
		return false
	}
	for _, n := range f.networks {
		if n.Contains(to.Addr()) {
			p.addr = netip.Addr{}
			return f.stale(p, to, from)
		}
	}
	return false
}

// stale tells whether a flow to a place is answered from where it should not.
func (f *filter) stale(p place, to, from netip.AddrPort) bool {
	v, ok := f.todo[p]
	if !ok {
		return false
	}
	// An endpoint may have come since.
	f.c.mu.Lock()
	if now, ok := f.c.todo[p]; ok {
		v = now
	}
	f.c.mu.Unlock()
	if v.gone {
		return to != from
	}
	return !v.endpoints[from]
}
