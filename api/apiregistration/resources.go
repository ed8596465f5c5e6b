// Package apiregistration has the APIService kind: names, defaults, validation, columns and update rules.
package apiregistration

import (
	"k8s.io/apimachinery/pkg/api/validation/path"
	"k8s.io/apimachinery/pkg/runtime"

	apiregistrationv1 "xebec.dev/api/apiregistration/v1"
	"xebec.dev/api/scheme"
)

// Resources is the group's part of the table.
func Resources() []scheme.Resource {
	return []scheme.Resource{{
		Group: "apiregistration.k8s.io", Version: "v1", Kind: "APIService",
		Plural: "apiservices", Singular: "apiservice",
		Categories:    []string{"api-extensions"},
		New:           func() runtime.Object { return new(apiregistrationv1.APIService) },
		NewList:       func() runtime.Object { return new(apiregistrationv1.APIServiceList) },
		StoragePrefix: "apiregistration.k8s.io/apiservices",
		Columns:       columns(),
		Row:           scheme.Rows(row),
		Strategy: scheme.Hooks[apiregistrationv1.APIService]{
			Default:        setDefaults,
			PrepareCreate:  prepareCreate,
			ValidateCreate: validate,
			PrepareUpdate:  prepareUpdate,
			ValidateUpdate: validateUpdate,
			RequireVersion: true,
			ResetFields:    []string{"status"},
			ValidateName:   func(name string, _ bool) []string { return path.IsValidPathSegmentName(name) },
		}.Erase(),
		Subresources: []scheme.Subresource{
			{Name: "status", Verbs: []string{"get", "patch", "update"}, Update: scheme.UpdateHooks[apiregistrationv1.APIService]{
				PrepareUpdate:  prepareStatus,
				ValidateUpdate: validateStatus,
				ResetFields:    []string{"metadata", "spec"},
			}.Pointer()},
		},
	}}
}
