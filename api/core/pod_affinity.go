package core

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/check"
)

const (
	requiredTerms  = "requiredDuringSchedulingIgnoredDuringExecution"
	preferredTerms = "preferredDuringSchedulingIgnoredDuringExecution"
)

func (c *podChecks) affinity(a *corev1.Affinity, p *field.Path) field.ErrorList {
	if a == nil {
		return nil
	}
	var errs field.ErrorList
	if a.NodeAffinity != nil {
		errs = append(errs, c.nodeAffinity(a.NodeAffinity, p.Child("nodeAffinity"))...)
	}
	if t := a.PodAffinity; t != nil {
		errs = append(errs, c.podAffinity(t.RequiredDuringSchedulingIgnoredDuringExecution, t.PreferredDuringSchedulingIgnoredDuringExecution, p.Child("podAffinity"))...)
	}
	if t := a.PodAntiAffinity; t != nil {
		errs = append(errs, c.podAffinity(t.RequiredDuringSchedulingIgnoredDuringExecution, t.PreferredDuringSchedulingIgnoredDuringExecution, p.Child("podAntiAffinity"))...)
	}
	return errs
}

func (c *podChecks) nodeAffinity(a *corev1.NodeAffinity, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	if n := a.RequiredDuringSchedulingIgnoredDuringExecution; n != nil {
		errs = append(errs, ValidateNodeSelector(n, c.relaxed.badNodeValues, p.Child(requiredTerms))...)
	}
	for i := range a.PreferredDuringSchedulingIgnoredDuringExecution {
		t, at := &a.PreferredDuringSchedulingIgnoredDuringExecution[i], p.Child(preferredTerms).Index(i)
		errs = append(errs, weight(t.Weight, at)...)
		errs = append(errs, validateNodeSelectorTerm(&t.Preference, true, at.Child("preference"))...)
	}
	return errs
}

func weight(w int32, p *field.Path) field.ErrorList {
	if w >= 1 && w <= 100 {
		return nil
	}
	return field.ErrorList{field.Invalid(p.Child("weight"), w, "must be in the range 1-100")}
}

// ValidateNodeSelector checks a node selector of a pod, a volume or a resource
// claim. anyValue takes values that no node label can have.
func ValidateNodeSelector(n *corev1.NodeSelector, anyValue bool, p *field.Path) field.ErrorList {
	p = p.Child("nodeSelectorTerms")
	if len(n.NodeSelectorTerms) == 0 {
		return field.ErrorList{field.Required(p, "must have at least one node selector term")}
	}
	var errs field.ErrorList
	for i := range n.NodeSelectorTerms {
		errs = append(errs, validateNodeSelectorTerm(&n.NodeSelectorTerms[i], anyValue, p.Index(i))...)
	}
	return errs
}

func validateNodeSelectorTerm(t *corev1.NodeSelectorTerm, anyValue bool, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i := range t.MatchExpressions {
		errs = append(errs, validateNodeRequirement(&t.MatchExpressions[i], anyValue, p.Child("matchExpressions").Index(i))...)
	}
	for i := range t.MatchFields {
		errs = append(errs, validateNodeField(&t.MatchFields[i], p.Child("matchFields").Index(i))...)
	}
	return errs
}

func validateNodeRequirement(r *corev1.NodeSelectorRequirement, anyValue bool, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	switch r.Operator {
	case corev1.NodeSelectorOpIn, corev1.NodeSelectorOpNotIn:
		if len(r.Values) == 0 {
			errs = append(errs, field.Required(p.Child("values"), "must be specified when `operator` is 'In' or 'NotIn'"))
		}
	case corev1.NodeSelectorOpExists, corev1.NodeSelectorOpDoesNotExist:
		if len(r.Values) > 0 {
			errs = append(errs, field.Forbidden(p.Child("values"), "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"))
		}
	case corev1.NodeSelectorOpGt, corev1.NodeSelectorOpLt:
		if len(r.Values) != 1 {
			errs = append(errs, field.Required(p.Child("values"), "must be specified single value when `operator` is 'Lt' or 'Gt'"))
		}
	default:
		errs = append(errs, field.Invalid(p.Child("operator"), r.Operator, "not a valid selector operator"))
	}
	errs = append(errs, metav1validation.ValidateLabelName(r.Key, p.Child("key"))...)
	if !anyValue {
		for i, v := range r.Values {
			errs = append(errs, check.Messages(p.Child("values").Index(i), v, utilvalidation.IsValidLabelValue(v))...)
		}
	}
	return errs
}

