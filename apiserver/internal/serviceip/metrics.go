package serviceip

import (
	"math/big"
	"math/bits"
	"net/netip"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
)

// Collector shows what of the addresses and node ports is taken.
func (h *Hook) Collector() prometheus.Collector {
	d := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("kube_apiserver_"+name, help, labels, nil)
	}
	return &collector{
		hook:      h,
		addresses: d("clusterip_allocator_allocated_ips", "Service addresses in use.", "cidr"),
		free:      d("clusterip_allocator_available_ips", "Service addresses to be had.", "cidr"),
		ports:     d("nodeport_allocator_allocated_ports", "Node ports in use."),
		freePorts: d("nodeport_allocator_available_ports", "Node ports to be had."),
	}
}

type collector struct {
	hook                              *Hook
	addresses, free, ports, freePorts *prometheus.Desc
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.addresses, c.free, c.ports, c.freePorts} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	send := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	for p, n := range c.taken() {
		send(c.addresses, float64(n), p.String())
		send(c.free, max(0, float64(hosts(p))-float64(n)), p.String())
	}
	used := 0
	for _, w := range c.hook.Ports.used().Bits() {
		used += bits.OnesCount(uint(w))
	}
	send(c.ports, float64(used))
	send(c.freePorts, float64(int(c.hook.Ports.Last-c.hook.Ports.First)+1-used))
}

// taken counts the addresses of each range.
func (c *collector) taken() map[netip.Prefix]int {
	a, out := c.hook.Addresses, map[netip.Prefix]int{}
	for _, family := range []corev1.IPFamily{corev1.IPv4Protocol, corev1.IPv6Protocol} {
		for _, p := range a.ranges(family) {
			out[p] = 0
		}
	}
	for _, obj := range a.Reader.List(a.IPs, "") {
		addr, err := netip.ParseAddr(obj.(*networkingv1.IPAddress).Name)
		if err != nil {
			continue
		}
		for p := range out {
			if p.Contains(addr) {
				out[p]++
			}
		}
	}
	return out
}

// used is the bitmap as the cache has it.
func (p *Ports) used() *big.Int {
	out := new(big.Int)
	current := p.Store.Collection(Ranges).Newest("", portsName)
	var r corev1.RangeAllocation
	if current != nil && r.Unmarshal(current.Raw) == nil && r.Range == p.text() {
		out.SetBytes(r.Data)
	}
	return out
}
