package core

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/diff"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/check"
	"xebec.dev/api/internalform"
)

// ValidatePersistentVolumeClaim checks a new claim.
func ValidatePersistentVolumeClaim(c *corev1.PersistentVolumeClaim) field.ErrorList {
	return ValidatePersistentVolumeClaimSpec(&c.Spec, field.NewPath("spec"))
}

// ValidatePersistentVolumeClaimSpec checks the spec of a claim, also in a
// template.
func ValidatePersistentVolumeClaimSpec(s *corev1.PersistentVolumeClaimSpec, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if len(s.AccessModes) == 0 {
		errs = append(errs, field.Required(path.Child("accessModes"), "at least 1 access mode is required"))
	}
	if s.Selector != nil {
		errs = append(errs, metav1validation.ValidateLabelSelector(s.Selector, metav1validation.LabelSelectorValidationOptions{}, path.Child("selector"))...)
	}
	errs = append(errs, validateAccessModes(s.AccessModes, path.Child("accessModes"))...)

	storage := path.Child("resources").Key(string(corev1.ResourceStorage))
	if q, ok := s.Resources.Requests[corev1.ResourceStorage]; !ok {
		errs = append(errs, field.Required(storage, ""))
	} else if bad := validatePositive(q, storage); len(bad) > 0 {
		errs = append(errs, bad...)
	} else {
		errs = append(errs, validateAmount(corev1.ResourceStorage, q, storage)...)
	}
	if s.StorageClassName != nil && *s.StorageClassName != "" {
		errs = append(errs, check.Subdomain(path.Child("storageClassName"), *s.StorageClassName)...)
	}
	errs = append(errs, validateVolumeMode(s.VolumeMode, path.Child("volumeMode"))...)
	errs = append(errs, validateDataSources(s, path)...)
	if s.VolumeAttributesClassName != nil && *s.VolumeAttributesClassName != "" {
		errs = append(errs, check.Subdomain(path.Child("volumeAttributesClassName"), *s.VolumeAttributesClassName)...)
	}
	return errs
}

func validateAccessModes(modes []corev1.PersistentVolumeAccessMode, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for _, m := range modes {
		errs = append(errs, check.OneOf(path, m, corev1.ReadOnlyMany, corev1.ReadWriteMany, corev1.ReadWriteOnce, corev1.ReadWriteOncePod)...)
	}
	if slices.Contains(modes, corev1.ReadWriteOncePod) &&
		slices.ContainsFunc(modes, func(m corev1.PersistentVolumeAccessMode) bool { return m != corev1.ReadWriteOncePod }) {
		errs = append(errs, field.Forbidden(path, "may not use ReadWriteOncePod with other access modes"))
	}
	return errs
}

func validateVolumeMode(m *corev1.PersistentVolumeMode, path *field.Path) field.ErrorList {
	if m == nil {
		return nil
	}
	return check.OneOf(path, *m, corev1.PersistentVolumeBlock, corev1.PersistentVolumeFilesystem)
}

func validateDataSources(s *corev1.PersistentVolumeClaimSpec, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if d := s.DataSource; d != nil {
		errs = append(errs, validateDataSource(d.APIGroup, d.Kind, d.Name, path.Child("dataSource"))...)
	}
	r := s.DataSourceRef
	if r != nil {
		errs = append(errs, validateDataSource(r.APIGroup, r.Kind, r.Name, path.Child("dataSourceRef"))...)
		if r.Namespace != nil && *r.Namespace != "" {
			errs = append(errs, check.Label(path.Child("dataSourceRef", "namespace"), *r.Namespace)...)
		}
	}
	// The value in these two messages is a path, which prints as {}.
	switch {
	case r != nil && r.Namespace != nil && *r.Namespace != "":
		if s.DataSource != nil {
			errs = append(errs, field.Invalid(path, path.Child("dataSource"), "may not be specified when dataSourceRef.namespace is specified"))
		}
	case !sameDataSource(s.DataSource, r):
		errs = append(errs, field.Invalid(path, path.Child("dataSource"), "must match dataSourceRef"))
	}
	return errs
}

