package podtopologyspread

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"

	"xebec.dev/scheduler/internal/cache"
	"xebec.dev/scheduler/internal/plugins/nodeselector"
	"xebec.dev/scheduler/internal/plugins/tainttoleration"
)

// constraint is one of a class of pods, with its counts.
type constraint struct {
	topology   *cache.Topology
	pods       *cache.Counter
	maxSkew    int32
	minDomains int32
	self       int32 // 1 when the pod counts itself
	// byAffinity and byTaints: nodes the pod can't go to do not count.
	byAffinity, byTaints bool
	// single: what counts is what is on the node.
	single bool

	// By node index: what the node adds at present, -1 when it does not count.
	added  []int32
	domain []int32 // that it is added to

	// Sums by domain; in single mode counts of nodes by their sum.
	count     map[int32]*sum
	histogram map[int32]int
	members   int
	// lowest is least's answer while fresh.
	lowest int32
	fresh  bool
}

type sum struct{ pods, nodes int32 }

func newConstraint(c *cache.Cluster, p *cache.Pod, namespace string, of *corev1.TopologySpreadConstraint, selector labels.Selector) *constraint {
	term := cache.NewTerm([]string{namespace}, nil, selector)
	out := &constraint{
		pods:     c.CounterOf([]cache.Term{term}, true),
		topology: c.Topology(of.TopologyKey), maxSkew: of.MaxSkew, minDomains: 1, byAffinity: true,
		count: map[int32]*sum{}, histogram: map[int32]int{},
	}
	out.single = out.topology.Single()
	if c.Matches(&term, c.LabelsOf(p)) {
		out.self = 1
	}
	if of.MinDomains != nil {
		out.minDomains = *of.MinDomains
	}
	if of.NodeAffinityPolicy != nil {
		out.byAffinity = *of.NodeAffinityPolicy == corev1.NodeInclusionPolicyHonor
	}
	if of.NodeTaintsPolicy != nil {
		out.byTaints = *of.NodeTaintsPolicy == corev1.NodeInclusionPolicyHonor
	}
	return out
}

// includes reports whether pods on a node count.
func (k *constraint) includes(spec *corev1.PodSpec, n *corev1.Node) bool {
	if k.byAffinity && !nodeselector.Required(spec, n) {
		return false
	}
	return !k.byTaints || !tainttoleration.Repels(n.Spec.Taints, spec.Tolerations)
}

// update brings the sums up to date with a node that counts or not.
func (k *constraint) update(i int32, counts bool) {
	for int(i) >= len(k.added) {
		k.added = append(k.added, -1)
		k.domain = append(k.domain, -1)
	}
	d, now := k.topology.Domain[i], int32(-1)
	if counts && d >= 0 {
		now = k.pods.Count[i]
	}
	was, at := k.added[i], k.domain[i]
	if was == now && (now < 0 || at == d) {
		return
	}
	if was >= 0 {
		k.take(at, was)
	}
	if now >= 0 {
		k.give(d, now)
	}
	k.added[i], k.domain[i] = now, d
}

func (k *constraint) give(domain, pods int32) {
	k.members++
	k.fresh = false
	if k.single {
		k.histogram[pods]++
		return
	}
	s := k.count[domain]
	if s == nil {
		s = &sum{}
		k.count[domain] = s
	}
	s.pods += pods
	s.nodes++
}

func (k *constraint) take(domain, pods int32) {
	k.members--
	k.fresh = false
	if k.single {
		if k.histogram[pods]--; k.histogram[pods] == 0 {
			delete(k.histogram, pods)
		}
		return
	}
	s := k.count[domain]
	s.pods -= pods
	if s.nodes--; s.nodes == 0 {
		delete(k.count, domain)
	}
}

// least is the smallest count of a domain.
func (k *constraint) least() int32 {
	if !k.fresh {
		k.lowest, k.fresh = k.findLeast(), true
	}
	return k.lowest
}

func (k *constraint) findLeast() int32 {
	domains, least := 0, int32(-1)
	if k.single {
		domains = k.members
		for pods := range k.histogram {
			if least < 0 || pods < least {
				least = pods
			}
		}
	} else {
		domains = len(k.count)
		for _, s := range k.count {
			if least < 0 || s.pods < least {
				least = s.pods
			}
		}
	}
	if domains < int(k.minDomains) || least < 0 {
		return 0
	}
	return least
}

// part is the node's part of a key: its count in single mode, else its
// domain. -1 is a node without the label.
func (k *constraint) part(i int32) int32 {
	d := k.topology.Domain[i]
	if d < 0 || !k.single {
		return d
	}
	return max(k.added[i], 0)
}

// at is the count behind a part.
func (k *constraint) at(part int32) int32 {
	if k.single {
		return part
	}
	if s := k.count[part]; s != nil {
		return s.pods
	}
	return 0
}
