package storage

import (
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/check"
	"xebec.dev/api/scheme"
)

// Limits of a class's parameters: how many, and bytes of keys and values.
const (
	maxParameters     = 512
	maxParametersSize = 256 << 10
)

var storageClassHooks = scheme.Hooks[storagev1.StorageClass]{
	Default:        defaultStorageClass,
	ValidateCreate: validateStorageClass,
	ValidateUpdate: func(c, old *storagev1.StorageClass) field.ErrorList {
		errs := validateStorageClass(c)
		if !maps.Equal(c.Parameters, old.Parameters) {
			errs = append(errs, field.Invalid(field.NewPath("parameters"), c.Parameters, check.Immutable))
		}
		errs = append(errs, check.Unchanged(field.NewPath("provisioner"), c.Provisioner, old.Provisioner, nil)...)
		errs = append(errs, check.Unchanged(field.NewPath("reclaimPolicy"), c.ReclaimPolicy, old.ReclaimPolicy, nil)...)
		return append(errs, check.Unchanged(field.NewPath("volumeBindingMode"), c.VolumeBindingMode, old.VolumeBindingMode, nil)...)
	},
	WarnCreate: warnStorageClass,
	WarnUpdate: func(c, _ *storagev1.StorageClass) []string { return warnStorageClass(c) },
}

func validateStorageClass(c *storagev1.StorageClass) field.ErrorList {
	errs := validateProvisioner(c.Provisioner, field.NewPath("provisioner"))
	errs = append(errs, validateParameters(c.Parameters, true, field.NewPath("parameters"))...)
	if c.ReclaimPolicy != nil && *c.ReclaimPolicy != "" {
		errs = append(errs, check.OneOf(field.NewPath("reclaimPolicy"), *c.ReclaimPolicy,
			corev1.PersistentVolumeReclaimDelete, corev1.PersistentVolumeReclaimRetain)...)
	}
	path := field.NewPath("volumeBindingMode")
	if c.VolumeBindingMode == nil {
		errs = append(errs, field.Required(path, ""))
	} else {
		errs = append(errs, check.OneOf(path, *c.VolumeBindingMode,
			storagev1.VolumeBindingImmediate, storagev1.VolumeBindingWaitForFirstConsumer)...)
	}
	return append(errs, validateTopologies(c.AllowedTopologies, field.NewPath("allowedTopologies"))...)
}

func validateProvisioner(provisioner string, path *field.Path) field.ErrorList {
	if provisioner == "" {
		return field.ErrorList{field.Required(path, "")}
	}
	return check.Messages(path, provisioner, validation.IsQualifiedName(strings.ToLower(provisioner)))
}

func validateParameters(p map[string]string, mayBeEmpty bool, path *field.Path) field.ErrorList {
	if len(p) > maxParameters {
		return field.ErrorList{field.TooLong(path, "", maxParameters)}
	}
	var errs field.ErrorList
	size := 0
	for k, v := range p {
		if k == "" {
			errs = append(errs, field.Invalid(path, k, "field can not be empty."))
		}
		size += len(k) + len(v)
	}
	if size > maxParametersSize {
		errs = append(errs, field.TooLong(path, "", maxParametersSize))
	}
	if !mayBeEmpty && len(p) == 0 {
		errs = append(errs, field.Required(path, "must contain at least one key/value pair"))
	}
	return errs
}

// topology is a term as compared with others: the values of each key, sorted.
type topology map[string][]string

func validateTopologies(terms []corev1.TopologySelectorTerm, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	var seen []topology
	for i := range terms {
		at := path.Index(i)
		t, termErrs := validateTopology(&terms[i], at)
		errs = append(errs, termErrs...)
		same := 0
		if len(t) == 0 {
			// Kubernetes compares a term without expressions with one empty
			// term for each term of the list, and so always finds duplicates.
			same = len(terms)
		}
		for _, other := range seen {
			if maps.EqualFunc(t, other, slices.Equal) {
				same++
			}
		}
		for range same {
			errs = append(errs, field.Duplicate(at.Child("matchLabelExpressions"), ""))
		}
		seen = append(seen, t)
	}
	return errs
}

func validateTopology(term *corev1.TopologySelectorTerm, path *field.Path) (topology, field.ErrorList) {
	var errs field.ErrorList
	t := topology{}
	for i := range term.MatchLabelExpressions {
		e, at := &term.MatchLabelExpressions[i], path.Child("matchLabelExpressions").Index(i)
		values := []string{}
		if len(e.Values) == 0 {
			errs = append(errs, field.Required(at.Child("values"), ""))
		}
		for j, v := range e.Values {
			if slices.Contains(values, v) {
				errs = append(errs, field.Duplicate(at.Child("values").Index(j), v))
				continue
			}
			values = append(values, v)
		}
		errs = append(errs, metavalidation.ValidateLabelName(e.Key, at.Child("key"))...)
		if _, ok := t[e.Key]; ok {
			errs = append(errs, field.Duplicate(at.Child("key"), e.Key))
		}
		slices.Sort(values)
		t[e.Key] = values
	}
	return t, errs
}

func warnStorageClass(c *storagev1.StorageClass) []string {
	var warnings []string
	for i := range c.AllowedTopologies {
		for j, e := range c.AllowedTopologies[i].MatchLabelExpressions {
			if w := check.DeprecatedNodeLabel(e.Key); w != "" {
				path := field.NewPath("allowedTopologies").Index(i).Child("matchLabelExpressions").Index(j).Child("key")
				warnings = append(warnings, path.String()+": "+w)
			}
		}
	}
	return warnings
}
