package schedule

import (
	"math"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"xebec.dev/scheduler/internal/plugins/nodeselector"
	"xebec.dev/scheduler/internal/plugins/tainttoleration"
)

// naive is the dumb second implementation: it keeps objects and looks at all
// of them for every decision.
type naive struct {
	nodes      map[string]*corev1.Node
	pods       map[string]*corev1.Pod // placed
	namespaces map[string]map[string]string
	nominated  map[string][]*corev1.Pod
	services   map[string]*corev1.Service
}

func newNaive() *naive {
	return &naive{nodes: map[string]*corev1.Node{}, pods: map[string]*corev1.Pod{}, namespaces: map[string]map[string]string{}, nominated: map[string][]*corev1.Pod{}, services: map[string]*corev1.Service{}}
}

func (w *naive) on(node string) (out []*corev1.Pod) {
	for _, p := range w.pods {
		if p.Spec.NodeName == node {
			out = append(out, p)
		}
	}
	return out
}

func naiveRequests(p *corev1.Pod) (cpu, mem, scalar, nzCPU, nzMem int64) {
	for _, c := range p.Spec.Containers {
		r := c.Resources.Requests
		q, has := r[corev1.ResourceCPU]
		cpu += q.MilliValue()
		if nzCPU += q.MilliValue(); !has {
			nzCPU += 100
		}
		q, has = r[corev1.ResourceMemory]
		mem += q.Value()
		if nzMem += q.Value(); !has {
			nzMem += 200 << 20
		}
		q = r["example.com/gpu"]
		scalar += q.Value()
	}
	return
}

// verdict is why a node does not do, "" when it does.
func (w *naive) verdict(p *corev1.Pod, n *corev1.Node) string {
	var waiting []*corev1.Pod
	for _, o := range w.nominated[n.Name] {
		if o.UID != p.UID && priority(o) >= priority(p) {
			waiting = append(waiting, o)
		}
	}
	if len(waiting) > 0 {
		for _, o := range waiting {
			c := o.DeepCopy()
			c.Spec.NodeName = n.Name
			w.pods["nominated/"+string(o.UID)] = c
		}
		v := w.filters(p, n)
		for _, o := range waiting {
			delete(w.pods, "nominated/"+string(o.UID))
		}
		if v != "" {
			return v
		}
	}
	return w.filters(p, n)
}

func priority(p *corev1.Pod) int32 {
	if p.Spec.Priority == nil {
		return 0
	}
	return *p.Spec.Priority
}

func (w *naive) filters(p *corev1.Pod, n *corev1.Node) string {
	tolerates := func(key string) bool {
		return slices.ContainsFunc(p.Spec.Tolerations, func(t corev1.Toleration) bool {
			return tainttoleration.Tolerates(&t, &corev1.Taint{Key: key, Effect: corev1.TaintEffectNoSchedule})
		})
	}
	switch {
	case n.Spec.Unschedulable && !tolerates(corev1.TaintNodeUnschedulable):
		return "node(s) were unschedulable"
	case tainttoleration.Repels(n.Spec.Taints, p.Spec.Tolerations):
		return "node(s) had untolerated taint(s)"
	case !nodeselector.Required(&p.Spec, n):
		return "node(s) didn't match Pod's node affinity/selector"
	}
	here := w.on(n.Name)
	for _, o := range here {
		for _, a := range p.Spec.Containers[0].Ports {
			for _, b := range o.Spec.Containers[0].Ports {
				if a.HostPort > 0 && a.HostPort == b.HostPort && (a.HostIP == b.HostIP || a.HostIP == "" || b.HostIP == "") {
					return "node(s) didn't have free ports for the requested pod ports"
				}
			}
		}
	}
	if v := w.room(p, n, here); v != "" {
		return v
	}
	if v := w.spread(p, n); v != "" {
		return v
	}
	return w.affinity(p, n)
}

func (w *naive) room(p *corev1.Pod, n *corev1.Node, here []*corev1.Pod) string {
	var why []string
	if q := n.Status.Allocatable[corev1.ResourcePods]; int64(len(here))+1 > q.Value() {
		why = append(why, "Too many pods")
	}
	cpu, mem, scalar, _, _ := naiveRequests(p)
	var usedCPU, usedMem, usedScalar int64
	for _, o := range here {
		c, m, s, _, _ := naiveRequests(o)
		usedCPU, usedMem, usedScalar = usedCPU+c, usedMem+m, usedScalar+s
	}
	for _, r := range []struct {
		name         corev1.ResourceName
		used, wanted int64
	}{{corev1.ResourceCPU, usedCPU, cpu}, {corev1.ResourceMemory, usedMem, mem}, {"example.com/gpu", usedScalar, scalar}} {
		if r.wanted > 0 && r.used+r.wanted > allocatable(n, r.name) {
			why = append(why, "Insufficient "+string(r.name))
		}
	}
	slices.Sort(why)
	return strings.Join(why, "|")
}

func allocatable(n *corev1.Node, name corev1.ResourceName) int64 {
	q := n.Status.Allocatable[name]
	if name == corev1.ResourceCPU {
		return q.MilliValue()
	}
	return q.Value()
}

func selected(s *metav1.LabelSelector, p *corev1.Pod) bool {
	sel, err := metav1.LabelSelectorAsSelector(s)
	return err == nil && sel.Matches(labels.Set(p.Labels))
}