// validateNodeField knows the one field of nodes that can be selected.
func validateNodeField(r *corev1.NodeSelectorRequirement, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	switch r.Operator {
	case corev1.NodeSelectorOpIn, corev1.NodeSelectorOpNotIn:
		if len(r.Values) != 1 {
			errs = append(errs, field.Required(p.Child("values"), "must be only one value when `operator` is 'In' or 'NotIn' for node field selector"))
		}
	default:
		errs = append(errs, field.Invalid(p.Child("operator"), r.Operator, "not a valid selector operator"))
	}
	if r.Key != metav1.ObjectNameField {
		return append(errs, field.Invalid(p.Child("key"), r.Key, "not a valid field selector key"))
	}
	for i, v := range r.Values {
		errs = append(errs, check.Subdomain(p.Child("values").Index(i), v)...)
	}
	return errs
}

func (c *podChecks) podAffinity(terms []corev1.PodAffinityTerm, preferred []corev1.WeightedPodAffinityTerm, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i := range terms {
		errs = append(errs, c.podAffinityTerm(&terms[i], p.Child(requiredTerms).Index(i))...)
	}
	for i := range preferred {
		at := p.Child(preferredTerms).Index(i)
		errs = append(errs, weight(preferred[i].Weight, at)...)
		errs = append(errs, c.podAffinityTerm(&preferred[i].PodAffinityTerm, at.Child("podAffinityTerm"))...)
	}
	return errs
}

func (c *podChecks) podAffinityTerm(t *corev1.PodAffinityTerm, p *field.Path) field.ErrorList {
	o := metav1validation.LabelSelectorValidationOptions{AllowInvalidLabelValueInSelector: c.relaxed.badSelectorValues}
	errs := metav1validation.ValidateLabelSelector(t.LabelSelector, o, p.Child("labelSelector"))
	errs = append(errs, metav1validation.ValidateLabelSelector(t.NamespaceSelector, o, p.Child("namespaceSelector"))...)
	for _, n := range t.Namespaces {
		errs = append(errs, check.Label(p.Child("namespace"), n)...)
	}
	errs = append(errs, validateLabelKeys(t.MatchLabelKeys, t.LabelSelector, p, "matchLabelKeys")...)
	errs = append(errs, validateLabelKeys(t.MismatchLabelKeys, t.LabelSelector, p, "mismatchLabelKeys")...)
	for i, k := range t.MatchLabelKeys {
		if slices.Contains(t.MismatchLabelKeys, k) {
			errs = append(errs, field.Invalid(p.Child("matchLabelKeys").Index(i), k, "exists in both matchLabelKeys and mismatchLabelKeys"))
		}
	}
	if t.TopologyKey == "" {
		errs = append(errs, field.Required(p.Child("topologyKey"), "can not be empty"))
	}
	return append(errs, metav1validation.ValidateLabelName(t.TopologyKey, p.Child("topologyKey"))...)
}

// validateLabelKeys checks keys whose values come from the pod's own labels.
// By the time of validation they are in the selector too, once; twice means
// that the user has also selected by the key.
func validateLabelKeys(keys []string, s *metav1.LabelSelector, p *field.Path, name string) field.ErrorList {
	if len(keys) == 0 {
		return nil
	}
	if s == nil {
		return field.ErrorList{field.Forbidden(p.Child(name), "must not be specified when labelSelector is not set")}
	}
	var errs field.ErrorList
	for i, k := range keys {
		errs = append(errs, metav1validation.ValidateLabelName(k, p.Child(name).Index(i))...)
		if timesSelected(s, k) > 1 {
			errs = append(errs, field.Invalid(p.Child(name).Index(i), k, "exists in both "+name+" and labelSelector"))
		}
	}
	return errs
}

func timesSelected(s *metav1.LabelSelector, key string) int {
	n := 0
	if _, ok := s.MatchLabels[key]; ok {
		n++
	}
	for i := range s.MatchExpressions {
		if s.MatchExpressions[i].Key == key {
			n++
		}
	}
	return n
}
