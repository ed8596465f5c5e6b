// Package placement says whether a pod may be on a node: its selectors, and
// the taints it tolerates. Everything here is pure.
package placement

import (
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// Matches reports whether a node is one that a pod's node selector and
// required node affinity ask for.
func Matches(spec *corev1.PodSpec, node *corev1.Node) bool {
	if len(spec.NodeSelector) > 0 && !labels.SelectorFromSet(spec.NodeSelector).Matches(labels.Set(node.Labels)) {
		return false
	}
	if spec.Affinity == nil || spec.Affinity.NodeAffinity == nil || spec.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution == nil {
		return true
	}
	return Selects(spec.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution, node)
}

// Selects reports whether a node satisfies one of the selector's terms. A term
// without requirements is satisfied by none.
func Selects(s *corev1.NodeSelector, node *corev1.Node) bool {
	return slices.ContainsFunc(s.NodeSelectorTerms, func(t corev1.NodeSelectorTerm) bool {
		if len(t.MatchExpressions)+len(t.MatchFields) == 0 {
			return false
		}
		for i := range t.MatchExpressions {
			r := &t.MatchExpressions[i]
			value, ok := node.Labels[r.Key]
			if !satisfies(r, value, ok) {
				return false
			}
		}
		for i := range t.MatchFields {
			r := &t.MatchFields[i]
			if r.Key != "metadata.name" || !satisfies(r, node.Name, true) {
				return false
			}
		}
		return true
	})
}

func satisfies(r *corev1.NodeSelectorRequirement, value string, present bool) bool {
	switch r.Operator {
	case corev1.NodeSelectorOpIn:
		return present && slices.Contains(r.Values, value)
	case corev1.NodeSelectorOpNotIn:
		return !present || !slices.Contains(r.Values, value)
	case corev1.NodeSelectorOpExists:
		return present
	case corev1.NodeSelectorOpDoesNotExist:
		return !present
	case corev1.NodeSelectorOpGt, corev1.NodeSelectorOpLt:
		if !present || len(r.Values) != 1 {
			return false
		}
		have, err := strconv.ParseInt(value, 10, 64)
		if err != nil {
			return false
		}
		bound, err := strconv.ParseInt(r.Values[0], 10, 64)
		if err != nil {
			return false
		}
		if r.Operator == corev1.NodeSelectorOpGt {
			return have > bound
		}
		return have < bound
	}
	return false
}

// Tolerates reports whether a toleration is of a taint.
func Tolerates(t *corev1.Toleration, taint *corev1.Taint) bool {
	if t.Effect != "" && t.Effect != taint.Effect || t.Key != "" && t.Key != taint.Key {
		return false
	}
	switch t.Operator {
	case corev1.TolerationOpExists:
		return true
	case "", corev1.TolerationOpEqual:
		return t.Value == taint.Value
	case corev1.TolerationOpGt, corev1.TolerationOpLt:
		have, err := strconv.ParseInt(taint.Value, 10, 64)
		if err != nil {
			return false
		}
		bound, err := strconv.ParseInt(t.Value, 10, 64)
		if err != nil {
			return false
		}
		if t.Operator == corev1.TolerationOpGt {
			return have > bound
		}
		return have < bound
	}
	return false
}

// Untolerated is the first taint of one of the effects that no toleration is
// of; nil when there is none.
func Untolerated(tolerations []corev1.Toleration, taints []corev1.Taint, effects ...corev1.TaintEffect) *corev1.Taint {
	for i := range taints {
		taint := &taints[i]
		if !slices.Contains(effects, taint.Effect) {
			continue
		}
		if !slices.ContainsFunc(tolerations, func(t corev1.Toleration) bool { return Tolerates(&t, taint) }) {
			return taint
		}
	}
	return nil
}
