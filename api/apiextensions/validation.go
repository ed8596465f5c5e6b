package apiextensions

import (
	"net/url"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/check"
	"xebec.dev/api/internalform"
)

type validator struct{ checks Checks }

// definition is what one validation looks at.
type definition struct {
	*apiextensionsv1.CustomResourceDefinition
	// old is nil on create.
	old    *apiextensionsv1.CustomResourceDefinition
	layout layout
	spec   *field.Path
	checks Checks
}

func (v validator) validateCreate(d *apiextensionsv1.CustomResourceDefinition) field.ErrorList {
	var errs field.ErrorList
	if d.Name != d.Spec.Names.Plural+"."+d.Spec.Group {
		errs = append(errs, field.Invalid(field.NewPath("metadata", "name"), d.Name, `must be spec.names.plural+"."+spec.group`))
	}
	return append(errs, v.validate(d, nil)...)
}

func (v validator) validateUpdate(d, old *apiextensionsv1.CustomResourceDefinition) field.ErrorList {
	return v.validate(d, old)
}

func (v validator) validate(crd, old *apiextensionsv1.CustomResourceDefinition) field.ErrorList {
	d := &definition{crd, old, layoutOf(crd.Spec.Versions), field.NewPath("spec"), v.checks}
	errs := d.validateSpec()
	if old != nil {
		errs = append(errs, d.validateUnchanged()...)
	}
	errs = append(errs, validateStoredVersions(crd)...)
	return append(errs, validateApproval(crd, old)...)
}

func (d *definition) validateSpec() field.ErrorList {
	errs := validateGroup(d.spec.Child("group"), d.Spec.Group)
	errs = append(errs, validateScope(d.spec.Child("scope"), d.Spec.Scope)...)
	if d.Spec.PreserveUnknownFields && (d.old == nil || !d.old.Spec.PreserveUnknownFields) {
		errs = append(errs, field.Invalid(d.spec.Child("preserveUnknownFields"), true,
			"cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead"))
	}
	errs = append(errs, d.validateVersions()...)
	errs = append(errs, validateNames(d.spec.Child("names"), &d.Spec.Names)...)
	if len(d.Spec.Versions) > 0 {
		errs = append(errs, d.validateParts(0, true)...)
	}
	return append(errs, d.validateConversion()...)
}

func validateGroup(path *field.Path, group string) field.ErrorList {
	switch {
	case group == "":
		return field.ErrorList{field.Required(path, "")}
	case !strings.Contains(group, ".") && len(validation.IsDNS1123Subdomain(group)) == 0:
		return field.ErrorList{field.Invalid(path, group, "should be a domain with at least one dot")}
	}
	return check.Subdomain(path, group)
}

func validateScope(path *field.Path, scope apiextensionsv1.ResourceScope) field.ErrorList {
	if scope == "" {
		return field.ErrorList{field.Required(path, "")}
	}
	return check.OneOf(path, scope, apiextensionsv1.ClusterScoped, apiextensionsv1.NamespaceScoped)
}

func (d *definition) validateVersions() field.ErrorList {
	path := d.spec.Child("versions")
	var errs field.ErrorList
	for i := range d.Spec.Versions {
		if v := &d.Spec.Versions[i]; v.Schema == nil || v.Schema.OpenAPIV3Schema == nil {
			errs = append(errs, field.Required(path.Index(i).Child("schema", "openAPIV3Schema"), ""))
		}
	}
	storage, names := 0, map[string]bool{}
	for i := range d.Spec.Versions {
		v := &d.Spec.Versions[i]
		if v.Storage {
			storage++
		}
		names[v.Name] = true
		errs = append(errs, check.Messages(path.Index(i).Child("name"), v.Name, validation.IsDNS1035Label(v.Name))...)
		errs = append(errs, validateDeprecation(path.Index(i).Child("deprecationWarning"), v)...)
		errs = append(errs, d.validateParts(i, false)...)
	}
	shown := internalform.Of(d.layout.shown(d.Spec.Versions))
	if len(names) != len(d.Spec.Versions) {
		errs = append(errs, field.Invalid(path, shown, "must contain unique version names"))
	}
	if storage != 1 {
		errs = append(errs, field.Invalid(path, shown, "must have exactly one version marked as storage version"))
	}
	return errs
}

