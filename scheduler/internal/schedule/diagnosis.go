package schedule

import (
	"fmt"
	"slices"
	"strings"

	"xebec.dev/scheduler/internal/cache"
	"xebec.dev/scheduler/internal/framework"
)

// Diagnosis is why a pod fits nowhere, in Kubernetes' words.
type Diagnosis struct {
	Nodes int
	// PreFilter rejected the pod on all nodes, for this reason.
	PreFilter string
	// Reasons with the number of nodes.
	Reasons map[string]int
	// Plugins that rejected nodes; Pending those that wait for an event.
	Plugins, Pending map[string]bool
	// PostFilter is what came of making room.
	PostFilter string
	// None: there are no nodes at all.
	None bool

	class *class
	pod   *cache.Pod
	// special verdicts by node name: of extenders, or for nominated pods
	special map[string]*framework.Status
}

func (k *class) diagnose(p *cache.Pod) *Diagnosis {
	d := &Diagnosis{pod: p, Nodes: k.cluster.Len(), Reasons: map[string]int{}, Plugins: map[string]bool{}, Pending: map[string]bool{}, class: k}
	if k.reject != nil {
		d.PreFilter = k.reject.Message()
		d.plugin(k.reject)
		return d
	}
	seen := 0
	for st, nodes := range k.rejected {
		d.add(st, nodes)
		seen += nodes
	}
	for _, g := range k.list {
		if st := k.judge(&g.key); st != nil {
			d.add(st, len(g.heap))
		}
		seen += len(g.heap)
	}
	if k.elsewhere != nil && seen < d.Nodes {
		d.add(k.elsewhere, d.Nodes-seen)
	}
	d.nominated()
	return d
}

// nominated puts in the verdicts that pods waiting for a node give rise to:
// they are looked at before the node is without them.
func (d *Diagnosis) nominated() {
	k := d.class
	for n := range k.cluster.Waited {
		if len(k.nominated(n, d.pod)) == 0 || k.row(n.Index) == nil {
			continue
		}
		was, now := k.verdict(n), k.fits(n, d.pod)
		k.settle(n)
		if was == now || now == nil {
			continue
		}
		if was != nil {
			for _, r := range was.Reasons {
				if d.Reasons[r]--; d.Reasons[r] == 0 {
					delete(d.Reasons, r)
				}
			}
		}
		if d.special == nil {
			d.special = map[string]*framework.Status{}
		}
		d.special[n.Name] = now
		d.add(now, 1)
	}
}

func (d *Diagnosis) plugin(st *framework.Status) {
	if st.Is(framework.Pending) {
		d.Pending[st.Plugin] = true
	}
	d.Plugins[st.Plugin] = true
}

func (d *Diagnosis) add(st *framework.Status, nodes int) {
	for _, r := range st.Reasons {
		d.Reasons[r] += nodes
	}
	d.plugin(st)
}

func (d *Diagnosis) addSpecial(failed map[string]*framework.Status) {
	if d.special == nil {
		d.special = map[string]*framework.Status{}
	}
	for name, st := range failed {
		d.special[name] = st
		d.add(st, 1)
	}
}

// Histogram lists reasons with their numbers, as sorted text.
func Histogram(reasons map[string]int) string {
	out := make([]string, 0, len(reasons))
	for r, n := range reasons {
		out = append(out, fmt.Sprintf("%d %s", n, r))
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

// Message is that of the event FailedScheduling and of the pod's condition.
func (d *Diagnosis) Message() string {
	if d.None {
		return d.PreFilter
	}
	text := fmt.Sprintf("0/%d nodes are available:", d.Nodes)
	switch {
	case d.PreFilter != "":
		text += " " + d.PreFilter + "."
	case len(d.Reasons) > 0:
		text += " " + Histogram(d.Reasons) + "."
	}
	if d.PostFilter != "" {
		text += " " + d.PostFilter
	}
	return text
}

// Decided reports whether nodes were looked at: only then can room be made.
func (d *Diagnosis) Decided() bool { return d.class != nil }

// Verdict on a node, as of the decision.
func (d *Diagnosis) Verdict(n *cache.Node) *framework.Status {
	if st := d.special[n.Name]; st != nil {
		return st
	}
	return d.class.verdict(n)
}

// FitsNow evaluates the pod on a node as the cluster is at this moment:
// within a what-if. Settle must follow.
func (d *Diagnosis) FitsNow(n *cache.Node) *framework.Status { return d.class.fits(n, d.pod) }

// Settle ends what-ifs on a node.
func (d *Diagnosis) Settle(n *cache.Node) { d.class.settle(n) }
