// Package flowcontrol has the resources of the API group flowcontrol.apiserver.k8s.io: names, defaults, validation,
// columns and update rules.
package flowcontrol

import (
	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"xebec.dev/api/scheme"
)

// Resources is the group's part of the table.
func Resources() []scheme.Resource {
	return []scheme.Resource{
		{
			Group: "flowcontrol.apiserver.k8s.io", Version: "v1", Kind: "FlowSchema",
			Plural: "flowschemas", Singular: "flowschema",
			New:           func() runtime.Object { return new(flowcontrolv1.FlowSchema) },
			NewList:       func() runtime.Object { return new(flowcontrolv1.FlowSchemaList) },
			StoragePrefix: "flowschemas",
			Strategy:      schemaHooks.Erase(),
			Columns:       schemaColumns(),
			Row:           scheme.Rows(schemaRow),
			Subresources: []scheme.Subresource{
				{Name: "status", Verbs: []string{"get", "patch", "update"}, Update: schemaStatusHooks.Pointer()},
			},
		},
		{
			Group: "flowcontrol.apiserver.k8s.io", Version: "v1", Kind: "PriorityLevelConfiguration",
			Plural: "prioritylevelconfigurations", Singular: "prioritylevelconfiguration",
			New:           func() runtime.Object { return new(flowcontrolv1.PriorityLevelConfiguration) },
			NewList:       func() runtime.Object { return new(flowcontrolv1.PriorityLevelConfigurationList) },
			StoragePrefix: "prioritylevelconfigurations",
			Strategy:      levelHooks.Erase(),
			Columns:       levelColumns(),
			Row:           scheme.Rows(levelRow),
			Subresources: []scheme.Subresource{
				{Name: "status", Verbs: []string{"get", "patch", "update"}, Update: levelStatusHooks.Pointer()},
			},
		},
	}
}
