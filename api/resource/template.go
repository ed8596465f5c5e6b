package resource

import (
	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/check"
	"xebec.dev/api/internalform"
	"xebec.dev/api/scheme"
)

func (v validator) templateHooks() scheme.Hooks[resourcev1.ResourceClaimTemplate] {
	return scheme.Hooks[resourcev1.ResourceClaimTemplate]{
		Default: defaultTemplate,
		PrepareCreate: func(_ scheme.Context, t *resourcev1.ResourceClaimTemplate) {
			dropFromClaim(&t.Spec.Spec.Devices, nil)
		},
		PrepareUpdate: func(_ scheme.Context, t, old *resourcev1.ResourceClaimTemplate) {
			dropFromClaim(&t.Spec.Spec.Devices, &old.Spec.Spec.Devices)
		},
		ValidateCreate: func(t *resourcev1.ResourceClaimTemplate) field.ErrorList {
			return v.validateTemplate(&t.Spec, false, field.NewPath("spec"))
		},
		ValidateUpdate: func(t, old *resourcev1.ResourceClaimTemplate) field.ErrorList {
			errs := check.Unchanged(field.NewPath("spec"), t.Spec, old.Spec, internalform.Of)
			return append(errs, v.validateTemplate(&t.Spec, true, field.NewPath("spec"))...)
		},
		WarnCreate: func(t *resourcev1.ResourceClaimTemplate) []string {
			return warnClaim(&t.Spec.Spec.Devices, "spec", "spec", "devices")
		},
	}
}

func (v validator) validateTemplate(s *resourcev1.ResourceClaimTemplateSpec, stored bool, path *field.Path) field.ErrorList {
	errs := validateTemplateMetadata(&s.ObjectMeta, path.Child("metadata"))
	return append(errs, v.validateDeviceClaim(&s.Spec.Devices, stored, path.Child("spec", "devices"))...)
}

// validateTemplateMetadata allows labels and annotations alone.
func validateTemplateMetadata(m *metav1.ObjectMeta, path *field.Path) field.ErrorList {
	errs := validation.ValidateAnnotations(m.Annotations, path.Child("annotations"))
	errs = append(errs, metavalidation.ValidateLabels(m.Labels, path.Child("labels"))...)
	for _, f := range []struct {
		name string
		set  bool
	}{
		{"name", m.Name != ""}, {"generateName", m.GenerateName != ""}, {"namespace", m.Namespace != ""},
		{"selfLink", m.SelfLink != ""}, {"uID", m.UID != ""}, {"resourceVersion", m.ResourceVersion != ""},
		{"generation", m.Generation != 0}, {"creationTimestamp", !m.CreationTimestamp.IsZero()},
		{"deletionTimestamp", m.DeletionTimestamp != nil}, {"deletionGracePeriodSeconds", m.DeletionGracePeriodSeconds != nil},
		{"ownerReferences", m.OwnerReferences != nil}, {"finalizers", m.Finalizers != nil}, {"managedFields", m.ManagedFields != nil},
	} {
		if f.set {
			errs = append(errs, field.Forbidden(path.Child(f.name), "cannot be set"))
		}
	}
	return errs
}