func validateDataSource(group *string, kind, name string, path *field.Path) field.ErrorList {
	errs := append(check.Required(path.Child("name"), name), check.Required(path.Child("kind"), kind)...)
	if group == nil || *group == "" {
		if kind != "PersistentVolumeClaim" {
			errs = append(errs, field.Invalid(path, kind, "must be 'PersistentVolumeClaim' when referencing the default apiGroup"))
		}
		return errs
	}
	return append(errs, check.Subdomain(path.Child("apiGroup"), *group)...)
}

func sameDataSource(d *corev1.TypedLocalObjectReference, r *corev1.TypedObjectReference) bool {
	if d == nil || r == nil {
		return d == nil && r == nil
	}
	return apiequality.Semantic.DeepEqual(d.APIGroup, r.APIGroup) && d.Kind == r.Kind && d.Name == r.Name
}

// ValidatePersistentVolumeClaimUpdate keeps the spec but for a first binding
// and, once bound, growth and the attributes class.
func ValidatePersistentVolumeClaimUpdate(c, old *corev1.PersistentVolumeClaim) field.ErrorList {
	var errs field.ErrorList
	// now is the new spec with its allowed changes undone.
	now := c.Spec
	if old.Spec.VolumeName == "" {
		now.VolumeName = ""
	}
	if storageClassMayChange(c, old) {
		now.StorageClassName = old.Spec.StorageClassName
	}
	if c.Status.Phase == corev1.ClaimBound {
		now.Resources.Requests = withSize(now.Resources.Requests, old.Spec.Resources.Requests)
		now.VolumeAttributesClassName = old.Spec.VolumeAttributesClassName
	}
	if !apiequality.Semantic.DeepEqual(now, old.Spec) {
		errs = append(errs, field.Forbidden(field.NewPath("spec"),
			"spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims\n"+
				diff.Diff(internalform.Of(old.Spec), internalform.Of(now))))
	}
	errs = append(errs, validateShrink(c, old)...)
	errs = append(errs, check.Unchanged(field.NewPath("volumeMode"), c.Spec.VolumeMode, old.Spec.VolumeMode, nil)...)
	return append(errs, validateClassReset(c, old)...)
}

// storageClassMayChange allows to move the class from the old annotation into
// the field, and to set it on a claim that has none yet.
func storageClassMayChange(c, old *corev1.PersistentVolumeClaim) bool {
	now, was := c.Spec.StorageClassName, old.Spec.StorageClassName
	if was != nil || now == nil {
		return false
	}
	before, had := old.Annotations[corev1.BetaStorageClassAnnotation]
	if !had {
		return true
	}
	after, has := c.Annotations[corev1.BetaStorageClassAnnotation]
	return *now == before && (!has || after == before)
}

// withSize is requests with the old size.
func withSize(requests, old corev1.ResourceList) corev1.ResourceList {
	q, ok := old[corev1.ResourceStorage]
	if requests == nil || !ok {
		return requests
	}
	out := make(corev1.ResourceList, len(requests))
	for name, r := range requests {
		out[name] = r
	}
	out[corev1.ResourceStorage] = q
	return out
}

// validateShrink lets a claim that could not grow go back, but not to what it
// already has or less.
func validateShrink(c, old *corev1.PersistentVolumeClaim) field.ErrorList {
	size := func(l corev1.ResourceList) resource.Quantity { return l[corev1.ResourceStorage] }
	now, was, have := size(c.Spec.Resources.Requests), size(old.Spec.Resources.Requests), size(old.Status.Capacity)
	if now.Cmp(was) < 0 && now.Cmp(have) <= 0 {
		return field.ErrorList{field.Forbidden(field.NewPath("spec", "resources", "requests", "storage"), "field can not be less than status.capacity")}
	}
	return nil
}

