// Package apiextensions has the CustomResourceDefinition kind: names,
// defaults, validation and update rules.
package apiextensions

import (
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/scheme"
)

// Checks are what a schema is checked for beyond its form. Nil ones are left
// out.
type Checks struct {
	// Rules compiles the CEL rules of a schema. Old is the schema of the
	// stored definition at the same version, nil on create.
	Rules func(path *field.Path, schema, old *apiextensionsv1.JSONSchemaProps) field.ErrorList
	// Defaults checks default values against the schema around them.
	Defaults func(path *field.Path, schema *apiextensionsv1.JSONSchemaProps) field.ErrorList
}

// Resources is the group's part of the table, with CEL rules and default
// values stored as they come.
func Resources() []scheme.Resource { return ResourcesWith(Checks{}) }

// ResourcesWith is Resources with more checks of schemas.
func ResourcesWith(c Checks) []scheme.Resource {
	v := validator{c}
	return []scheme.Resource{{
		Group: "apiextensions.k8s.io", Version: "v1", Kind: "CustomResourceDefinition",
		Plural: "customresourcedefinitions", Singular: "customresourcedefinition",
		ShortNames:    []string{"crd", "crds"},
		Categories:    []string{"api-extensions"},
		New:           func() runtime.Object { return new(apiextensionsv1.CustomResourceDefinition) },
		NewList:       func() runtime.Object { return new(apiextensionsv1.CustomResourceDefinitionList) },
		StoragePrefix: "apiextensions.k8s.io/customresourcedefinitions",
		Stored:        []scheme.Version{storedVersion},
		HashVersion:   "v1beta1",
		Columns:       columns(),
		Row:           scheme.Rows(row),
		Strategy: scheme.Hooks[apiextensionsv1.CustomResourceDefinition]{
			Default:        setDefaults,
			PrepareCreate:  prepareCreate,
			ValidateCreate: v.validateCreate,
			WarnCreate:     unknownFormats,
			PrepareUpdate:  prepareUpdate,
			ValidateUpdate: v.validateUpdate,
			WarnUpdate:     func(d, _ *apiextensionsv1.CustomResourceDefinition) []string { return unknownFormats(d) },
			RequireVersion: true,
			ResetFields:    []string{"status"},
			SpecChanged:    specChanged,
		}.Erase(),
		Subresources: []scheme.Subresource{
			{Name: "status", Verbs: []string{"get", "patch", "update"}, Update: scheme.UpdateHooks[apiextensionsv1.CustomResourceDefinition]{
				PrepareUpdate: prepareStatus,
				ResetFields:   []string{"metadata", "spec"},
			}.Pointer()},
		},
	}}
}
