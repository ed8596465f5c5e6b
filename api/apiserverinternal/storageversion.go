package apiserverinternal

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/api/apiserverinternal/v1alpha1"
	"k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/check"
	"xebec.dev/api/scheme"
	"xebec.dev/api/table"
)

var hooks = scheme.Hooks[v1alpha1.StorageVersion]{
	ValidateName:  nameFaults,
	PrepareCreate: func(_ scheme.Context, v *v1alpha1.StorageVersion) { v.Status = v1alpha1.StorageVersionStatus{} },
	PrepareUpdate: func(_ scheme.Context, v, old *v1alpha1.StorageVersion) { old.Status.DeepCopyInto(&v.Status) },
	ResetFields:   []string{"status"},
}

var statusHooks = scheme.UpdateHooks[v1alpha1.StorageVersion]{
	PrepareUpdate: func(_ scheme.Context, v, old *v1alpha1.StorageVersion) {
		metav1.ResetObjectMetaForStatus(&v.ObjectMeta, &old.ObjectMeta)
		v.Spec = old.Spec
	},
	ValidateUpdate: func(v, _ *v1alpha1.StorageVersion) field.ErrorList { return validateStatus(&v.Status) },
	ResetFields:    []string{"metadata", "spec"},
}

// nameFaults requires "group.resource"; the group may have dots of its own,
// and the core group is called "core".
func nameFaults(name string, prefix bool) []string {
	dot := strings.LastIndex(name, ".")
	if dot < 0 {
		return []string{"name must be in the form of <group>.<resource>"}
	}
	var faults []string
	for _, f := range utilvalidation.IsDNS1123Subdomain(name[:dot]) {
		faults = append(faults, "the group segment "+f)
	}
	for _, f := range utilvalidation.IsDNS1035Label(name[dot+1:]) {
		faults = append(faults, "the resource segment "+f)
	}
	return faults
}

func validateStatus(s *v1alpha1.StorageVersionStatus) field.ErrorList {
	path := field.NewPath("status")
	var errs field.ErrorList
	seen := map[string]bool{}
	for i := range s.StorageVersions {
		v, at := &s.StorageVersions[i], path.Child("storageVersions").Index(i)
		if seen[v.APIServerID] {
			errs = append(errs, field.Duplicate(at.Child("apiServerID"), v.APIServerID))
		}
		seen[v.APIServerID] = true
		errs = append(errs, validateServer(at, v)...)
	}
	errs = append(errs, validateCommon(path.Child("commonEncodingVersion"), s)...)
	return append(errs, validateConditions(path.Child("conditions"), s.Conditions)...)
}

func validateServer(path *field.Path, v *v1alpha1.ServerStorageVersion) field.ErrorList {
	errs := check.Messages(path.Child("apiServerID"), v.APIServerID, validation.NameIsDNSSubdomain(v.APIServerID, false))
	errs = append(errs, validateVersion(path.Child("encodingVersion"), v.EncodingVersion)...)
	for i, name := range v.DecodableVersions {
		errs = append(errs, validateVersion(path.Child("decodableVersions").Index(i), name)...)
	}
	if !slices.Contains(v.DecodableVersions, v.EncodingVersion) {
		errs = append(errs, field.Invalid(path.Child("decodableVersions"), v.DecodableVersions,
			fmt.Sprintf("decodableVersions must include encodingVersion %s", v.EncodingVersion)))
	}
	for i, name := range v.ServedVersions {
		at := path.Child("servedVersions").Index(i)
		errs = append(errs, validateVersion(at, name)...)
		if !slices.Contains(v.DecodableVersions, name) {
			errs = append(errs, field.Invalid(at, name, fmt.Sprintf("individual served version must be included in decodable versions %v", v.DecodableVersions)))
		}
	}
	return errs
}

// validateVersion requires "version" or "group/version".
func validateVersion(path *field.Path, text string) field.ErrorList {
	group, name, found := strings.Cut(text, "/")
	if !found {
		group, name = "", text
	}
	var errs field.ErrorList
	if found {
		errs = append(errs, check.Subdomain(path, group)...)
	}
	return append(errs, check.Messages(path, name, utilvalidation.IsDNS1035Label(name))...)
}

// validateCommon requires the common version to be just that.
func validateCommon(path *field.Path, s *v1alpha1.StorageVersionStatus) field.ErrorList {
	var common *string
	for i := range s.StorageVersions {
		v := &s.StorageVersions[i].EncodingVersion
		if i > 0 && *v != *common {
			common = nil
			break
		}
		common = v
	}
	switch {
	case s.CommonEncodingVersion == nil && common != nil:
		return field.ErrorList{field.Invalid(path, s.CommonEncodingVersion, fmt.Sprintf("the common encoding version is %s", *common))}
	case s.CommonEncodingVersion != nil && common == nil:
		return field.ErrorList{field.Invalid(path, *s.CommonEncodingVersion, "should be nil if servers do not agree on the same encoding version, or if there is no server reporting the supported versions yet")}
	case common != nil && *s.CommonEncodingVersion != *common:
		return field.ErrorList{field.Invalid(path, *s.CommonEncodingVersion, fmt.Sprintf("the actual common encoding version is %s", *common))}
	}
	return nil
}

func validateConditions(path *field.Path, conditions []v1alpha1.StorageVersionCondition) field.ErrorList {
	var errs field.ErrorList
	seen := map[v1alpha1.StorageVersionConditionType]bool{}
	for i := range conditions {
		c, at := &conditions[i], path.Index(i)
		if seen[c.Type] {
			errs = append(errs, field.Duplicate(at.Child("type"), c.Type))
		}
		seen[c.Type] = true
		errs = append(errs, check.QualifiedName(at.Child("type"), string(c.Type))...)
		errs = append(errs, check.Required(at.Child("status"), string(c.Status))...)
		errs = append(errs, check.Required(at.Child("reason"), c.Reason)...)
		errs = append(errs, check.Required(at.Child("message"), c.Message)...)
	}
	return errs
}

func row(v *v1alpha1.StorageVersion, now metav1.Time) []any {
	common := "<unset>"
	if v.Status.CommonEncodingVersion != nil {
		common = *v.Status.CommonEncodingVersion
	}
	servers := make([]string, 0, len(v.Status.StorageVersions))
	for i := range v.Status.StorageVersions {
		s := &v.Status.StorageVersions[i]
		servers = append(servers, s.APIServerID+"="+s.EncodingVersion)
	}
	return []any{v.Name, common, table.Join(servers, 3), table.Since(v.CreationTimestamp, now)}
}
