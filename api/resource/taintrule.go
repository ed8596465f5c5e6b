package resource

import (
	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/api/resource/v1alpha3"
	"k8s.io/api/resource/v1beta2"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/check"
	"xebec.dev/api/scheme"
	"xebec.dev/api/version"
)

type taintRule = resourcev1.DeviceTaintRule

func taintRules() scheme.Resource {
	return scheme.Resource{
		Group: group, Version: "v1", Kind: "DeviceTaintRule",
		Plural: "devicetaintrules", Singular: "devicetaintrule",
		New:     func() runtime.Object { return new(taintRule) },
		NewList: func() runtime.Object { return new(resourcev1.DeviceTaintRuleList) },
		Served: []scheme.Version{
			version.Own(group, "v1", &taintRule{}),
			version.Off(version.WireEqual[v1beta2.DeviceTaintRule, v1beta2.DeviceTaintRuleList, taintRule](group, "v1beta2")),
			version.Off(version.WireEqual[v1alpha3.DeviceTaintRule, v1alpha3.DeviceTaintRuleList, taintRule](group, "v1alpha3")),
		},
		StoragePrefix: "devicetaintrules",
		Columns:       plainColumns(),
		Row:           scheme.Rows(func(r *taintRule, now metav1.Time) []any { return plainRow(&r.ObjectMeta, now) }),
		Strategy: scheme.Hooks[taintRule]{
			PrepareCreate: func(c scheme.Context, r *taintRule) {
				r.Status = resourcev1.DeviceTaintRuleStatus{}
				setTimeAdded(&r.Spec.Taint, c.Now)
			},
			PrepareUpdate: func(c scheme.Context, r, old *taintRule) {
				old.Status.DeepCopyInto(&r.Status)
				t, was := &r.Spec.Taint, &old.Spec.Taint
				if t.Effect != was.Effect && t.TimeAdded != nil && t.TimeAdded.Equal(was.TimeAdded) {
					t.TimeAdded = nil // of the old effect
				}
				setTimeAdded(t, c.Now)
			},
			ValidateCreate: func(r *taintRule) field.ErrorList { return validateTaintRule(&r.Spec, nil) },
			ValidateUpdate: func(r, old *taintRule) field.ErrorList { return validateTaintRule(&r.Spec, &old.Spec) },
			SpecChanged:    func(r, old *taintRule) bool { return !apiequality.Semantic.DeepEqual(&r.Spec, &old.Spec) },
			ResetFields:    []string{"status"},
		}.Erase(),
		Subresources: []scheme.Subresource{{
			Name: "status", Verbs: []string{"get", "patch", "update"},
			Update: scheme.UpdateHooks[taintRule]{
				PrepareUpdate: func(_ scheme.Context, r, old *taintRule) {
					metav1.ResetObjectMetaForStatus(&r.ObjectMeta, &old.ObjectMeta)
					old.Spec.DeepCopyInto(&r.Spec)
				},
				ValidateUpdate: validateTaintRuleStatus,
				ResetFields:    []string{"metadata", "spec"},
			}.Pointer(),
		}},
	}
}

func setTimeAdded(t *resourcev1.DeviceTaint, now metav1.Time) {
	if t.TimeAdded == nil {
		// Stored times have no fractions.
		seconds := now.Rfc3339Copy()
		t.TimeAdded = &seconds
	}
}

func validateTaintRule(s, old *resourcev1.DeviceTaintRuleSpec) field.ErrorList {
	path := field.NewPath("spec")
	var errs field.ErrorList
	if d := s.DeviceSelector; d != nil {
		at := path.Child("deviceSelector")
		if d.Driver != nil {
			errs = append(errs, check.CSIDriverName(at.Child("driver"), *d.Driver)...)
		}
		if d.Pool != nil {
			errs = append(errs, validatePoolName(*d.Pool, at.Child("pool"))...)
		}
		if d.Device != nil {
			errs = append(errs, check.Label(at.Child("device"), *d.Device)...)
		}
	}
	if old != nil && apiequality.Semantic.DeepEqual(&s.Taint, &old.Taint) {
		return errs // an effect of a later version may stay
	}
	return append(errs, validateTaint(&s.Taint, path.Child("taint"))...)
}

func validateTaintRuleStatus(r, _ *taintRule) field.ErrorList {
	path := field.NewPath("status", "conditions")
	errs := check.Conditions(path, r.Status.Conditions)
	if n := len(r.Status.Conditions); n > resourcev1.DeviceTaintRuleStatusMaxConditions {
		errs = append(errs, field.TooMany(path, n, resourcev1.DeviceTaintRuleStatusMaxConditions))
	}
	return errs
}
