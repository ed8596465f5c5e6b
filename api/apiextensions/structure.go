package apiextensions

import (
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/util/validation/field"
)

// place is where a schema stands.
type place int

const (
	atRoot place = iota
	asItem
	asField
)

// validateStructure requires a structural schema: every value has a type, and
// what stands below allOf, anyOf, oneOf and not only restricts values.
func validateStructure(path *field.Path, s *schema, at place) field.ErrorList {
	errs := validateType(path, s, at)
	errs = append(errs, validateEmbedded(path, s)...)
	if at == atRoot || s.XEmbeddedResource {
		errs = append(errs, validateObjectFields(path, s)...)
	}
	if s.Type == "array" && s.Items == nil {
		errs = append(errs, field.Required(path.Child("items"), "must be specified"))
	}
	errs = append(errs, validateList(path, s)...)

	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		p := s.Properties[name]
		errs = append(errs, validateStructure(path.Child("properties").Key(name), &p, asField)...)
	}
	if s.AdditionalProperties != nil && s.AdditionalProperties.Schema != nil {
		errs = append(errs, validateStructure(path.Child("additionalProperties"), s.AdditionalProperties.Schema, asField)...)
	}
	if s.Items != nil && s.Items.Schema != nil {
		errs = append(errs, validateStructure(path.Child("items"), s.Items.Schema, asItem)...)
	}
	return append(errs, validateJunctors(path, s)...)
}

func validateType(path *field.Path, s *schema, at place) field.ErrorList {
	path = path.Child("type")
	switch {
	case s.Type == "" && !s.XIntOrString && !preserves(s):
		return field.ErrorList{field.Required(path, map[place]string{
			atRoot:  "must not be empty at the root",
			asItem:  "must not be empty for specified array items",
			asField: "must not be empty for specified object fields",
		}[at])}
	case at == atRoot && s.Type != "object":
		return field.ErrorList{field.Invalid(path, s.Type, "must be object at the root")}
	}
	return nil
}

func preserves(s *schema) bool { return s.XPreserveUnknownFields != nil && *s.XPreserveUnknownFields }

func validateEmbedded(path *field.Path, s *schema) field.ErrorList {
	if !s.XEmbeddedResource {
		return nil
	}
	var errs field.ErrorList
	if !preserves(s) && len(s.Properties) == 0 {
		errs = append(errs, field.Required(path.Child("properties"), "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields"))
	}
	switch s.Type {
	case "object":
	case "":
		errs = append(errs, field.Required(path.Child("type"), "must be object if x-kubernetes-embedded-resource is true"))
	default:
		errs = append(errs, field.Invalid(path.Child("type"), s.Type, "must be object if x-kubernetes-embedded-resource is true"))
	}
	return errs
}

// validateObjectFields looks at what a schema says of the fields that every
// object has.
func validateObjectFields(path *field.Path, s *schema) field.ErrorList {
	var errs field.ErrorList
	for _, f := range []struct{ name, want string }{{"apiVersion", "string"}, {"kind", "string"}, {"metadata", "object"}} {
		p, given := s.Properties[f.name]
		if given && p.Type != f.want {
			errs = append(errs, field.Invalid(path.Child("properties").Key(f.name).Child("type"), p.Type, "must be "+f.want))
		}
	}
	if m, given := s.Properties["metadata"]; given && !onlyNames(m) {
		errs = append(errs, field.Forbidden(path.Child("properties").Key("metadata"),
			"must not specify anything other than name and generateName, but metadata is implicitly specified"))
	}
	return errs
}

func onlyNames(m schema) bool {
	for name := range m.Properties {
		if name != "name" && name != "generateName" {
			return false
		}
	}
	m.Properties, m.Type, m.Description, m.Title, m.Default = nil, "", "", "", nil
	return isEmpty(&m)
}

// validateJunctors looks below allOf, anyOf, oneOf and not. Types may stand
// there only to say that a value is an integer or a string.
func validateJunctors(path *field.Path, s *schema) field.ErrorList {
	var errs field.ErrorList
	for i := range s.AllOf {
		p, a := path.Child("allOf").Index(i), &s.AllOf[i]
		if i == 0 && s.XIntOrString && isIntOrString(a.AnyOf) {
			rest := *a
			rest.AnyOf = nil
			a = &rest
		}
		errs = append(errs, validateRestriction(p, a)...)
	}
	for i := range s.AnyOf {
		if s.XIntOrString && isIntOrString(s.AnyOf) {
			break
		}
		errs = append(errs, validateRestriction(path.Child("anyOf").Index(i), &s.AnyOf[i])...)
	}
	for i := range s.OneOf {
		errs = append(errs, validateRestriction(path.Child("oneOf").Index(i), &s.OneOf[i])...)
	}
	if s.Not != nil {
		errs = append(errs, validateRestriction(path.Child("not"), s.Not)...)
	}
	return errs
}

func isIntOrString(any []schema) bool {
	if len(any) != 2 || any[0].Type != "integer" || any[1].Type != "string" {
		return false
	}
	for _, a := range any {
		a.Type = ""
		if !isEmpty(&a) {
			return false
		}
	}
	return true
}

// validateRestriction requires that a schema only restricts values that are
// described elsewhere.
func validateRestriction(path *field.Path, s *schema) field.ErrorList {
	var errs field.ErrorList
	forbid := func(set bool, name, want string) {
		if set {
			errs = append(errs, field.Forbidden(path.Child(name), "must be "+want+" to be structural"))
		}
	}
	forbid(s.Description != "", "description", "empty")
	forbid(s.Type != "", "type", "empty")
	forbid(s.Title != "", "title", "empty")
	forbid(s.Default != nil, "default", "undefined")
	forbid(s.Nullable, "nullable", "false")
	forbid(s.AdditionalProperties != nil, "additionalProperties", "undefined")
	forbid(preserves(s), "x-kubernetes-preserve-unknown-fields", "false")
	forbid(s.XEmbeddedResource, "x-kubernetes-embedded-resource", "false")
	forbid(s.XIntOrString, "x-kubernetes-int-or-string", "false")
	forbid(len(s.XListMapKeys) > 0, "x-kubernetes-list-map-keys", "empty")
	forbid(s.XListType != nil, "x-kubernetes-list-type", "undefined")
	forbid(s.XMapType != nil, "x-kubernetes-map-type", "undefined")
	forbid(len(s.XValidations) > 0, "x-kubernetes-validations", "empty")

	if s.Items != nil && s.Items.Schema != nil {
		errs = append(errs, validateRestriction(path.Child("items"), s.Items.Schema)...)
	}
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		p := s.Properties[name]
		errs = append(errs, validateRestriction(path.Child("properties").Key(name), &p)...)
	}
	eachJunctor(path, s, func(path *field.Path, s *schema) {
		errs = append(errs, validateRestriction(path, s)...)
	})
	return errs
}
