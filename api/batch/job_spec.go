package batch

import (
	"fmt"
	"slices"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/core"
	"xebec.dev/api/internalform"
)

const maxManagedBy = 63 // bytes

type labelSet = labels.Set

// validateWholeSpec checks a job's spec with its selector.
func validateWholeSpec(s *batchv1.JobSpec, old *batchv1.Job) field.ErrorList {
	var oldTemplate *corev1.PodTemplateSpec
	o := metav1validation.LabelSelectorValidationOptions{}
	if old != nil {
		oldTemplate = &old.Spec.Template
		o.AllowInvalidLabelValueInSelector = old.Spec.Selector != nil && metav1validation.LabelSelectorHasInvalidLabelValue(old.Spec.Selector)
	}
	errs := validateJobSpec(s, oldTemplate, specPath)
	path := specPath.Child("selector")
	if s.Selector == nil {
		errs = append(errs, field.Required(path, ""))
	} else {
		errs = append(errs, metav1validation.ValidateLabelSelector(s.Selector, o, path)...)
	}
	selector, err := metav1.LabelSelectorAsSelector(s.Selector)
	if err == nil && !selector.Matches(labelSet(s.Template.Labels)) {
		errs = append(errs, field.Invalid(specPath.Child("template", "metadata", "labels"), s.Template.Labels,
			"`selector` does not match template `labels`"))
	}
	return errs
}

// validateJobSpec checks what is common to a job and a cron job's template.
func validateJobSpec(s *batchv1.JobSpec, oldTemplate *corev1.PodTemplateSpec, path *field.Path) field.ErrorList {
	errs := validateJobCounts(s, path)
	errs = append(errs, validateManagedBy(s.ManagedBy, path.Child("managedBy"))...)
	errs = append(errs, validateCompletionMode(s, path)...)
	if s.PodFailurePolicy != nil {
		errs = append(errs, validateFailurePolicy(s, path.Child("podFailurePolicy"))...)
	}
	if s.SuccessPolicy != nil {
		p := path.Child("successPolicy")
		if valueOf(s.CompletionMode) == batchv1.IndexedCompletion {
			errs = append(errs, validateSuccessPolicy(s, p)...)
		} else {
			errs = append(errs, field.Invalid(p, internalform.Of(s.SuccessPolicy), "requires indexed completion mode"))
		}
	}
	errs = append(errs, validateReplacement(s, path.Child("podReplacementPolicy"))...)
	template := path.Child("template")
	if oldTemplate == nil {
		errs = append(errs, core.ValidatePodTemplateSpec(&s.Template, template)...)
	} else {
		errs = append(errs, core.ValidatePodTemplateSpecUpdate(&s.Template, oldTemplate, template)...)
	}
	return append(errs, validateRestarts(s, template.Child("spec", "restartPolicy"))...)
}

func validateJobCounts(s *batchv1.JobSpec, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for _, c := range [...]struct {
		name  string
		value *int32
	}{{"parallelism", s.Parallelism}, {"completions", s.Completions}} {
		errs = append(errs, nonnegative(c.value, path, c.name)...)
	}
	if s.ActiveDeadlineSeconds != nil && *s.ActiveDeadlineSeconds < 0 {
		errs = append(errs, apivalidation.ValidateNonnegativeField(*s.ActiveDeadlineSeconds, path.Child("activeDeadlineSeconds"))...)
	}
	errs = append(errs, nonnegative(s.BackoffLimit, path, "backoffLimit")...)
	errs = append(errs, nonnegative(s.TTLSecondsAfterFinished, path, "ttlSecondsAfterFinished")...)
	errs = append(errs, nonnegative(s.BackoffLimitPerIndex, path, "backoffLimitPerIndex")...)
	if s.MaxFailedIndexes != nil {
		errs = append(errs, nonnegative(s.MaxFailedIndexes, path, "maxFailedIndexes")...)
		if s.BackoffLimitPerIndex == nil {
			errs = append(errs, field.Required(path.Child("backoffLimitPerIndex"), "when maxFailedIndexes is specified"))
		}
	}
	return errs
}

func nonnegative(v *int32, path *field.Path, name string) field.ErrorList {
	if v == nil || *v >= 0 {
		return nil
	}
	return apivalidation.ValidateNonnegativeField(int64(*v), path.Child(name))
}

func validateManagedBy(v *string, path *field.Path) field.ErrorList {
	if v == nil {
		return nil
	}
	errs := validation.IsDomainPrefixedPath(path, *v)
	if len(*v) > maxManagedBy {
		errs = append(errs, field.TooLong(path, *v, maxManagedBy))
	}
	return errs
}