// validateParts looks at what version i describes: with shared set, at what all
// versions have in common, otherwise at what they have not.
func (d *definition) validateParts(i int, shared bool) field.ErrorList {
	v := &d.Spec.Versions[i]
	var errs field.ErrorList
	if d.layout.columns == shared {
		path := d.path(shared, i, "additionalPrinterColumns", "additionalPrinterColumns")
		for k := range v.AdditionalPrinterColumns {
			errs = append(errs, validateColumn(path.Index(k), &v.AdditionalPrinterColumns[k])...)
		}
	}
	if d.layout.schema == shared && v.Schema != nil && v.Schema.OpenAPIV3Schema != nil {
		path := d.path(shared, i, "validation", "schema").Child("openAPIV3Schema")
		errs = append(errs, d.validateSchema(path, v)...)
	}
	if d.layout.subresources == shared {
		path := d.path(shared, i, "subresources", "subresources")
		errs = append(errs, validateScale(path.Child("scale"), v.Subresources)...)
	}
	if d.layout.selectable == shared {
		path := d.path(shared, i, "selectableFields", "selectableFields")
		errs = append(errs, validateSelectable(path, v)...)
	}
	return errs
}

// validateUnchanged keeps what objects in storage depend on.
func (d *definition) validateUnchanged() field.ErrorList {
	var errs field.ErrorList
	if conditionTrue(d.old, apiextensionsv1.Established) {
		errs = append(errs, check.Unchanged(d.spec.Child("scope"), d.Spec.Scope, d.old.Spec.Scope, nil)...)
		errs = append(errs, check.Unchanged(d.spec.Child("names", "kind"), d.Spec.Names.Kind, d.old.Spec.Names.Kind, nil)...)
	}
	errs = append(errs, check.Unchanged(d.spec.Child("group"), d.Spec.Group, d.old.Spec.Group, nil)...)
	return append(errs, check.Unchanged(d.spec.Child("names", "plural"), d.Spec.Names.Plural, d.old.Spec.Names.Plural, nil)...)
}

func validateStoredVersions(d *apiextensionsv1.CustomResourceDefinition) field.ErrorList {
	path, stored := field.NewPath("status", "storedVersions"), d.Status.StoredVersions
	if len(stored) == 0 {
		return field.ErrorList{field.Invalid(path, stored, "must have at least one stored version")}
	}
	var errs field.ErrorList
	described := map[string]bool{}
	for i := range d.Spec.Versions {
		v := &d.Spec.Versions[i]
		described[v.Name] = true
		if v.Storage && !contains(stored, v.Name) {
			errs = append(errs, field.Invalid(path, stored, "must have the storage version "+v.Name))
		}
	}
	for i, v := range stored {
		if !described[v] {
			errs = append(errs, field.Invalid(path.Index(i), v, "missing from spec.versions; "+v+
				" was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in "+
				v+" and removes "+v+" from status.storedVersions"))
		}
	}
	return errs
}

const approvalPolicy = "https://github.com/kubernetes/enhancements/pull/1111"

// validateApproval keeps the groups of Kubernetes itself for approved kinds.
func validateApproval(d, old *apiextensionsv1.CustomResourceDefinition) field.ErrorList {
	if !protectedGroup(d.Spec.Group) {
		return nil
	}
	const key = apiextensionsv1.KubeAPIApprovedAnnotation
	path, reason := field.NewPath("metadata", "annotations").Key(key), d.Annotations[key]
	if approved(reason) || old != nil && old.Annotations[key] == reason {
		return nil
	}
	need := `protected groups must have approval annotation "` + key + `"`
	if reason == "" {
		return field.ErrorList{field.Required(path, need+", see "+approvalPolicy)}
	}
	return field.ErrorList{field.Invalid(path, reason, need+` with either a URL or a reason starting with "unapproved", see `+approvalPolicy)}
}

func protectedGroup(group string) bool {
	return group == "k8s.io" || strings.HasSuffix(group, ".k8s.io") || group == "kubernetes.io" || strings.HasSuffix(group, ".kubernetes.io")
}

func approved(reason string) bool {
	if strings.HasPrefix(reason, "unapproved") {
		return true
	}
	u, err := url.ParseRequestURI(reason)
	return err == nil && u.Host != "" && u.Scheme != ""
}

func contains(list []string, s string) bool {
	for _, e := range list {
		if e == s {
			return true
		}
	}
	return false
}
