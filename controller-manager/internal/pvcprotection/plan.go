// Package pvcprotection keeps claims that are deleted while pods use them.
package pvcprotection

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const finalizer = "kubernetes.io/pvc-protection"

// Plan is what to do about a claim; one of the fields at most is set.
type Plan struct {
	// Add the finalizer, which admission usually does.
	Add bool
	// Release the claim, once it is sure that nobody uses it.
	Release bool
}

func (p Plan) String() string {
	switch {
	case p.Add:
		return "add"
	case p.Release:
		return "release"
	}
	return ""
}

func plan(c *corev1.PersistentVolumeClaim, pods []*corev1.Pod) Plan {
	held := slices.Contains(c.Finalizers, finalizer)
	if c.DeletionTimestamp == nil {
		return Plan{Add: !held}
	}
	return Plan{Release: held && !slices.ContainsFunc(pods, func(p *corev1.Pod) bool { return uses(p, c) })}
}

// uses reports whether a pod may have the claim mounted: it has a node. That it
// has ended says nothing: its volumes may still be there, and its data is kept
// for as long as the pod is. An ephemeral volume's claim is its own pod's only.
func uses(p *corev1.Pod, c *corev1.PersistentVolumeClaim) bool {
	if p.Spec.NodeName == "" {
		return false
	}
	for i := range p.Spec.Volumes {
		v := &p.Spec.Volumes[i]
		if v.PersistentVolumeClaim != nil && v.PersistentVolumeClaim.ClaimName == c.Name {
			return true
		}
		if v.Ephemeral != nil && p.Name+"-"+v.Name == c.Name && slices.ContainsFunc(c.OwnerReferences, func(o metav1.OwnerReference) bool { return o.UID == p.UID }) {
			return true
		}
	}
	return false
}
