package storagemigration

import (
	"strconv"

	"k8s.io/api/storagemigration/v1beta1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/check"
	"xebec.dev/api/internalform"
	"xebec.dev/api/scheme"
	"xebec.dev/api/table"
)

type migration = v1beta1.StorageVersionMigration

var hooks = scheme.Hooks[migration]{
	PrepareCreate:  func(_ scheme.Context, m *migration) { m.Status = v1beta1.StorageVersionMigrationStatus{} },
	PrepareUpdate:  func(_ scheme.Context, m, old *migration) { old.Status.DeepCopyInto(&m.Status) },
	ValidateCreate: func(m *migration) field.ErrorList { return validateSpec(&m.Spec) },
	ValidateUpdate: validateUpdate,
	ResetFields:    []string{"status"},
}

var statusHooks = scheme.UpdateHooks[migration]{
	PrepareUpdate: func(_ scheme.Context, m, old *migration) {
		metav1.ResetObjectMetaForStatus(&m.ObjectMeta, &old.ObjectMeta)
		m.Spec = old.Spec
	},
	ValidateUpdate: validateStatus,
	ResetFields:    []string{"metadata", "spec"},
}

func validateSpec(s *v1beta1.StorageVersionMigrationSpec) field.ErrorList {
	path := field.NewPath("spec", "resource")
	var errs field.ErrorList
	if s.Resource.Resource == "" {
		errs = append(errs, field.Required(path.Child("resource"), "resource is required"))
	} else {
		errs = append(errs, check.Messages(path.Child("resource"), s.Resource.Resource, validation.IsDNS1035Label(s.Resource.Resource))...)
	}
	if s.Resource.Group != "" {
		errs = append(errs, check.Subdomain(path.Child("group"), s.Resource.Group)...)
	}
	return errs
}

func validateUpdate(m, old *migration) field.ErrorList {
	return check.Unchanged(field.NewPath("spec"), m.Spec, old.Spec, internalform.Of)
}

func validateStatus(m, old *migration) field.ErrorList {
	path := field.NewPath("status")
	errs := check.Conditions(path.Child("conditions"), m.Status.Conditions)
	is := func(s *v1beta1.StorageVersionMigrationStatus, kind v1beta1.MigrationConditionType) bool {
		for i := range s.Conditions {
			if s.Conditions[i].Type == string(kind) {
				return s.Conditions[i].Status == metav1.ConditionTrue
			}
		}
		return false
	}
	succeeded, failed, running := is(&m.Status, v1beta1.MigrationSucceeded), is(&m.Status, v1beta1.MigrationFailed), is(&m.Status, v1beta1.MigrationRunning)
	refuse := func(wrong bool, message string) {
		if wrong {
			errs = append(errs, field.Invalid(path.Child("conditions"), internalform.Of(m.Status.Conditions), message))
		}
	}
	refuse(succeeded && failed, "Both success and failed conditions cannot be true at the same time")
	refuse(running && succeeded, "Running condition cannot be true when success condition is true")
	refuse(running && failed, "Running condition cannot be true when failed condition is true")
	refuse(is(&old.Status, v1beta1.MigrationSucceeded) && !succeeded, "Success condition cannot be set to false once it is true")
	refuse(is(&old.Status, v1beta1.MigrationFailed) && !failed, "Failed condition cannot be set to false once it is true")
	return append(errs, validateVersion(path.Child("resourceVersion"), m.Status.ResourceVersion, old.Status.ResourceVersion)...)
}

func validateVersion(path *field.Path, now, old string) field.ErrorList {
	if old != "" {
		return check.Unchanged(path, now, old, nil)
	}
	if now == "" {
		return nil
	}
	if n, err := strconv.ParseInt(now, 10, 64); err != nil || n < 0 {
		return field.ErrorList{field.Invalid(path, now, "resource version should be a positive integer")}
	}
	return nil
}

func row(m *migration, now metav1.Time) []any {
	return []any{m.Name, (&m.Spec.Resource).String(), table.Since(m.CreationTimestamp, now)}
}