func validateCompletionMode(s *batchv1.JobSpec, path *field.Path) field.ErrorList {
	if s.CompletionMode == nil {
		return nil
	}
	switch *s.CompletionMode {
	case batchv1.IndexedCompletion:
		return validateIndexed(s, path)
	case batchv1.NonIndexedCompletion:
		return validateNonIndexed(s, path)
	}
	return field.ErrorList{field.NotSupported(path.Child("completionMode"), *s.CompletionMode,
		[]batchv1.CompletionMode{batchv1.NonIndexedCompletion, batchv1.IndexedCompletion})}
}

func validateNonIndexed(s *batchv1.JobSpec, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if s.BackoffLimitPerIndex != nil {
		errs = append(errs, field.Invalid(path.Child("backoffLimitPerIndex"), *s.BackoffLimitPerIndex, "requires indexed completion mode"))
	}
	if s.MaxFailedIndexes != nil {
		errs = append(errs, field.Invalid(path.Child("maxFailedIndexes"), *s.MaxFailedIndexes, "requires indexed completion mode"))
	}
	return errs
}

func validateIndexed(s *batchv1.JobSpec, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if s.Completions == nil {
		errs = append(errs, field.Required(path.Child("completions"), fmt.Sprintf("when completion mode is %s", batchv1.IndexedCompletion)))
	}
	parallelism, failed := path.Child("parallelism"), path.Child("maxFailedIndexes")
	if n := valueOf(s.Parallelism); n > maxParallelism {
		errs = append(errs, field.Invalid(parallelism, n, fmt.Sprintf("must be less than or equal to %d when completion mode is %s", maxParallelism, batchv1.IndexedCompletion)))
	}
	if s.MaxFailedIndexes != nil && s.Completions != nil && *s.MaxFailedIndexes > *s.Completions {
		errs = append(errs, field.Invalid(failed, *s.MaxFailedIndexes, "must be less than or equal to completions"))
	}
	if n := valueOf(s.MaxFailedIndexes); n > maxFailedIndexes {
		errs = append(errs, field.Invalid(failed, n, fmt.Sprintf("must be less than or equal to %d", maxFailedIndexes)))
	}
	if valueOf(s.Completions) <= manyCompletions || s.BackoffLimitPerIndex == nil {
		return errs
	}
	if s.MaxFailedIndexes == nil {
		errs = append(errs, field.Required(failed, fmt.Sprintf("must be specified when completions is above %d", manyCompletions)))
	}
	if n := valueOf(s.Parallelism); n > manyParallel {
		errs = append(errs, field.Invalid(parallelism, n, fmt.Sprintf("must be less than or equal to %d when completions are above %d and used with backoff limit per index", manyParallel, manyCompletions)))
	}
	if n := valueOf(s.MaxFailedIndexes); n > maxFailedWhenMany {
		errs = append(errs, field.Invalid(failed, n, fmt.Sprintf("must be less than or equal to %d when completions are above %d and used with backoff limit per index", maxFailedWhenMany, manyCompletions)))
	}
	return errs
}

func validateReplacement(s *batchv1.JobSpec, path *field.Path) field.ErrorList {
	if s.PodReplacementPolicy == nil {
		return nil
	}
	supported := []batchv1.PodReplacementPolicy{batchv1.Failed, batchv1.TerminatingOrFailed}
	if s.PodFailurePolicy != nil {
		// A terminating pod's failure can't be judged yet.
		supported = supported[:1]
	}
	if slices.Contains(supported, *s.PodReplacementPolicy) {
		return nil
	}
	return field.ErrorList{field.NotSupported(path, *s.PodReplacementPolicy, supported)}
}

// validateRestarts checks that pods end by themselves.
func validateRestarts(s *batchv1.JobSpec, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	switch p := s.Template.Spec.RestartPolicy; p {
	case corev1.RestartPolicyOnFailure, corev1.RestartPolicyNever:
	case "", corev1.RestartPolicyAlways:
		errs = append(errs, field.Required(path, fmt.Sprintf("valid values: %q, %q", corev1.RestartPolicyOnFailure, corev1.RestartPolicyNever)))
	default:
		errs = append(errs, field.NotSupported(path, p, []corev1.RestartPolicy{corev1.RestartPolicyOnFailure, corev1.RestartPolicyNever}))
	}
	if p := s.Template.Spec.RestartPolicy; s.PodFailurePolicy != nil && p != corev1.RestartPolicyNever {
		errs = append(errs, field.Invalid(path, p, fmt.Sprintf("only %q is supported when podFailurePolicy is specified", corev1.RestartPolicyNever)))
	}
	return errs
}
