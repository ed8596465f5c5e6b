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
	return validateTemplate(t, relaxations{}, path)
}

func validateTemplate(t *corev1.PodTemplateSpec, r relaxations, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if len(t.Labels) > 0 {
		errs = append(errs, metav1validation.ValidateLabels(t.Labels, path.Child("labels"))...)
	}
	if len(t.Annotations) > 0 {
		errs = append(errs, apivalidation.ValidateAnnotations(t.Annotations, path.Child("annotations"))...)
		errs = append(errs, validatePodAnnotations(t.Annotations, &t.Spec, path.Child("annotations"))...)
	}
	spec := path.Child("spec")
	errs = append(errs, validatePodSpec(&t.Spec, "", r, spec)...)
	if len(t.Spec.EphemeralContainers) > 0 {
		errs = append(errs, field.Forbidden(spec.Child("ephemeralContainers"), "ephemeral containers not allowed in pod template"))
	}
	return errs
}

// ValidatePodTemplateSpecUpdate is ValidatePodTemplateSpec for a changed
// template: what the old template already had may stay.
func ValidatePodTemplateSpecUpdate(t, old *corev1.PodTemplateSpec, path *field.Path) field.ErrorList {
	errs := ValidatePodTemplateSpec(t, path)
	if len(errs) == 0 {
		return nil
	}
	if r := relaxFor(&old.Spec); r != (relaxations{}) {
		return validateTemplate(t, r, path)
	}
	return errs
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
