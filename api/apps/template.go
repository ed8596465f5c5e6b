package apps

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/core"
)

var (
	specPath     = field.NewPath("spec")
	statusPath   = field.NewPath("status")
	templatePath = specPath.Child("template")
	selectorPath = specPath.Child("selector")
)

// selectorRule says how a kind words what is wrong with its selector.
type selectorRule struct {
	// optional is true where a missing selector is no error of its own.
	optional bool
	// empty is said of a selector without requirements.
	empty string
	// unusable is said, after the details, of one that selects nothing
	// because it is malformed; nil means the details are enough.
	unusable *string
}

// validateSelector checks spec.selector and gives what it selects, or nil if
// it is malformed. What an update may keep: label values that were invalid.
func validateSelector(s *metav1.LabelSelector, keepValues bool, r selectorRule) (labels.Selector, field.ErrorList) {
	var errs field.ErrorList
	if s == nil {
		if !r.optional {
			errs = append(errs, field.Required(selectorPath, ""))
		}
		return labels.Nothing(), errs
	}
	o := metav1validation.LabelSelectorValidationOptions{AllowInvalidLabelValueInSelector: keepValues}
	errs = append(errs, metav1validation.ValidateLabelSelector(s, o, selectorPath)...)
	if len(s.MatchLabels)+len(s.MatchExpressions) == 0 {
		errs = append(errs, field.Invalid(selectorPath, s, r.empty))
	}
	selector, err := metav1.LabelSelectorAsSelector(s)
	if err == nil {
		return selector, errs
	}
	if r.unusable != nil {
		errs = append(errs, field.Invalid(selectorPath, s, *r.unusable))
	}
	return nil, errs
}

// keepsLabelValues is true when the old selector has an invalid label value,
// which then may stay.
func keepsLabelValues(old *metav1.LabelSelector) bool {
	return old != nil && metav1validation.LabelSelectorHasInvalidLabelValue(old)
}

// validateTemplateLabels checks that the pods to be made are selected.
func validateTemplateLabels(t *corev1.PodTemplateSpec, s labels.Selector) field.ErrorList {
	if s == nil || s.Empty() || s.Matches(labels.Set(t.Labels)) {
		return nil
	}
	return field.ErrorList{field.Invalid(templatePath.Child("metadata", "labels"), t.Labels,
		"`selector` does not match template `labels`")}
}

// validateTemplate checks the pod template; old is nil on create.
func validateTemplate(t, old *corev1.PodTemplateSpec) field.ErrorList {
	if old == nil {
		return core.ValidatePodTemplateSpec(t, templatePath)
	}
	return core.ValidatePodTemplateSpecUpdate(t, old, templatePath)
}

// validateLasting checks what pods that run until they are removed need:
// restarts without end. kind is how the message names the owner.
func validateLasting(t *corev1.PodTemplateSpec, kind string) field.ErrorList {
	var errs field.ErrorList
	if t.Spec.RestartPolicy != corev1.RestartPolicyAlways {
		errs = append(errs, field.NotSupported(templatePath.Child("spec", "restartPolicy"),
			t.Spec.RestartPolicy, []corev1.RestartPolicy{corev1.RestartPolicyAlways}))
	}
	if t.Spec.ActiveDeadlineSeconds != nil {
		errs = append(errs, field.Forbidden(templatePath.Child("spec", "activeDeadlineSeconds"),
			"activeDeadlineSeconds in "+kind+" is not Supported"))
	}
	return errs
}

// warnName warns of names that make poor hostnames of pods.
func warnName(name string) []string {
	problems := validation.IsDNS1123Label(name)
	if len(problems) == 0 {
		return nil
	}
	return []string{fmt.Sprintf("metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; a DNS label is recommended: %v", problems)}
}

func nonnegative(v int64, path *field.Path) field.ErrorList {
	if v >= 0 {
		return nil
	}
	return apivalidation.ValidateNonnegativeField(v, path)
}

// count is a number of a status that must not be negative.
type count struct {
	name  string
	value int64
}

func validateCounts(counts ...count) field.ErrorList {
	var errs field.ErrorList
	for _, c := range counts {
		if c.value < 0 {
			errs = append(errs, nonnegative(c.value, statusPath.Child(c.name))...)
		}
	}
	return errs
}

// validateAtMost checks that counts do not exceed another one.
func validateAtMost(limit int32, limitName string, counts ...count) field.ErrorList {
	var errs field.ErrorList
	for _, c := range counts {
		if c.value > int64(limit) {
			errs = append(errs, field.Invalid(statusPath.Child(c.name), int32(c.value), "cannot be greater than "+limitName))
		}
	}
	return errs
}

// validateCollisions checks that status.collisionCount only grows: a lower one
// would find names that are already taken.
func validateCollisions(n, old *int32) field.ErrorList {
	if old == nil {
		return nil
	}
	now := int32(0)
	if n != nil {
		now = *n
	}
	if now >= *old {
		return nil
	}
	return field.ErrorList{field.Invalid(statusPath.Child("collisionCount"), now, "cannot be decremented")}
}

// optionalCount is a count that may be unset.
func optionalCount(name string, v *int32) count {
	if v == nil {
		return count{name: name}
	}
	return count{name, int64(*v)}
}
