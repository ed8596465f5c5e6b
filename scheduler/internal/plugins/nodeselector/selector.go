// Package nodeselector matches nodes: node selectors, their terms, and the
// affinity of pods and volumes to nodes.
package nodeselector

import (
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"
)

// Matches reports whether a term of the selector matches; one without terms
// matches nothing.
func Matches(s *corev1.NodeSelector, n *corev1.Node) bool {
	for i := range s.NodeSelectorTerms {
		if Term(&s.NodeSelectorTerms[i], n) {
			return true
		}
	}
	return false
}

// Term reports whether all expressions of a term match; an empty term matches
// nothing.
func Term(t *corev1.NodeSelectorTerm, n *corev1.Node) bool {
	if len(t.MatchExpressions) == 0 && len(t.MatchFields) == 0 {
		return false
	}
	for i := range t.MatchExpressions {
		e := &t.MatchExpressions[i]
		v, has := n.Labels[e.Key]
		if !requirement(e, v, has) {
			return false
		}
	}
	for i := range t.MatchFields {
		if e := &t.MatchFields[i]; e.Key != metadataName || !requirement(e, n.Name, true) {
			return false
		}
	}
	return true
}

const metadataName = "metadata.name"

func requirement(e *corev1.NodeSelectorRequirement, v string, has bool) bool {
	switch e.Operator {
	case corev1.NodeSelectorOpIn:
		return has && slices.Contains(e.Values, v)
	case corev1.NodeSelectorOpNotIn:
		return !has || !slices.Contains(e.Values, v)
	case corev1.NodeSelectorOpExists:
		return has
	case corev1.NodeSelectorOpDoesNotExist:
		return !has
	case corev1.NodeSelectorOpGt, corev1.NodeSelectorOpLt:
		if !has || len(e.Values) != 1 {
			return false
		}
		have, err := strconv.ParseInt(v, 10, 64)
		bound, err2 := strconv.ParseInt(e.Values[0], 10, 64)
		if err != nil || err2 != nil {
			return false
		}
		return e.Operator == corev1.NodeSelectorOpGt && have > bound || e.Operator == corev1.NodeSelectorOpLt && have < bound
	}
	return false
}

// Names is the nodes that a selector can match, when every term names them;
// nil when some term does not.
func Names(s *corev1.NodeSelector) []string {
	out := []string{}
	for i := range s.NodeSelectorTerms {
		names := namesOf(&s.NodeSelectorTerms[i])
		if names == nil {
			return nil
		}
		for _, n := range names {
			if !slices.Contains(out, n) {
				out = append(out, n)
			}
		}
	}
	return out
}

func namesOf(t *corev1.NodeSelectorTerm) []string {
	var out []string
	for i := range t.MatchFields {
		e := &t.MatchFields[i]
		if e.Key != metadataName || e.Operator != corev1.NodeSelectorOpIn {
			continue
		}
		if out == nil {
			out = slices.Clone(e.Values)
			continue
		}
		out = slices.DeleteFunc(out, func(n string) bool { return !slices.Contains(e.Values, n) })
	}
	return out
}

// Required reports whether a node is one that the pod's nodeSelector and
// required affinity allow.
func Required(s *corev1.PodSpec, n *corev1.Node) bool {
	for k, v := range s.NodeSelector {
		if have, ok := n.Labels[k]; !ok || have != v {
			return false
		}
	}
	if r := RequiredSelector(s); r != nil {
		return Matches(r, n)
	}
	return true
}

// RequiredSelector is the pod's required affinity, or nil.
func RequiredSelector(s *corev1.PodSpec) *corev1.NodeSelector {
	if s.Affinity == nil || s.Affinity.NodeAffinity == nil {
		return nil
	}
	return s.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution
}
