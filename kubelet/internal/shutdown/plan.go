// Package shutdown ends the node's pods before the machine goes down: it has
// systemd-logind wait, ends pods by their priority, each within its time, and
// lets logind go on.
package shutdown

import (
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"xebec.dev/kubelet/internal/config"
)

// critical is the lowest priority of critical pods.
const critical = 2000000000

// Group is the time of pods from a priority on, up to the next group's.
type Group struct {
	Priority int32
	Time     time.Duration
}

// Groups are the configuration's, the least important first; none is no
// shutdown of this kind.
func Groups(cfg *config.Kubelet) []Group {
	var out []Group
	for _, g := range cfg.ShutdownByPriority {
		out = append(out, Group{g.Priority, time.Duration(g.Seconds) * time.Second})
	}
	if total, last := cfg.ShutdownGrace.Duration, cfg.ShutdownCritical.Duration; len(out) == 0 && total > 0 {
		out = []Group{{0, total - last}, {critical, last}}
	}
	slices.SortStableFunc(out, func(a, b Group) int { return int(int64(a.Priority) - int64(b.Priority)) })
	return out
}

// Total is how long all groups may take.
func Total(groups []Group) (d time.Duration) {
	for _, g := range groups {
		d += g.Time
	}
	return d
}

// Ending is one pod's end.
type Ending struct {
	Pod *corev1.Pod
	// Grace in seconds: the pod's own, or less.
	Grace int64
}

// Step is what ends together, and how long it is waited for.
type Step struct {
	Time    time.Duration
	Endings []Ending
}

// String prints a step on a line.
func (s Step) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "within %v:", s.Time)
	for _, e := range s.Endings {
		fmt.Fprintf(&b, " %s/%s in %ds", e.Pod.Namespace, e.Pod.Name, e.Grace)
	}
	return b.String()
}

// Plan decides which pods end when. Pods less important than every group go
// with the first.
func Plan(groups []Group, pods []*corev1.Pod) []Step {
	steps := make([]Step, len(groups))
	for i, g := range groups {
		steps[i].Time = g.Time
	}
	for _, pod := range pods {
		priority := int32(0)
		if pod.Spec.Priority != nil {
			priority = *pod.Spec.Priority
		}
		at := 0
		for i, g := range groups {
			if priority >= g.Priority {
				at = i
			}
		}
		grace := int64(groups[at].Time / time.Second)
		if own := pod.Spec.TerminationGracePeriodSeconds; own != nil && *own < grace {
			grace = *own
		}
		steps[at].Endings = append(steps[at].Endings, Ending{pod, grace})
	}
	return slices.DeleteFunc(steps, func(s Step) bool { return len(s.Endings) == 0 })
}
