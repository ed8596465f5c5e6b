package core

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// DeprecatedNodeLabel is the warning about a well-known label of nodes that
// has a successor; "" for other labels.
func DeprecatedNodeLabel(key string) string {
	switch key {
	case "beta.kubernetes.io/arch":
		return `deprecated since v1.14; use "kubernetes.io/arch" instead`
	case "beta.kubernetes.io/os":
		return `deprecated since v1.14; use "kubernetes.io/os" instead`
	case corev1.LabelFailureDomainBetaRegion:
		return `deprecated since v1.17; use "topology.kubernetes.io/region" instead`
	case corev1.LabelFailureDomainBetaZone:
		return `deprecated since v1.17; use "topology.kubernetes.io/zone" instead`
	case corev1.LabelInstanceType:
		return `deprecated since v1.17; use "node.kubernetes.io/instance-type" instead`
	}
	return ""
}

// WarnNodeSelector speaks of deprecated labels in a node selector.
func WarnNodeSelector(s *corev1.NodeSelector, path *field.Path) []string {
	if s == nil {
		return nil
	}
	var warnings []string
	for i := range s.NodeSelectorTerms {
		warnings = append(warnings, WarnNodeSelectorTerm(&s.NodeSelectorTerms[i], path.Child("nodeSelectorTerms").Index(i))...)
	}
	return warnings
}

// WarnNodeSelectorTerm is WarnNodeSelector for one term.
func WarnNodeSelectorTerm(t *corev1.NodeSelectorTerm, path *field.Path) []string {
	var warnings []string
	for i := range t.MatchExpressions {
		key := t.MatchExpressions[i].Key
		if text := DeprecatedNodeLabel(key); text != "" {
			warnings = append(warnings, path.Child("matchExpressions").Index(i).Child("key").String()+": "+key+" is "+text)
		}
	}
	return warnings
}
