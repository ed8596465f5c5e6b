// Package nodelifecycle watches over nodes: one that is silent for too long
// becomes Unknown, and taints follow what its conditions say. Pods of nodes
// that are gone are left to taint eviction.
package nodelifecycle

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// observed is what is known of a node.
type observed struct {
	node *corev1.Node
	// heard is when the last sign of life was seen, by the clock here: those
	// of nodes may differ.
	heard, now time.Time
	// grace is how long a node may be silent; start how long before its first
	// status.
	grace, start time.Duration
	// stopped is set while all zones are down: the fault is more likely here
	// than there, and nobody is evicted.
	stopped bool
}

// Plan is what to do about a node. When conditions change the rest waits for
// the next look.
type Plan struct {
	Conditions []corev1.NodeCondition
	// WasReady is set when the conditions end the node's being ready.
	WasReady bool
	// MarkPods: the node's pods can't be known to be ready.
	MarkPods    bool
	Add, Remove []corev1.Taint
	// Evict is a taint that waits until the zone's rate permits it.
	Evict  *corev1.Taint
	Labels map[string]string
	// Again is when to look again; 0 is when something changes.
	Again time.Duration
}

func (p Plan) String() string {
	var b strings.Builder
	for _, c := range p.Conditions {
		fmt.Fprintf(&b, "condition %s=%s %s: %s\n", c.Type, c.Status, c.Reason, c.Message)
	}
	if p.WasReady {
		b.WriteString("was ready\n")
	}
	if p.MarkPods {
		b.WriteString("mark pods\n")
	}
	for _, t := range p.Add {
		b.WriteString("taint " + t.ToString() + "\n")
	}
	for _, t := range p.Remove {
		b.WriteString("untaint " + t.ToString() + "\n")
	}
	if p.Evict != nil {
		b.WriteString("evict " + p.Evict.ToString() + "\n")
	}
	for _, k := range slices.Sorted(maps.Keys(p.Labels)) {
		fmt.Fprintf(&b, "label %s=%s\n", k, p.Labels[k])
	}
	if p.Again > 0 {
		fmt.Fprintf(&b, "again in %s\n", p.Again)
	}
	return b.String()
}

// watched are the conditions that a silent node's kubelet would report.
var watched = []corev1.NodeConditionType{corev1.NodeReady, corev1.NodeMemoryPressure, corev1.NodeDiskPressure, corev1.NodePIDPressure}

func condition(n *corev1.Node, t corev1.NodeConditionType) *corev1.NodeCondition {
	for i := range n.Status.Conditions {
		if n.Status.Conditions[i].Type == t {
			return &n.Status.Conditions[i]
		}
	}
	return nil
}

func status(n *corev1.Node, t corev1.NodeConditionType) corev1.ConditionStatus {
	if c := condition(n, t); c != nil {
		return c.Status
	}
	return ""
}

// left is for how much longer the node may be silent; 0 when its time is up.
func (o *observed) left() time.Duration {
	grace := o.grace
	if condition(o.node, corev1.NodeReady) == nil {
		grace = o.start
	}
	return max(o.heard.Add(grace).Sub(o.now), 0)
}

func plan(o observed) Plan {
	var p Plan
	if o.node.DeletionTimestamp != nil {
		return p
	}
	if left := o.left(); left > 0 {
		p.Again = left
	} else {
		p.Conditions = unknown(o.node, o.now)
		p.WasReady = len(p.Conditions) > 0 && status(o.node, corev1.NodeReady) == corev1.ConditionTrue
		if len(p.Conditions) > 0 {
			return p
		}
	}
	p.MarkPods = status(o.node, corev1.NodeReady) == corev1.ConditionUnknown
	p.schedule(o.node)
	p.execute(o.node, o.stopped)
	for i := range p.Add {
		p.Add[i].TimeAdded = &metav1.Time{Time: o.now}
	}
	if p.Evict != nil {
		p.Evict.TimeAdded = &metav1.Time{Time: o.now}
	}
	p.Labels = labels(o.node)
	return p
}

// unknown are the conditions of a node that is silent.
func unknown(n *corev1.Node, now time.Time) (out []corev1.NodeCondition) {
	for _, t := range watched {
		c := condition(n, t)
		switch {
		case c == nil:
			out = append(out, corev1.NodeCondition{
				Type: t, Status: corev1.ConditionUnknown, Reason: "NodeStatusNeverUpdated", Message: "Kubelet never posted node status.",
				LastHeartbeatTime: n.CreationTimestamp, LastTransitionTime: metav1.NewTime(now),
			})
		case c.Status != corev1.ConditionUnknown:
			next := *c
			next.Status, next.Reason, next.Message = corev1.ConditionUnknown, "NodeStatusUnknown", "Kubelet stopped posting node status."
			next.LastTransitionTime = metav1.NewTime(now)
			out = append(out, next)
		}
	}
	// A patch gives the list its order, and people are used to the node's.
	place := func(c corev1.NodeCondition) int {
		i := slices.IndexFunc(n.Status.Conditions, func(k corev1.NodeCondition) bool { return k.Type == c.Type })
		if i < 0 {
			return len(n.Status.Conditions)
		}
		return i
	}
	slices.SortStableFunc(out, func(a, b corev1.NodeCondition) int { return place(a) - place(b) })
	return out
}

