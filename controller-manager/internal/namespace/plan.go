// Package namespace empties namespaces that are being deleted, and lets them
// go when nothing is left.
package namespace

import (
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// remains is what is left in a namespace after all was told to go.
type remains struct {
	// counts of objects and of finalizers that hold them, by resource and by
	// finalizer.
	counts, finalizers map[string]int
	// failures of listing and deleting, as texts.
	failures []string
	// wait is how long the pods that are left may still take.
	wait time.Duration
}

func (r *remains) empty() bool { return len(r.counts) == 0 && len(r.failures) == 0 }

// conditions are what the namespace's status says about the remains.
func conditions(r *remains) []corev1.NamespaceCondition {
	out := []corev1.NamespaceCondition{
		{Type: corev1.NamespaceDeletionDiscoveryFailure, Status: corev1.ConditionFalse, Reason: "ResourcesDiscovered", Message: "All resources successfully discovered"},
		{Type: corev1.NamespaceDeletionGVParsingFailure, Status: corev1.ConditionFalse, Reason: "ParsedGroupVersions", Message: "All legacy kube types successfully parsed"},
		{Type: corev1.NamespaceDeletionContentFailure, Status: corev1.ConditionFalse, Reason: "ContentDeleted", Message: "All content successfully deleted, may be waiting on finalization"},
		{Type: corev1.NamespaceContentRemaining, Status: corev1.ConditionFalse, Reason: "ContentRemoved", Message: "All content successfully removed"},
		{Type: corev1.NamespaceFinalizersRemaining, Status: corev1.ConditionFalse, Reason: "ContentHasNoFinalizers", Message: "All content-preserving finalizers finished"},
	}
	set := func(t corev1.NamespaceConditionType, reason, message string) {
		for i := range out {
			if out[i].Type == t {
				out[i].Status, out[i].Reason, out[i].Message = corev1.ConditionTrue, reason, message
			}
		}
	}
	if len(r.failures) > 0 {
		set(corev1.NamespaceDeletionContentFailure, "ContentDeletionFailed", "Failed to delete all resource types, "+failed(r.failures))
	}
	if len(r.counts) > 0 {
		set(corev1.NamespaceContentRemaining, "SomeResourcesRemain", "Some resources are remaining: "+enumerate(r.counts, "%s has %d resource instances"))
	}
	if len(r.finalizers) > 0 {
		set(corev1.NamespaceFinalizersRemaining, "SomeFinalizersRemain", "Some content in the namespace has finalizers remaining: "+enumerate(r.finalizers, "%s in %d resource instances"))
	}
	return out
}

func failed(texts []string) string {
	slices.Sort(texts)
	if len(texts) == 1 {
		return fmt.Sprintf("%d remaining: %s", len(texts), texts[0])
	}
	return fmt.Sprintf("%d remaining: [%s]", len(texts), strings.Join(texts, ", "))
}

func enumerate(counts map[string]int, format string) string {
	var out []string
	for name, n := range counts {
		out = append(out, fmt.Sprintf(format, name, n))
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

// merge puts conditions into a status and reports whether that changed it.
// Those of successes appear only where a failure stood before, but for a
// namespace that has none yet.
func merge(s *corev1.NamespaceStatus, now time.Time, all []corev1.NamespaceCondition) bool {
	changed := false
	for _, c := range all {
		i := slices.IndexFunc(s.Conditions, func(o corev1.NamespaceCondition) bool { return o.Type == c.Type })
		c.LastTransitionTime = metav1.NewTime(now)
		switch {
		case i < 0:
			s.Conditions = append(s.Conditions, c)
		case s.Conditions[i].Status == c.Status && s.Conditions[i].Reason == c.Reason && s.Conditions[i].Message == c.Message:
			continue
		default:
			if s.Conditions[i].Status == c.Status {
				c.LastTransitionTime = s.Conditions[i].LastTransitionTime
			}
			s.Conditions[i] = c
		}
		changed = true
	}
	return changed
}

// again is when to look at a namespace that is not yet empty.
func again(r *remains) time.Duration {
	const atLeast = time.Second
	return max(r.wait/2, atLeast)
}
