package nodelifecycle

import (
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// state of a zone.
type state string

const (
	normal  state = "Normal"
	partial state = "PartialDisruption"
	full    state = "FullDisruption"
)

// zoneOf is where a node stands.
func zoneOf(n *corev1.Node) string {
	first := func(names ...string) string {
		for _, k := range names {
			if v := n.Labels[k]; v != "" {
				return v
			}
		}
		return ""
	}
	region := first(corev1.LabelTopologyRegion, corev1.LabelFailureDomainBetaRegion)
	zone := first(corev1.LabelTopologyZone, corev1.LabelFailureDomainBetaZone)
	if region == "" && zone == "" {
		return ""
	}
	return region + ":" + zone
}

// zone is a zone's state and the rate at which its nodes may be evicted.
type zone struct {
	nodes, ready int
	state        state
	rate         float64 // nodes per second
}

type rates struct {
	normal, secondary float64
	// large is the number of nodes above which a zone that is partly down is
	// evicted from at all.
	large int
	// threshold is the part of a zone that makes it partly down.
	threshold float64
}

// survey judges the zones. stopped means that none has a ready node.
func survey(nodes iter.Seq[*corev1.Node], r rates) (zones map[string]*zone, stopped bool) {
	zones = map[string]*zone{}
	for n := range nodes {
		z := zones[zoneOf(n)]
		if z == nil {
			z = &zone{}
			zones[zoneOf(n)] = z
		}
		z.nodes++
		if status(n, corev1.NodeReady) == corev1.ConditionTrue {
			z.ready++
		}
	}
	stopped = len(zones) > 0
	for _, z := range zones {
		z.judge(r)
		stopped = stopped && z.state == full
	}
	return zones, stopped
}

func (z *zone) judge(r rates) {
	down := z.nodes - z.ready
	switch {
	case z.ready == 0:
		z.state, z.rate = full, r.normal
	case down > 2 && float64(down) >= r.threshold*float64(z.nodes):
		z.state, z.rate = partial, 0
		if z.nodes > r.large {
			z.rate = r.secondary
		}
	default:
		z.state, z.rate = normal, r.normal
	}
}

func describe(zones map[string]*zone, stopped bool) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(zones)) {
		z := zones[name]
		fmt.Fprintf(&b, "zone %q %d/%d %s rate %g\n", name, z.ready, z.nodes, z.state, z.rate)
	}
	if stopped {
		b.WriteString("stopped\n")
	}
	return b.String()
}

// permits lets one node through at once, and then as many per second as the
// rate says.
type permits struct {
	// from is when the next may pass, by zone.
	from map[string]time.Time
}

// idle is how long to wait when the rate is none: it may change.
const idle = 5 * time.Second

// take reports whether a node of a zone may pass, and if not, when to ask again.
func (p *permits) take(name string, rate float64, now time.Time) (bool, time.Duration) {
	if rate <= 0 {
		return false, idle
	}
	if wait := p.from[name].Sub(now); wait > 0 {
		return false, wait
	}
	p.from[name] = now.Add(time.Duration(float64(time.Second) / rate))
	return true, 0
}