// validateClassReset lets the attributes class be taken back only while the
// volume has none: that cancels a change that can't be made.
func validateClassReset(c, old *corev1.PersistentVolumeClaim) field.ErrorList {
	now, was := c.Spec.VolumeAttributesClassName, old.Spec.VolumeAttributesClassName
	if was == nil || now != nil && *now != "" {
		return nil
	}
	if current := old.Status.CurrentVolumeAttributesClassName; *was == "" || current == nil || *current == "" {
		return nil
	}
	path := field.NewPath("spec", "volumeAttributesClassName")
	if now == nil {
		return field.ErrorList{field.Forbidden(path, "update from non-nil value to nil is forbidden")}
	}
	return field.ErrorList{field.Forbidden(path, "update from non-nil value to an empty string is forbidden")}
}

var claimResizeStates = []corev1.ClaimResourceStatus{
	corev1.PersistentVolumeClaimControllerResizeInProgress, corev1.PersistentVolumeClaimControllerResizeInfeasible,
	corev1.PersistentVolumeClaimNodeResizePending, corev1.PersistentVolumeClaimNodeResizeInProgress,
	corev1.PersistentVolumeClaimNodeResizeInfeasible,
}

func validateClaimStatus(c *corev1.PersistentVolumeClaim) field.ErrorList {
	var errs field.ErrorList
	if c.ResourceVersion == "" {
		errs = append(errs, field.Required(field.NewPath("resourceVersion"), ""))
	}
	if len(c.Spec.AccessModes) == 0 {
		errs = append(errs, field.Required(field.NewPath("spec", "accessModes"), ""))
	}
	status := field.NewPath("status")
	for _, name := range sortedNames(c.Status.Capacity) {
		errs = append(errs, validateCapacity(c.Status.Capacity[name], status.Child("capacity").Key(string(name)))...)
	}
	n := len(errs)
	for name, state := range c.Status.AllocatedResourceStatuses {
		at := status.Child("allocatedResourceStatus").Key(string(name))
		if bad := validateClaimResource(string(name), at); len(bad) > 0 {
			errs = append(errs, bad...)
		} else {
			errs = append(errs, check.OneOfSorted(at, state, claimResizeStates...)...)
		}
	}
	inOrder(errs[n:])
	for _, name := range sortedNames(c.Status.AllocatedResources) {
		at := status.Child("allocatedResources").Key(string(name))
		if bad := validateClaimResource(string(name), at); len(bad) > 0 {
			errs = append(errs, bad...)
		} else {
			errs = append(errs, validateCapacity(c.Status.AllocatedResources[name], at)...)
		}
	}
	return errs
}

// validateClaimResource takes storage and the prefixed names of others.
func validateClaimResource(name string, path *field.Path) field.ErrorList {
	if errs := check.QualifiedName(path, name); len(errs) > 0 {
		return errs
	}
	if isNativeName(name) {
		return check.OneOf(path, name, string(corev1.ResourceStorage))
	}
	return nil
}

// WarnPersistentVolumeClaimSpec speaks of sizes that are no whole bytes.
func WarnPersistentVolumeClaimSpec(path *field.Path, s *corev1.PersistentVolumeClaimSpec) []string {
	var warnings []string
	warn := func(l corev1.ResourceList, child string) {
		if q, ok := l[corev1.ResourceStorage]; ok && q.MilliValue()%1000 != 0 {
			warnings = append(warnings, path.Child("resources", child).Key("storage").String()+
				": fractional byte value \""+q.String()+"\" is invalid, must be an integer")
		}
	}
	warn(s.Resources.Requests, "requests")
	warn(s.Resources.Limits, "limits")
	return warnings
}

func warnClaim(c *corev1.PersistentVolumeClaim) []string {
	return append(warnStorageClassAnnotation(c.Annotations), WarnPersistentVolumeClaimSpec(field.NewPath("spec"), &c.Spec)...)
}

func warnStorageClassAnnotation(annotations map[string]string) []string {
	if _, ok := annotations[corev1.BetaStorageClassAnnotation]; !ok {
		return nil
	}
	return []string{"metadata.annotations[" + corev1.BetaStorageClassAnnotation + `]: deprecated since v1.8; use "storageClassName" attribute instead`}
}
