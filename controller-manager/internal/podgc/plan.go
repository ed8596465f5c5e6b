// Package podgc deletes pods that nobody else will: too many that have ended,
// those of nodes that are gone or out of service, and those that were deleted
// before they had a node.
package podgc

import (
	"cmp"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"xebec.dev/controller-manager/internal/pod"
)

// quarantine is how long a node must be missing: it may be new and not seen yet.
const quarantine = 40 * time.Second

// Action is a pod to be deleted by force.
type Action struct {
	Pod *corev1.Pod
	// Orphan: the pod says that its node is no more. It is checked once more
	// that this is so.
	Orphan bool
	Why    string
}

// Plan is what to delete.
type Plan []Action

func (p Plan) String() string {
	var b strings.Builder
	for _, a := range p {
		fmt.Fprintf(&b, "delete %s: %s\n", a.Pod.Name, a.Why)
	}
	return b.String()
}

type observed struct {
	pods iter.Seq[*corev1.Pod]
	node func(name string) (*corev1.Node, bool)
	// missing are since when nodes of pods are not there. plan keeps it.
	missing map[string]time.Time
	// most is how many pods may have ended; 0 is any number.
	most int
	now  time.Time
}

func plan(o observed) Plan {
	var out Plan
	var ended []*corev1.Pod
	absent := map[string]bool{}
	for p := range o.pods {
		finished := pod.Finished(p)
		if finished && p.DeletionTimestamp == nil {
			ended = append(ended, p)
		}
		if p.Spec.NodeName == "" {
			if p.DeletionTimestamp != nil {
				out = append(out, Action{Pod: p, Why: "deleted before it had a node"})
			}
			continue
		}
		n, ok := o.node(p.Spec.NodeName)
		switch {
		case !ok:
			absent[p.Spec.NodeName] = true
			if since, known := o.missing[p.Spec.NodeName]; !known {
				o.missing[p.Spec.NodeName] = o.now
			} else if o.now.Sub(since) >= quarantine {
				out = append(out, Action{Pod: p, Orphan: true, Why: "its node is gone"})
			}
		case p.DeletionTimestamp != nil && outOfService(n):
			out = append(out, Action{Pod: p, Why: "its node is out of service"})
		}
	}
	for name := range o.missing {
		if !absent[name] {
			delete(o.missing, name)
		}
	}
	if o.most <= 0 || len(ended) <= o.most {
		return out
	}
	slices.SortFunc(ended, func(a, b *corev1.Pod) int {
		return cmp.Or(cmp.Compare(evictedFirst(a), evictedFirst(b)), a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Name, b.Name))
	})
	for _, p := range ended[:len(ended)-o.most] {
		if !slices.ContainsFunc(out, func(a Action) bool { return a.Pod == p }) {
			out = append(out, Action{Pod: p, Why: "too many have ended"})
		}
	}
	return out
}

func evictedFirst(p *corev1.Pod) int {
	if p.Status.Reason == "Evicted" {
		return 0
	}
	return 1
}

// outOfService nodes are not ready, and somebody has said that they are down.
func outOfService(n *corev1.Node) bool {
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue {
			return false
		}
	}
	return slices.ContainsFunc(n.Spec.Taints, func(t corev1.Taint) bool { return t.Key == corev1.TaintNodeOutOfService })
}
