package registry

import (
	"context"

	resourcev1 "k8s.io/api/resource/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/scheme"
	"xebec.dev/apiserver/internal/storage"
)

// ClaimHook refuses admin access to devices in namespaces that are not
// labelled for it. namespaces is the resource in the table.
func ClaimHook(reader storage.Reader, namespaces *scheme.Resource) *Hook {
	check := func(obj scheme.Object) error {
		kind, spec := "ResourceClaim", (*resourcev1.ResourceClaimSpec)(nil)
		switch o := obj.(type) {
		case *resourcev1.ResourceClaim:
			spec = &o.Spec
		case *resourcev1.ResourceClaimTemplate:
			kind, spec = "ResourceClaimTemplate", &o.Spec.Spec
		}
		if spec == nil || !wantsAdmin(spec) {
			return nil
		}
		if ns, ok := reader.Get(namespaces, "", obj.GetNamespace()); ok && ns.GetLabels()[resourcev1.DRAAdminNamespaceLabelKey] == "true" {
			return nil
		}
		var errs field.ErrorList
		for i := range spec.Devices.Requests {
			if e := spec.Devices.Requests[i].Exactly; e != nil && e.AdminAccess != nil && *e.AdminAccess {
				errs = append(errs, field.Forbidden(field.NewPath("spec", "devices", "requests").Index(i).Child("adminAccess"),
					"admin access to devices requires the `resource.kubernetes.io/admin-access: true` label on the containing namespace"))
			}
		}
		return apierrors.NewInvalid(schema.GroupKind{Group: resourcev1.GroupName, Kind: kind}, obj.GetName(), errs)
	}
	return &Hook{BeforeCreate: func(_ context.Context, obj scheme.Object, _ bool) (func(bool), error) {
		return func(bool) {}, check(obj)
	}}
}

func wantsAdmin(s *resourcev1.ResourceClaimSpec) bool {
	for i := range s.Devices.Requests {
		if e := s.Devices.Requests[i].Exactly; e != nil && e.AdminAccess != nil && *e.AdminAccess {
			return true
		}
	}
	return false
}
