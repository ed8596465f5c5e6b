package core

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/check"
	"xebec.dev/api/internalform"
)

// ValidateNode checks a new node.
func ValidateNode(n *corev1.Node) field.ErrorList {
	var errs field.ErrorList
	// The paths of taints have always begun with "metadata".
	errs = append(errs, validateTaints(n.Spec.Taints, field.NewPath("metadata", "taints"))...)
	errs = append(errs, validateNodeAnnotations(n)...)
	errs = append(errs, validateNodeAmounts(n)...)
	return append(errs, validatePodCIDRs(n.Spec.PodCIDRs, field.NewPath("spec", "podCIDRs"))...)
}

// ValidateNodeUpdate is for the node and its status alike.
func ValidateNodeUpdate(n, old *corev1.Node) field.ErrorList {
	errs := validateNodeAnnotations(n)
	errs = append(errs, validateNodeAmounts(n)...)
	for i, a := range n.Status.Addresses {
		if slices.Contains(n.Status.Addresses[:i], a) {
			errs = append(errs, field.Duplicate(field.NewPath("status", "addresses").Index(i), internalform.Of(a)))
		}
	}
	spec := field.NewPath("spec")
	if len(old.Spec.PodCIDRs) > 0 && !slices.Equal(n.Spec.PodCIDRs, old.Spec.PodCIDRs) {
		errs = append(errs, field.Forbidden(spec.Child("podCIDRs"), `node updates may not change podCIDR except from "" to valid`))
	}
	if old.Spec.ProviderID != "" && n.Spec.ProviderID != old.Spec.ProviderID {
		errs = append(errs, field.Forbidden(spec.Child("providerID"), `node updates may not change providerID except from "" to valid`))
	}
	errs = append(errs, validateTaints(n.Spec.Taints, field.NewPath("metadata", "taints"))...)
	if n.Spec.DoNotUseExternalID != old.Spec.DoNotUseExternalID {
		errs = append(errs, field.Forbidden(spec.Child("externalID"), "may not be updated"))
	}
	return errs
}

func validateTaints(taints []corev1.Taint, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i := range taints {
		t := &taints[i]
		at := path.Index(i)
		errs = append(errs, metav1validation.ValidateLabelName(t.Key, at.Child("key"))...)
		if msgs := utilvalidation.IsValidLabelValue(t.Value); len(msgs) > 0 {
			errs = append(errs, field.Invalid(at.Child("value"), t.Value, strings.Join(msgs, ";")))
		}
		if t.Effect == "" {
			errs = append(errs, field.Required(at.Child("effect"), ""))
		} else {
			errs = append(errs, check.OneOf(at.Child("effect"), t.Effect,
				corev1.TaintEffectNoSchedule, corev1.TaintEffectPreferNoSchedule, corev1.TaintEffectNoExecute)...)
		}
		for j := range i {
			if taints[j].Key == t.Key && taints[j].Effect == t.Effect {
				twice := field.Duplicate(at, internalform.Of(*t))
				twice.Detail = "taints must be unique by key and effect pair"
				errs = append(errs, twice)
				break
			}
		}
	}
	return errs
}

// validateNodeAmounts checks the resources a node reports. Their names are the
// node's affair.
func validateNodeAmounts(n *corev1.Node) field.ErrorList {
	amounts := func(l corev1.ResourceList, of string) field.ErrorList {
		var errs field.ErrorList
		for name, q := range l {
			if q.Sign() >= 0 && q.MilliValue()%1000 == 0 {
				continue // the path below is made for few
			}
			errs = append(errs, validateAmount(name, q, field.NewPath("status", of, string(name)))...)
		}
		inOrder(errs)
		return errs
	}
	return append(amounts(n.Status.Capacity, "capacity"), amounts(n.Status.Allocatable, "allocatable")...)
}

func validatePodCIDRs(cidrs []string, path *field.Path) field.ErrorList {
	if len(cidrs) == 0 {
		return nil
	}
	var errs field.ErrorList
	for i, c := range cidrs {
		errs = append(errs, utilvalidation.IsValidCIDRForLegacyField(path.Index(i), c, true, nil)...)
	}
	if len(cidrs) == 1 {
		return errs
	}
	dual, err := isDualStack(cidrs)
	if err != nil {
		errs = append(errs, field.InternalError(path, fmt.Errorf("invalid PodCIDRs. failed to check with dual stack with error:%v", err)))
	}
	if !dual || len(cidrs) > 2 {
		errs = append(errs, field.Invalid(path, cidrs, "may specify no more than one CIDR for each IP family"))
	}
	for i, c := range cidrs {
		if slices.Contains(cidrs[:i], c) {
			errs = append(errs, field.Duplicate(path.Index(i), c))
		}
	}
	return errs
}

// isDualStack reports whether both families are among the ranges.
func isDualStack(cidrs []string) (bool, error) {
	v4, v6 := false, false
	for i, c := range cidrs {
		p, err := netip.ParsePrefix(c)
		if err != nil {
			return false, fmt.Errorf("invalid CIDR[%d]: <nil> (invalid CIDR address: %s)", i, c)
		}
		v4 = v4 || p.Addr().Is4()
		v6 = v6 || !p.Addr().Is4()
	}
	return v4 && v6, nil
}

// validateNodeAnnotations checks the annotation that names controllers whose
// pods better go elsewhere.
func validateNodeAnnotations(n *corev1.Node) field.ErrorList {
	text, ok := n.Annotations[corev1.PreferAvoidPodsAnnotationKey]
	if !ok || text == "" {
		return nil
	}
	path := field.NewPath("metadata", "annotations")
	var avoids corev1.AvoidPods
	if err := json.Unmarshal([]byte(text), &avoids); err != nil {
		return field.ErrorList{field.Invalid(path.Child("AvoidPods"), corev1.PreferAvoidPodsAnnotationKey, err.Error())}
	}
	var errs field.ErrorList
	for i := range avoids.PreferAvoidPods {
		at := path.Child(corev1.PreferAvoidPodsAnnotationKey).Index(i).Child("PodSignature")
		switch c := avoids.PreferAvoidPods[i].PodSignature.PodController; {
		case c == nil:
			errs = append(errs, field.Required(at, ""))
		case c.Controller == nil || !*c.Controller:
			errs = append(errs, field.Invalid(at.Child("PodController", "Controller"), c.Controller, "must point to a controller"))
		}
	}
	return errs
}
