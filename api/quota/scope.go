package quota

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"xebec.dev/api/core"
)

// Scopes are a quota's scopes and scope selector as one list.
func Scopes(q *corev1.ResourceQuota) []corev1.ScopedResourceSelectorRequirement {
	var out []corev1.ScopedResourceSelectorRequirement
	for _, s := range q.Spec.Scopes {
		out = append(out, corev1.ScopedResourceSelectorRequirement{ScopeName: s, Operator: corev1.ScopeSelectorOpExists})
	}
	if s := q.Spec.ScopeSelector; s != nil {
		out = append(out, s.MatchExpressions...)
	}
	return out
}

// InScopes reports whether an object is in all of a quota's scopes.
func InScopes(q *corev1.ResourceQuota, obj runtime.Object) bool {
	if len(q.Spec.Scopes) == 0 && q.Spec.ScopeSelector == nil {
		return true
	}
	for _, s := range Scopes(q) {
		if !InScope(&s, obj) {
			return false
		}
	}
	return true
}

// InScope reports whether an object is in one scope.
func InScope(s *corev1.ScopedResourceSelectorRequirement, obj runtime.Object) bool {
	switch o := obj.(type) {
	case *corev1.Pod:
		return podInScope(s, &o.Spec)
	case *corev1.PersistentVolumeClaim:
		return s.ScopeName == corev1.ResourceQuotaScopeVolumeAttributesClass && anySelected(s, attributesClasses(o))
	}
	return false
}

func podInScope(s *corev1.ScopedResourceSelectorRequirement, spec *corev1.PodSpec) bool {
	switch s.ScopeName {
	case corev1.ResourceQuotaScopeTerminating:
		return spec.ActiveDeadlineSeconds != nil && *spec.ActiveDeadlineSeconds >= 0
	case corev1.ResourceQuotaScopeNotTerminating:
		return spec.ActiveDeadlineSeconds == nil || *spec.ActiveDeadlineSeconds < 0
	case corev1.ResourceQuotaScopeBestEffort:
		return core.PodQOS(spec) == corev1.PodQOSBestEffort
	case corev1.ResourceQuotaScopeNotBestEffort:
		return core.PodQOS(spec) != corev1.PodQOSBestEffort
	case corev1.ResourceQuotaScopePriorityClass:
		if s.Operator == corev1.ScopeSelectorOpExists && len(s.Values) == 0 {
			return spec.PriorityClassName != ""
		}
		return selected(s, spec.PriorityClassName)
	case corev1.ResourceQuotaScopeCrossNamespacePodAffinity:
		return crossesNamespaces(spec.Affinity)
	}
	return false
}

// selected compares one value, "" being none.
func selected(s *corev1.ScopedResourceSelectorRequirement, value string) bool {
	switch s.Operator {
	case corev1.ScopeSelectorOpExists:
		return value != ""
	case corev1.ScopeSelectorOpDoesNotExist:
		return value == ""
	case corev1.ScopeSelectorOpIn:
		return value != "" && slices.Contains(s.Values, value)
	case corev1.ScopeSelectorOpNotIn:
		return !slices.Contains(s.Values, value)
	}
	return false
}

// attributesClasses are the volume attributes classes that a claim has, gets
// and wants: all are taken until the change is through.
func attributesClasses(c *corev1.PersistentVolumeClaim) []string {
	var out []string
	addName := func(name *string) {
		if name != nil && *name != "" && !slices.Contains(out, *name) {
			out = append(out, *name)
		}
	}
	addName(c.Spec.VolumeAttributesClassName)
	addName(c.Status.CurrentVolumeAttributesClassName)
	if m := c.Status.ModifyVolumeStatus; m != nil {
		addName(&m.TargetVolumeAttributesClassName)
	}
	return out
}

func anySelected(s *corev1.ScopedResourceSelectorRequirement, values []string) bool {
	if len(values) == 0 {
		return selected(s, "")
	}
	return slices.ContainsFunc(values, func(v string) bool { return selected(s, v) })
}

func crossesNamespaces(a *corev1.Affinity) bool {
	if a == nil {
		return false
	}
	crosses := func(required []corev1.PodAffinityTerm, preferred []corev1.WeightedPodAffinityTerm) bool {
		for i := range required {
			if len(required[i].Namespaces) > 0 || required[i].NamespaceSelector != nil {
				return true
			}
		}
		for i := range preferred {
			if t := &preferred[i].PodAffinityTerm; len(t.Namespaces) > 0 || t.NamespaceSelector != nil {
				return true
			}
		}
		return false
	}
	if p := a.PodAffinity; p != nil && crosses(p.RequiredDuringSchedulingIgnoredDuringExecution, p.PreferredDuringSchedulingIgnoredDuringExecution) {
		return true
	}
	p := a.PodAntiAffinity
	return p != nil && crosses(p.RequiredDuringSchedulingIgnoredDuringExecution, p.PreferredDuringSchedulingIgnoredDuringExecution)
}