func hasKeys(n *corev1.Node, list []corev1.TopologySpreadConstraint) bool {
	for _, t := range list {
		if _, ok := n.Labels[t.TopologyKey]; !ok {
			return false
		}
	}
	return true
}

func included(p *corev1.Pod, n *corev1.Node, t *corev1.TopologySpreadConstraint) bool {
	if (t.NodeAffinityPolicy == nil || *t.NodeAffinityPolicy == corev1.NodeInclusionPolicyHonor) && !nodeselector.Required(&p.Spec, n) {
		return false
	}
	return t.NodeTaintsPolicy == nil || *t.NodeTaintsPolicy == corev1.NodeInclusionPolicyIgnore || !tainttoleration.Repels(n.Spec.Taints, p.Spec.Tolerations)
}

func (w *naive) constraints(p *corev1.Pod, action corev1.UnsatisfiableConstraintAction) (out []corev1.TopologySpreadConstraint) {
	for _, t := range p.Spec.TopologySpreadConstraints {
		if t.WhenUnsatisfiable == action {
			out = append(out, t)
		}
	}
	return out
}

// counted pods of a constraint on a node.
func (w *naive) counted(p *corev1.Pod, n *corev1.Node, t *corev1.TopologySpreadConstraint) (count int) {
	for _, o := range w.on(n.Name) {
		if o.Namespace == p.Namespace && o.DeletionTimestamp == nil && selected(t.LabelSelector, o) {
			count++
		}
	}
	return count
}

func (w *naive) spread(p *corev1.Pod, n *corev1.Node) string {
	hard := w.constraints(p, corev1.DoNotSchedule)
	for i := range hard {
		t := &hard[i]
		value, ok := n.Labels[t.TopologyKey]
		if !ok {
			return "node(s) didn't match pod topology spread constraints (missing required label)"
		}
		domains := map[string]int{}
		for _, o := range w.nodes {
			if hasKeys(o, hard) && included(p, o, t) {
				domains[o.Labels[t.TopologyKey]] += w.counted(p, o, t)
			}
		}
		least := math.MaxInt
		for _, c := range domains {
			least = min(least, c)
		}
		if minDomains := 1; len(domains) < minDomains || t.MinDomains != nil && len(domains) < int(*t.MinDomains) {
			least = 0
		}
		self := 0
		if selected(t.LabelSelector, p) {
			self = 1
		}
		if domains[value]+self-least > int(t.MaxSkew) {
			return "node(s) didn't match pod topology spread constraints"
		}
	}
	return ""
}

// means reports whether a term of owner's means p.
func (w *naive) means(owner *corev1.Pod, t *corev1.PodAffinityTerm, p *corev1.Pod) bool {
	in := slices.Contains(t.Namespaces, p.Namespace)
	if t.NamespaceSelector != nil {
		s, err := metav1.LabelSelectorAsSelector(t.NamespaceSelector)
		in = in || err == nil && s.Matches(labels.Set(w.namespaces[p.Namespace]))
	} else if len(t.Namespaces) == 0 {
		in = p.Namespace == owner.Namespace
	}
	return in && selected(t.LabelSelector, p)
}

func required(p *corev1.Pod) (near, away []corev1.PodAffinityTerm) {
	if a := p.Spec.Affinity; a != nil {
		if a.PodAffinity != nil {
			near = a.PodAffinity.RequiredDuringSchedulingIgnoredDuringExecution
		}
		if a.PodAntiAffinity != nil {
			away = a.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution
		}
	}
	return
}

func (w *naive) together(a, b *corev1.Node, key string) bool {
	if a == nil || b == nil {
		return false
	}
	va, ok := a.Labels[key]
	vb, ok2 := b.Labels[key]
	return ok && ok2 && va == vb
}

func (w *naive) affinity(p *corev1.Pod, n *corev1.Node) string {
	near, away := required(p)
	if len(near) > 0 && !w.nearEnough(p, n, near) {
		return "node(s) didn't match pod affinity rules"
	}
	for _, o := range w.pods {
		for i := range away {
			if w.means(p, &away[i], o) && w.together(n, w.nodes[o.Spec.NodeName], away[i].TopologyKey) {
				return "node(s) didn't match pod anti-affinity rules"
			}
		}
	}
	for _, o := range w.pods {
		_, theirs := required(o)
		for i := range theirs {
			if w.means(o, &theirs[i], p) && w.together(n, w.nodes[o.Spec.NodeName], theirs[i].TopologyKey) {
				return "node(s) didn't satisfy existing pods anti-affinity rules"
			}
		}
	}
	return ""
}

func (w *naive) nearEnough(p *corev1.Pod, n *corev1.Node, near []corev1.PodAffinityTerm) bool {
	all := func(o *corev1.Pod) bool {
		for i := range near {
			if !w.means(p, &near[i], o) {
				return false
			}
		}
		return true
	}
	anywhere, every := false, true
	for i := range near {
		if _, ok := n.Labels[near[i].TopologyKey]; !ok {
			return false
		}
		found := false
		for _, o := range w.pods {
			if at := w.nodes[o.Spec.NodeName]; at != nil && all(o) {
				if _, ok := at.Labels[near[i].TopologyKey]; ok {
					anywhere = true
				}
				found = found || w.together(n, at, near[i].TopologyKey)
			}
		}
		every = every && found
	}
	return every || !anywhere && all(p)
}
