package apiextensions

import (
	"strings"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/api/table"
)

func columns() []metav1.TableColumnDefinition {
	return []metav1.TableColumnDefinition{
		table.Name(),
		table.String("Group", "The API group of the custom resource."),
		table.String("Scope", "Whether the custom resource is Namespaced or Cluster scoped."),
		table.String("Versions", "The versions that are served."),
		table.Created(),
	}
}

func row(d *apiextensionsv1.CustomResourceDefinition, _ metav1.Time) []any {
	var served []string
	for i := range d.Spec.Versions {
		if v := &d.Spec.Versions[i]; v.Served {
			served = append(served, v.Name)
		}
	}
	return []any{d.Name, d.Spec.Group, string(d.Spec.Scope), strings.Join(served, ","), d.CreationTimestamp.UTC().Format(time.RFC3339)}
}
