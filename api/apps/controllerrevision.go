package apps

import (
	"bytes"

	appsv1 "k8s.io/api/apps/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/scheme"
)

func controllerRevisionHooks() scheme.Hooks[appsv1.ControllerRevision] {
	return scheme.Hooks[appsv1.ControllerRevision]{
		ValidateCreate: validateControllerRevision,
		ValidateUpdate: func(r, old *appsv1.ControllerRevision) field.ErrorList {
			errs := validateControllerRevision(r)
			return append(errs, apivalidation.ValidateImmutableField(r.Data, old.Data, field.NewPath("data"))...)
		},
		UpdateOnly: true,
	}
}

func validateControllerRevision(r *appsv1.ControllerRevision) field.ErrorList {
	var errs field.ErrorList
	data := field.NewPath("data")
	raw := r.Data.Raw
	switch {
	case raw == nil && r.Data.Object == nil:
		errs = append(errs, field.Required(data, "data is mandatory"))
	case r.Data.Object == nil && !isJSONObject(raw):
		errs = append(errs, field.Required(data, "data must be a valid JSON object"))
	}
	return append(errs, nonnegative(r.Revision, field.NewPath("revision"))...)
}

// isJSONObject looks at the first byte only: what was decoded from a request
// is well-formed JSON already.
func isJSONObject(raw []byte) bool {
	raw = bytes.TrimSpace(raw)
	return len(raw) > 0 && raw[0] == '{'
}