// rules say which status of a condition means which taint.
var rules = []struct {
	condition corev1.NodeConditionType
	status    corev1.ConditionStatus
	key       string
}{
	{corev1.NodeReady, corev1.ConditionFalse, corev1.TaintNodeNotReady},
	{corev1.NodeReady, corev1.ConditionUnknown, corev1.TaintNodeUnreachable},
	{corev1.NodeMemoryPressure, corev1.ConditionTrue, corev1.TaintNodeMemoryPressure},
	{corev1.NodeDiskPressure, corev1.ConditionTrue, corev1.TaintNodeDiskPressure},
	{corev1.NodePIDPressure, corev1.ConditionTrue, corev1.TaintNodePIDPressure},
	{corev1.NodeNetworkUnavailable, corev1.ConditionTrue, corev1.TaintNodeNetworkUnavailable},
}

// schedule keeps the taints that hold new pods off.
func (p *Plan) schedule(n *corev1.Node) {
	for _, r := range rules {
		if condition(n, r.condition) == nil && r.key == corev1.TaintNodeNotReady {
			continue // admission tainted a node that has not said anything yet
		}
		p.want(n, r.key, corev1.TaintEffectNoSchedule, status(n, r.condition) == r.status)
	}
	p.want(n, corev1.TaintNodeUnschedulable, corev1.TaintEffectNoSchedule, n.Spec.Unschedulable)
}

func (p *Plan) want(n *corev1.Node, key string, effect corev1.TaintEffect, wanted bool) {
	have := taint(n, key, effect)
	switch {
	case wanted && have == nil:
		p.Add = append(p.Add, corev1.Taint{Key: key, Effect: effect})
	case !wanted && have != nil:
		p.Remove = append(p.Remove, *have)
	}
}

func taint(n *corev1.Node, key string, effect corev1.TaintEffect) *corev1.Taint {
	for i := range n.Spec.Taints {
		if t := &n.Spec.Taints[i]; t.Key == key && t.Effect == effect {
			return t
		}
	}
	return nil
}

// execute keeps the taints that drive pods away. One that replaces the other
// needs no permission.
func (p *Plan) execute(n *corev1.Node, stopped bool) {
	var wanted string
	switch status(n, corev1.NodeReady) {
	case corev1.ConditionFalse:
		wanted = corev1.TaintNodeNotReady
	case corev1.ConditionUnknown:
		wanted = corev1.TaintNodeUnreachable
	}
	if stopped {
		wanted = ""
	}
	replaced := false
	for _, key := range []string{corev1.TaintNodeNotReady, corev1.TaintNodeUnreachable} {
		if have := taint(n, key, corev1.TaintEffectNoExecute); have != nil && key != wanted {
			p.Remove = append(p.Remove, *have)
			replaced = true
		}
	}
	if wanted == "" || taint(n, wanted, corev1.TaintEffectNoExecute) != nil {
		return
	}
	t := corev1.Taint{Key: wanted, Effect: corev1.TaintEffectNoExecute}
	if replaced {
		p.Add = append(p.Add, t)
		return
	}
	p.Evict = &t
}

// twins are labels that have an old name beside the new.
var twins = []struct{ of, old string }{
	{corev1.LabelOSStable, "beta.kubernetes.io/os"}, {corev1.LabelArchStable, "beta.kubernetes.io/arch"},
}

func labels(n *corev1.Node) map[string]string {
	var out map[string]string
	for _, t := range twins {
		if v, ok := n.Labels[t.of]; ok && n.Labels[t.old] != v {
			if out == nil {
				out = map[string]string{}
			}
			out[t.old] = v
		}
	}
	return out
}

// taints of a node once the plan is done.
func (p *Plan) taints(n *corev1.Node) []corev1.Taint {
	out := make([]corev1.Taint, 0, len(n.Spec.Taints)+len(p.Add))
	for i := range n.Spec.Taints {
		if t := &n.Spec.Taints[i]; !slices.ContainsFunc(p.Remove, func(r corev1.Taint) bool { return r.MatchTaint(t) }) {
			out = append(out, *t)
		}
	}
	return append(out, p.Add...)
}
