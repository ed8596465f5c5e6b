package batch

import (
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/check"
	"xebec.dev/api/internalform"
)

// validateJobUpdate checks the spec as often as Kubernetes does, since every
// finding is a cause of the answer.
func validateJobUpdate(j, old *batchv1.Job) field.ErrorList {
	errs := jobMetadata.ValidateMetadataUpdate(j, old)
	errs = append(errs, validateJobBody(j, old)...)
	errs = append(errs, validateWholeSpec(&j.Spec, old)...)
	return append(errs, validateImmutable(j, old)...)
}

func validateImmutable(j, old *batchv1.Job) field.ErrorList {
	s, o := &j.Spec, &old.Spec
	errs := validateCompletionsUpdate(s, o)
	errs = append(errs, check.Unchanged(specPath.Child("selector"), s.Selector, o.Selector, nil)...)
	errs = append(errs, validateTemplateUpdate(s, old)...)
	errs = append(errs, check.Unchanged(specPath.Child("completionMode"), s.CompletionMode, o.CompletionMode, nil)...)
	errs = append(errs, check.Unchanged(specPath.Child("podFailurePolicy"), s.PodFailurePolicy, o.PodFailurePolicy, internalform.Of)...)
	errs = append(errs, check.Unchanged(specPath.Child("backoffLimitPerIndex"), s.BackoffLimitPerIndex, o.BackoffLimitPerIndex, nil)...)
	errs = append(errs, check.Unchanged(specPath.Child("managedBy"), s.ManagedBy, o.ManagedBy, nil)...)
	return append(errs, check.Unchanged(specPath.Child("successPolicy"), s.SuccessPolicy, o.SuccessPolicy, internalform.Of)...)
}

// validateCompletionsUpdate lets an indexed job grow or shrink with as many
// pods at a time as it has indexes.
func validateCompletionsUpdate(s, old *batchv1.JobSpec) field.ErrorList {
	path := specPath.Child("completions")
	if valueOf(s.CompletionMode) != batchv1.IndexedCompletion {
		return check.Unchanged(path, s.Completions, old.Completions, nil)
	}
	if s.Completions == nil || old.Completions != nil && *s.Completions == *old.Completions {
		return nil
	}
	if s.Parallelism != nil && *s.Completions == *s.Parallelism {
		return nil
	}
	return field.ErrorList{field.Invalid(path, *s.Completions, "can only be modified in tandem with "+specPath.Child("parallelism").String())}
}

// validateTemplateUpdate lets a queue say where the pods of a waiting job go
// and what they ask for.
func validateTemplateUpdate(s *batchv1.JobSpec, old *batchv1.Job) field.ErrorList {
	t := &s.Template
	want := old.Spec.Template
	if isWaiting(old) {
		want.Annotations, want.Labels = t.Annotations, t.Labels
		want.Spec.NodeSelector = t.Spec.NodeSelector
		want.Spec.Tolerations = t.Spec.Tolerations
		want.Spec.SchedulingGates = t.Spec.SchedulingGates
		want.Spec.Affinity = withNodeAffinity(want.Spec.Affinity, t.Spec.Affinity)
		want.Spec.Containers = withResources(want.Spec.Containers, t.Spec.Containers)
		want.Spec.InitContainers = withResources(want.Spec.InitContainers, t.Spec.InitContainers)
	}
	if apiequality.Semantic.DeepEqual(t, &want) {
		return nil
	}
	return field.ErrorList{field.Invalid(specPath.Child("template"), internalform.Of(t), apivalidation.FieldImmutableErrorMsg)}
}

// isWaiting is true for a suspended job without pods.
func isWaiting(j *batchv1.Job) bool {
	if !valueOf(j.Spec.Suspend) {
		return false
	}
	return j.Status.StartTime == nil || isTrue(&j.Status, batchv1.JobSuspended) && j.Status.Active == 0
}

// withNodeAffinity is old with the node affinity of now. An affinity may come
// and go as long as node affinity is all there is in it.
func withNodeAffinity(old, now *corev1.Affinity) *corev1.Affinity {
	var out corev1.Affinity
	if old != nil {
		out = *old
	}
	out.NodeAffinity = nil
	if now != nil {
		out.NodeAffinity = now.NodeAffinity
	} else if out.PodAffinity == nil && out.PodAntiAffinity == nil {
		return nil
	}
	return &out
}

// withResources is old with the resources of the containers now.
func withResources(old, now []corev1.Container) []corev1.Container {
	if len(old) != len(now) {
		return old
	}
	out := make([]corev1.Container, len(old))
	copy(out, old)
	for i := range out {
		if out[i].Name == now[i].Name {
			out[i].Resources = now[i].Resources
		}
	}
	return out
}
