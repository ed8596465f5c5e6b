package core

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/check"
)

// ValidateTolerations checks the taints that a pod tolerates.
func ValidateTolerations(list []corev1.Toleration, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i := range list {
		t := &list[i]
		if plainToleration(t) {
			continue
		}
		errs = append(errs, validateToleration(t, path.Index(i))...)
	}
	return errs
}

// plainToleration knows the ones that nearly every pod has.
func plainToleration(t *corev1.Toleration) bool {
	return t.Operator == corev1.TolerationOpExists && t.Value == "" && t.Effect == corev1.TaintEffectNoExecute &&
		(t.Key == corev1.TaintNodeNotReady || t.Key == corev1.TaintNodeUnreachable)
}

func validateToleration(t *corev1.Toleration, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	if t.Key != "" {
		errs = append(errs, metav1validation.ValidateLabelName(t.Key, p.Child("key"))...)
	} else if t.Operator != corev1.TolerationOpExists {
		errs = append(errs, field.Invalid(p.Child("operator"), t.Operator,
			"operator must be Exists when `key` is empty, which means \"match all values and all keys\""))
	}
	if t.TolerationSeconds != nil && t.Effect != corev1.TaintEffectNoExecute {
		errs = append(errs, field.Invalid(p.Child("effect"), t.Effect, "effect must be 'NoExecute' when `tolerationSeconds` is set"))
	}
	switch t.Operator {
	case corev1.TolerationOpEqual, "":
		if msgs := utilvalidation.IsValidLabelValue(t.Value); len(msgs) > 0 {
			errs = append(errs, field.Invalid(p.Child("operator"), t.Value, strings.Join(msgs, ";")))
		}
	case corev1.TolerationOpExists:
		if t.Value != "" {
			errs = append(errs, field.Invalid(p.Child("operator"), t.Value, "value must be empty when `operator` is 'Exists'"))
		}
	default:
		errs = append(errs, check.OneOf(p.Child("operator"), t.Operator, corev1.TolerationOpEqual, corev1.TolerationOpExists)...)
	}
	if t.Effect != "" {
		errs = append(errs, check.OneOf(p.Child("effect"), t.Effect, corev1.TaintEffectNoSchedule,
			corev1.TaintEffectPreferNoSchedule, corev1.TaintEffectNoExecute)...)
	}
	return errs
}

func (c *podChecks) topologySpread(path *field.Path) field.ErrorList {
	var errs field.ErrorList
	list := c.spec.TopologySpreadConstraints
	for i := range list {
		errs = append(errs, c.spreadConstraint(&list[i], list[i+1:], path.Index(i))...)
	}
	return errs
}

func (c *podChecks) spreadConstraint(t *corev1.TopologySpreadConstraint, rest []corev1.TopologySpreadConstraint, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	if t.MaxSkew <= 0 {
		errs = append(errs, field.Invalid(p.Child("maxSkew"), t.MaxSkew, "must be greater than zero"))
	}
	if t.TopologyKey == "" {
		errs = append(errs, field.Required(p.Child("topologyKey"), "can not be empty"))
	}
	errs = append(errs, check.OneOfSorted(p.Child("whenUnsatisfiable"), t.WhenUnsatisfiable, corev1.DoNotSchedule, corev1.ScheduleAnyway)...)
	for i := range rest {
		if rest[i].TopologyKey == t.TopologyKey && rest[i].WhenUnsatisfiable == t.WhenUnsatisfiable {
			errs = append(errs, field.Duplicate(p.Child("{topologyKey, whenUnsatisfiable}"), fmt.Sprintf("{%v, %v}", t.TopologyKey, t.WhenUnsatisfiable)))
			break
		}
	}
	if n := t.MinDomains; n != nil {
		if *n <= 0 {
			errs = append(errs, field.Invalid(p.Child("minDomains"), *n, "must be greater than zero"))
		}
		if t.WhenUnsatisfiable != corev1.DoNotSchedule {
			errs = append(errs, field.Invalid(p.Child("minDomains"), *n, fmt.Sprintf("can only use minDomains if whenUnsatisfiable=%s, not %s", corev1.DoNotSchedule, t.WhenUnsatisfiable)))
		}
	}
	if t.NodeAffinityPolicy != nil {
		errs = append(errs, check.OneOfSorted(p.Child("nodeAffinityPolicy"), *t.NodeAffinityPolicy, corev1.NodeInclusionPolicyHonor, corev1.NodeInclusionPolicyIgnore)...)
	}
	if t.NodeTaintsPolicy != nil {
		errs = append(errs, check.OneOfSorted(p.Child("nodeTaintsPolicy"), *t.NodeTaintsPolicy, corev1.NodeInclusionPolicyHonor, corev1.NodeInclusionPolicyIgnore)...)
	}
	errs = append(errs, validateLabelKeys(t.MatchLabelKeys, t.LabelSelector, p, "matchLabelKeys")...)
	o := metav1validation.LabelSelectorValidationOptions{AllowInvalidLabelValueInSelector: c.relaxed.badSpreadValues}
	return append(errs, metav1validation.ValidateLabelSelector(t.LabelSelector, o, p.Child("labelSelector"))...)
}

func validateSchedulingGates(gates []corev1.PodSchedulingGate, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i := range gates {
		errs = append(errs, check.QualifiedName(path.Index(i), gates[i].Name)...)
		if hasGate(gates[:i], gates[i].Name) {
			errs = append(errs, field.Duplicate(path.Index(i), gates[i].Name))
		}
	}
	return errs
}

func hasGate(gates []corev1.PodSchedulingGate, name string) bool {
	for i := range gates {
		if gates[i].Name == name {
			return true
		}
	}
	return false
}

func validateReadinessGates(gates []corev1.PodReadinessGate, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i := range gates {
		errs = append(errs, check.QualifiedName(path.Index(i).Child("conditionType"), string(gates[i].ConditionType))...)
	}
	return errs
}
