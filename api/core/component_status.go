package core

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"xebec.dev/api/scheme"
	"xebec.dev/api/table"
)

func componentStatusResource() scheme.Resource {
	return scheme.Resource{
		Group: "", Version: "v1", Kind: "ComponentStatus",
		Plural: "componentstatuses", Singular: "componentstatus",
		ShortNames: []string{"cs"},
		Verbs:      []string{"get", "list"},
		New:        func() runtime.Object { return new(corev1.ComponentStatus) },
		NewList:    func() runtime.Object { return new(corev1.ComponentStatusList) },
		Served: []scheme.Version{{
			Version: "v1", Deprecated: "v1 ComponentStatus is deprecated in v1.19+",
		}},
		Columns: []metav1.TableColumnDefinition{
			table.Name(),
			table.String("Status", "Status of the component conditions"),
			table.String("Message", "Message of the component conditions"),
			table.String("Error", "Error of the component conditions"),
		},
		Row: scheme.Rows(func(c *corev1.ComponentStatus, _ metav1.Time) []any {
			status, message, problem := "Unknown", "", ""
			for i := range c.Conditions {
				if c.Conditions[i].Type != corev1.ComponentHealthy {
					continue
				}
				status = "Unhealthy"
				if c.Conditions[i].Status == corev1.ConditionTrue {
					status = "Healthy"
				}
				message, problem = c.Conditions[i].Message, c.Conditions[i].Error
				break
			}
			return []any{c.Name, status, message, problem}
		}),
	}
}
