package scheme

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/validate/content"
	"k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

var metadataPath = field.NewPath("metadata")

// ValidateMetadata checks the metadata of a new object of the resource.
func (r *Resource) ValidateMetadata(obj metav1.Object) field.ErrorList {
	errs := validation.ValidateObjectMetaAccessor(unordinary(obj), r.Namespaced, r.Strategy.NameRule(), metadataPath)
	return append(errs, validateFinalizers(obj)...)
}

// ValidateMetadataUpdate checks the metadata of an update. Kubernetes comes by
// several times, and its list of causes shows each error once per pass; an
// object without errors is looked at once.
func (r *Resource) ValidateMetadataUpdate(obj, old metav1.Object) field.ErrorList {
	update := validation.ValidateObjectMetaAccessorUpdate(obj, old, metadataPath)
	finalizers := validateFinalizers(obj)
	if len(update) == 0 && len(finalizers) == 0 {
		return nil
	}
	again := validation.ValidateObjectMetaAccessor(obj, r.Namespaced, pathSegment, metadataPath)
	errs := append(field.ErrorList{}, again...) // what every update is checked for
	errs = append(errs, update...)
	errs = append(errs, update...) // the kind's own update rule
	errs = append(errs, finalizers...)
	if r.Strategy.RevalidatesMetadata() {
		errs = append(errs, again...)
		errs = append(errs, finalizers...)
	}
	return errs
}

func pathSegment(name string, prefix bool) []string {
	if prefix {
		return content.IsPathSegmentPrefix(name)
	}
	return content.IsPathSegmentName(name)
}

// standardFinalizers may stand without a domain.
var standardFinalizers = []string{"kubernetes", metav1.FinalizerOrphanDependents, metav1.FinalizerDeleteDependents}

func validateFinalizers(obj metav1.Object) field.ErrorList {
	var errs field.ErrorList
	for i, f := range obj.GetFinalizers() {
		if !strings.Contains(f, "/") && !slices.Contains(standardFinalizers, f) {
			errs = append(errs, field.Invalid(metadataPath.Child("finalizers").Index(i), f, "name is neither a standard finalizer name nor is it fully qualified"))
		}
	}
	return errs
}
