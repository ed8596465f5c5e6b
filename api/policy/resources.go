// Package policy has the resources of the API group policy: names, defaults, validation,
// columns and update rules.
package policy

import (
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"xebec.dev/api/scheme"
)

// Resources is the group's part of the table.
func Resources() []scheme.Resource {
	return []scheme.Resource{
		{
			Group: "policy", Version: "v1", Kind: "PodDisruptionBudget",
			Plural: "poddisruptionbudgets", Singular: "poddisruptionbudget",
			ShortNames:    []string{"pdb"},
			Namespaced:    true,
			New:           func() runtime.Object { return new(policyv1.PodDisruptionBudget) },
			NewList:       func() runtime.Object { return new(policyv1.PodDisruptionBudgetList) },
			StoragePrefix: "poddisruptionbudgets",
			Columns:       columns(),
			Row:           scheme.Rows(row),
			Strategy:      hooks().Erase(),
			Subresources: []scheme.Subresource{
				{Name: "status", Verbs: []string{"get", "patch", "update"}, Update: statusHooks().Pointer()},
			},
		},
	}
}
