package apiextensions

import (
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/check"
	"xebec.dev/api/internalform"
)

type schema = apiextensionsv1.JSONSchemaProps

// validateSchema looks at the schema of a version: first for what is not
// supported, then for its structure, then for what needs an evaluator.
func (d *definition) validateSchema(path *field.Path, v *apiextensionsv1.CustomResourceDefinitionVersion) field.ErrorList {
	s := v.Schema.OpenAPIV3Schema
	var errs field.ErrorList
	if v.Subresources != nil && v.Subresources.Status != nil {
		errs = append(errs, validateRoot(path, s)...)
	}
	if s.Nullable {
		errs = append(errs, field.Forbidden(path.Child("nullable"), "nullable cannot be true at the root"))
	}
	errs = append(errs, validateForm(path, s)...)
	if !slices.ContainsFunc(errs, isForbidden) && !d.wasLoose(v.Name) {
		errs = append(errs, validateStructure(path, s, atRoot)...)
	}
	if len(errs) > 0 {
		return errs
	}
	if d.checks.Defaults != nil {
		errs = append(errs, d.checks.Defaults(path, s)...)
	}
	if d.checks.Rules != nil {
		errs = append(errs, d.checks.Rules(path, s, d.oldSchema(v.Name))...)
	}
	return errs
}

func isForbidden(e *field.Error) bool { return e.Type == field.ErrorTypeForbidden }

// oldSchema is the stored definition's schema of a version, or nil.
func (d *definition) oldSchema(version string) *schema {
	if d.old == nil {
		return nil
	}
	for i := range d.old.Spec.Versions {
		if v := &d.old.Spec.Versions[i]; v.Name == version && v.Schema != nil {
			return v.Schema.OpenAPIV3Schema
		}
	}
	return nil
}

// wasLoose reports whether the stored schema has no structure, as was allowed
// once; then the new one needs none either.
func (d *definition) wasLoose(version string) bool {
	old := d.oldSchema(version)
	return old != nil && len(validateStructure(field.NewPath("old"), old, atRoot)) > 0
}

// rootFields may stand at the root of a schema with the status subresource:
// those whose meaning survives when .status is looked at alone.
var rootFields = []string{
	"Description", "Type", "Format", "Title", "Maximum", "ExclusiveMaximum", "Minimum", "ExclusiveMinimum", "MaxLength", "MinLength",
	"Pattern", "MaxItems", "MinItems", "UniqueItems", "MultipleOf", "Required", "Items", "Properties", "ExternalDocs", "Example",
	"XPreserveUnknownFields", "XValidations",
}

func validateRoot(path *field.Path, s *schema) field.ErrorList {
	v := reflect.ValueOf(s).Elem()
	for i := range v.NumField() {
		name := v.Type().Field(i).Name
		// Nullable has an error of its own.
		if !v.Field(i).IsZero() && name != "Nullable" && !slices.Contains(rootFields, name) {
			return field.ErrorList{field.Invalid(path, internalform.Of(s),
				fmt.Sprintf("only %v fields are allowed at the root of the schema if the status subresource is enabled", rootFields))}
		}
	}
	return nil
}

var types = []string{"array", "boolean", "integer", "number", "object", "string"}

// validateForm walks a schema for constructs that no definition may use.
func validateForm(path *field.Path, s *schema) field.ErrorList {
	errs := validateUnsupported(path, s)
	if s.Pattern != "" {
		if _, err := regexp.Compile(s.Pattern); err != nil {
			errs = append(errs, field.Invalid(path.Child("pattern"), s.Pattern, "must be a valid regular expression, but isn't: "+err.Error()))
		}
	}
	switch {
	case s.Type == "null":
		errs = append(errs, field.Forbidden(path.Child("type"), "type cannot be set to null, use nullable as an alternative"))
	case s.Type != "":
		errs = append(errs, check.OneOf(path.Child("type"), s.Type, types...)...)
	}
	if s.XPreserveUnknownFields != nil && !*s.XPreserveUnknownFields {
		errs = append(errs, field.Invalid(path.Child("x-kubernetes-preserve-unknown-fields"), false, "must be true or undefined"))
	}
	errs = append(errs, validateMapType(path, s)...)
	errs = append(errs, validateRules(path.Child("x-kubernetes-validations"), s.XValidations)...)
	walk(path, s, func(path *field.Path, s *schema) {
		errs = append(errs, validateForm(path, s)...)
	})
	return errs
}

func validateUnsupported(path *field.Path, s *schema) field.ErrorList {
	var errs field.ErrorList
	forbid := func(set bool, name, message string) {
		if set {
			errs = append(errs, field.Forbidden(path.Child(name), message))
		}
	}
	forbid(s.ID != "", "id", "id is not supported")
	forbid(s.AdditionalItems != nil, "additionalItems", "additionalItems is not supported")
	forbid(len(s.PatternProperties) > 0, "patternProperties", "patternProperties is not supported")
	forbid(len(s.Definitions) > 0, "definitions", "definitions is not supported")
	forbid(len(s.Dependencies) > 0, "dependencies", "dependencies is not supported")
	forbid(s.Ref != nil && *s.Ref != "", "$ref", "$ref is not supported")
	forbid(s.UniqueItems, "uniqueItems", "uniqueItems cannot be set to true since the runtime complexity becomes quadratic")
	forbid(s.AdditionalProperties != nil && len(s.Properties) > 0, "additionalProperties", "additionalProperties and properties are mutual exclusive")
	forbid(s.Items != nil && len(s.Items.JSONSchemas) > 0, "items", "items must be a schema object and not an array")
	return errs
}

func validateMapType(path *field.Path, s *schema) field.ErrorList {
	if s.XMapType == nil {
		return nil
	}
	var errs field.ErrorList
	switch s.Type {
	case "object":
	case "":
		errs = append(errs, field.Required(path.Child("type"), "must be object if x-kubernetes-map-type is specified"))
	default:
		errs = append(errs, field.Invalid(path.Child("type"), s.Type, "must be object if x-kubernetes-map-type is specified"))
	}
	return append(errs, check.OneOf(path.Child("x-kubernetes-map-type"), *s.XMapType, "atomic", "granular")...)
}

// walk calls f with the schemas directly inside s, in a fixed order.
func walk(path *field.Path, s *schema, f func(*field.Path, *schema)) {
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		p := s.Properties[name]
		f(path.Child("properties").Key(name), &p)
	}
	if s.AdditionalProperties != nil && s.AdditionalProperties.Schema != nil {
		f(path.Child("additionalProperties"), s.AdditionalProperties.Schema)
	}
	if s.Items != nil && s.Items.Schema != nil {
		f(path.Child("items"), s.Items.Schema)
	}
	eachJunctor(path, s, f)
}

// eachJunctor calls f with the schemas below allOf, oneOf, anyOf and not.
func eachJunctor(path *field.Path, s *schema, f func(*field.Path, *schema)) {
	for i := range s.AllOf {
		f(path.Child("allOf").Index(i), &s.AllOf[i])
	}
	for i := range s.OneOf {
		f(path.Child("oneOf").Index(i), &s.OneOf[i])
	}
	for i := range s.AnyOf {
		f(path.Child("anyOf").Index(i), &s.AnyOf[i])
	}
	if s.Not != nil {
		f(path.Child("not"), s.Not)
	}
}
