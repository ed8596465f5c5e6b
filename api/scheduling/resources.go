// Package scheduling has the resources of the API group scheduling.k8s.io: names, defaults, validation,
// columns and update rules.
package scheduling

import (
	schedulingv1 "k8s.io/api/scheduling/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"xebec.dev/api/scheme"
)

// Resources is the group's part of the table.
func Resources() []scheme.Resource {
	return []scheme.Resource{
		{
			Group: group, Version: "v1", Kind: "PriorityClass",
			Plural: "priorityclasses", Singular: "priorityclass",
			ShortNames:    []string{"pc"},
			New:           func() runtime.Object { return new(schedulingv1.PriorityClass) },
			NewList:       func() runtime.Object { return new(schedulingv1.PriorityClassList) },
			StoragePrefix: "priorityclasses",
			Columns:       columns(),
			Row:           scheme.Rows(row),
			Strategy:      hooks().Erase(),
		},
		workloads(),
		podGroups(),
		compositePodGroups(),
	}
}
