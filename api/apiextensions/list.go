package apiextensions

import (
	"slices"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/check"
)

// validateList looks at what a schema says of how a list is merged.
func validateList(path *field.Path, s *schema) field.ErrorList {
	errs := validateListType(path, s)
	if s.Items == nil || s.Items.Schema == nil || s.XListType == nil {
		if s.XListType != nil && *s.XListType == "map" && s.Items == nil {
			errs = append(errs, field.Required(path.Child("items"), "must have a schema if x-kubernetes-list-type is map"))
		}
		return errs
	}
	switch *s.XListType {
	case "map":
		errs = append(errs, validateMapItems(path, s)...)
	case "set":
		errs = append(errs, validateSetItems(path.Child("items"), s.Items.Schema)...)
	}
	return errs
}

func validateListType(path *field.Path, s *schema) field.ErrorList {
	var errs field.ErrorList
	listType, keys := path.Child("x-kubernetes-list-type"), path.Child("x-kubernetes-list-map-keys")
	if s.XListType == nil {
		if len(s.XListMapKeys) > 0 {
			errs = append(errs, field.Required(listType, "must be map if x-kubernetes-list-map-keys is non-empty"))
		}
		return errs
	}
	switch s.Type {
	case "array":
	case "":
		errs = append(errs, field.Required(path.Child("type"), "must be array if x-kubernetes-list-type is specified"))
	default:
		errs = append(errs, field.Invalid(path.Child("type"), s.Type, "must be array if x-kubernetes-list-type is specified"))
	}
	errs = append(errs, check.OneOf(listType, *s.XListType, "atomic", "set", "map")...)
	switch isMap := *s.XListType == "map"; {
	case isMap && len(s.XListMapKeys) == 0:
		errs = append(errs, field.Required(keys, "must not be empty if x-kubernetes-list-type is map"))
	case !isMap && len(s.XListMapKeys) > 0:
		errs = append(errs, field.Invalid(listType, *s.XListType, "must be map if x-kubernetes-list-map-keys is non-empty"))
	}
	return errs
}

// validateMapItems requires that each item of a list has its keys: they are
// required or have a default, and are scalars that are never null.
func validateMapItems(path *field.Path, s *schema) field.ErrorList {
	items, keys := path.Child("items"), path.Child("x-kubernetes-list-map-keys")
	item := s.Items.Schema
	var errs field.ErrorList
	if item.Type != "object" {
		return append(errs, field.Invalid(items.Child("type"), item.Type, "must be object if parent array's x-kubernetes-list-type is map"))
	}
	if item.Nullable {
		errs = append(errs, field.Forbidden(items.Child("nullable"), "cannot be nullable when x-kubernetes-list-type is map"))
	}
	repeated := false
	for i, key := range s.XListMapKeys {
		if slices.Contains(s.XListMapKeys[:i], key) {
			repeated = true
			continue
		}
		p, given := item.Properties[key]
		if !given {
			errs = append(errs, field.Invalid(keys, s.XListMapKeys, "entries must all be names of item properties"))
			continue
		}
		errs = append(errs, validateKey(items.Child("properties").Key(key), &p, slices.Contains(item.Required, key))...)
	}
	if repeated {
		errs = append(errs, field.Invalid(keys, s.XListMapKeys, "must not contain duplicate entries"))
	}
	return errs
}

func validateKey(path *field.Path, p *schema, required bool) field.ErrorList {
	if p.Type == "array" || p.Type == "object" {
		return field.ErrorList{field.Invalid(path.Child("type"), p.Type, "must be a scalar type if parent array's x-kubernetes-list-type is map")}
	}
	var errs field.ErrorList
	if !required && p.Default == nil {
		errs = append(errs, field.Required(path.Child("default"), "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property"))
	}
	if p.Nullable {
		errs = append(errs, field.Forbidden(path.Child("nullable"), "this property is in x-kubernetes-list-map-keys, so it cannot be nullable"))
	}
	return errs
}

// validateSetItems requires items that are compared as a whole.
func validateSetItems(path *field.Path, item *schema) field.ErrorList {
	const message = "must be atomic as item of a list with x-kubernetes-list-type=set"
	var errs field.ErrorList
	if item.Nullable {
		errs = append(errs, field.Forbidden(path.Child("nullable"), "cannot be nullable when x-kubernetes-list-type is set"))
	}
	switch {
	case item.Type == "object" && (item.XMapType == nil || *item.XMapType != "atomic"):
		errs = append(errs, field.Invalid(path.Child("x-kubernetes-map-type"), item.XMapType, message))
	case item.Type == "array" && item.XListType != nil && *item.XListType != "atomic":
		errs = append(errs, field.Invalid(path.Child("x-kubernetes-list-type"), item.XListType, message))
	}
	return errs
}
