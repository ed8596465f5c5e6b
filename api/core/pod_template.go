package core

import (
	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// ValidatePodTemplateSpec checks the template of a workload's pods; path is
// the template's ("template" or "spec.template").
func ValidatePodTemplateSpec(t *corev1.PodTemplateSpec, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if len(t.Labels) > 0 {
		errs = append(errs, metav1validation.ValidateLabels(t.Labels, path.Child("labels"))...)
	}
	if len(t.Annotations) > 0 {
		errs = append(errs, apivalidation.ValidateAnnotations(t.Annotations, path.Child("annotations"))...)
	}
	spec := path.Child("spec")
	errs = append(errs, validatePodSpec(&t.Spec, "", relaxations{}, spec)...)
	if len(t.Spec.EphemeralContainers) > 0 {
		errs = append(errs, field.Forbidden(spec.Child("ephemeralContainers"), "ephemeral containers not allowed in pod template"))
	}
	return errs
}

// ValidatePodTemplateSpecUpdate is ValidatePodTemplateSpec for a changed
// template: what the old template already had may stay.
func ValidatePodTemplateSpecUpdate(t, old *corev1.PodTemplateSpec, path *field.Path) field.ErrorList {
	return ValidatePodTemplateSpec(t, path)
}

// WarnPodTemplate gives the warnings of a template; old is nil on create.
func WarnPodTemplate(path *field.Path, t, old *corev1.PodTemplateSpec) []string {
	return nil
}

// ContainerImages names and images of a pod's containers, as tables show them.
func ContainerImages(s *corev1.PodSpec) (names, images string) {
	for i := range s.Containers {
		if i > 0 {
			names += ","
			images += ","
		}
		names += s.Containers[i].Name
		images += s.Containers[i].Image
	}
	return names, images
}
