package storage

import (
	"slices"
	"strings"

	storagev1 "k8s.io/api/storage/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/check"
	"xebec.dev/api/scheme"
)

// Limits of token lifetimes and update periods, in seconds.
const (
	minTokenSeconds  = 600
	maxTokenSeconds  = 1 << 32
	minUpdateSeconds = 10
)

var csiDriverHooks = scheme.Hooks[storagev1.CSIDriver]{
	Default:        defaultCSIDriver,
	RequireVersion: true,
	// The generation of a driver counts its changes and starts at 0.
	PrepareUpdate: func(_ scheme.Context, d, old *storagev1.CSIDriver) {
		if !apiequality.Semantic.DeepEqual(&d.Spec, &old.Spec) {
			d.Generation = old.Generation + 1
		}
	},
	ValidateName: func(name string, _ bool) []string {
		return validation.IsDNS1123Subdomain(strings.ToLower(name))
	},
	ValidateCreate: func(d *storagev1.CSIDriver) field.ErrorList {
		var errs field.ErrorList
		if len(d.Name) > 63 {
			errs = append(errs, field.TooLong(field.NewPath("metadata", "name"), "", 63))
		}
		return append(errs, validateCSIDriverSpec(&d.Spec, field.NewPath("spec"))...)
	},
	ValidateUpdate: func(d, old *storagev1.CSIDriver) field.ErrorList {
		path := field.NewPath("spec")
		errs := check.Unchanged(path.Child("attachedRequired"), d.Spec.AttachRequired, old.Spec.AttachRequired, nil)
		errs = append(errs, check.Unchanged(path.Child("volumeLifecycleModes"), d.Spec.VolumeLifecycleModes, old.Spec.VolumeLifecycleModes, nil)...)
		return append(errs, validateCSIDriverSpec(&d.Spec, path)...)
	},
	WarnCreate: func(d *storagev1.CSIDriver) []string { return warnTokens(&d.Spec) },
	WarnUpdate: func(d, old *storagev1.CSIDriver) []string {
		if apiequality.Semantic.DeepEqual(d.Spec.TokenRequests, old.Spec.TokenRequests) &&
			(d.Spec.ServiceAccountTokenInSecrets == nil) == (old.Spec.ServiceAccountTokenInSecrets == nil) {
			return nil
		}
		return warnTokens(&d.Spec)
	},
}

func validateCSIDriverSpec(s *storagev1.CSIDriverSpec, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	// The first name is Kubernetes' own spelling in messages.
	for _, f := range []struct {
		name  string
		unset bool
	}{
		{"attachedRequired", s.AttachRequired == nil},
		{"podInfoOnMount", s.PodInfoOnMount == nil},
		{"storageCapacity", s.StorageCapacity == nil},
	} {
		if f.unset {
			errs = append(errs, field.Required(path.Child(f.name), ""))
		}
	}
	if s.FSGroupPolicy == nil {
		errs = append(errs, field.Required(path.Child("fsGroupPolicy"), ""))
	} else {
		errs = append(errs, check.OneOf(path.Child("fsGroupPolicy"), *s.FSGroupPolicy,
			storagev1.FileFSGroupPolicy, storagev1.NoneFSGroupPolicy, storagev1.ReadWriteOnceWithFSTypeFSGroupPolicy)...)
	}
	errs = append(errs, validateTokenRequests(s.TokenRequests, path.Child("tokenRequests"))...)
	for _, m := range s.VolumeLifecycleModes {
		errs = append(errs, check.OneOf(path.Child("volumeLifecycleModes"), m,
			storagev1.VolumeLifecyclePersistent, storagev1.VolumeLifecycleEphemeral)...)
	}
	if s.SELinuxMount == nil {
		errs = append(errs, field.Required(path.Child("seLinuxMount"), ""))
	}
	if p := s.NodeAllocatableUpdatePeriodSeconds; p != nil && *p < minUpdateSeconds {
		errs = append(errs, field.Invalid(path.Child("nodeAllocatableUpdatePeriodSeconds"), *p, "must be greater than or equal to 10 seconds"))
	}
	if t := s.ServiceAccountTokenInSecrets; t != nil && len(s.TokenRequests) == 0 {
		errs = append(errs, field.Invalid(path.Child("serviceAccountTokenInSecrets"), *t,
			"serviceAccountTokenInSecrets is set but no tokenRequests are specified"))
	}
	return errs
}

func validateTokenRequests(requests []storagev1.TokenRequest, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	var audiences []string
	for i := range requests {
		r, at := &requests[i], path.Index(i)
		if slices.Contains(audiences, r.Audience) {
			errs = append(errs, field.Duplicate(at.Child("audience"), r.Audience))
		}
		audiences = append(audiences, r.Audience)
		if r.ExpirationSeconds == nil {
			continue
		}
		if *r.ExpirationSeconds < minTokenSeconds {
			errs = append(errs, field.Invalid(at.Child("expirationSeconds"), *r.ExpirationSeconds, "may not specify a duration less than 10 minutes"))
		}
		if *r.ExpirationSeconds > maxTokenSeconds {
			errs = append(errs, field.Invalid(at.Child("expirationSeconds"), *r.ExpirationSeconds, "may not specify a duration larger than 2^32 seconds"))
		}
	}
	return errs
}

func warnTokens(s *storagev1.CSIDriverSpec) []string {
	if len(s.TokenRequests) == 0 || s.ServiceAccountTokenInSecrets != nil {
		return nil
	}
	return []string{"spec.serviceAccountTokenInSecrets is unset; if supported by this CSI driver, set to true to prevent possible logging of tokens in volume attributes"}
}
