package resource

import (
	"strings"

	resourcev1 "k8s.io/api/resource/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/api/table"
)

func plainColumns() []metav1.TableColumnDefinition {
	return []metav1.TableColumnDefinition{table.Name(), table.Age()}
}

func plainRow(o *metav1.ObjectMeta, now metav1.Time) []any {
	return []any{o.Name, table.Since(o.CreationTimestamp, now)}
}

func classRow(c *resourcev1.DeviceClass, now metav1.Time) []any {
	return plainRow(&c.ObjectMeta, now)
}

func templateRow(t *resourcev1.ResourceClaimTemplate, now metav1.Time) []any {
	return plainRow(&t.ObjectMeta, now)
}

func claimColumns() []metav1.TableColumnDefinition {
	return []metav1.TableColumnDefinition{
		table.Name(),
		table.String("State", "A summary of the current state (allocated, pending, reserved, etc.)."),
		table.Age(),
	}
}

func claimRow(c *resourcev1.ResourceClaim, now metav1.Time) []any {
	return []any{c.Name, stateText(c), table.Since(c.CreationTimestamp, now)}
}

func stateText(c *resourcev1.ResourceClaim) string {
	var states []string
	if c.DeletionTimestamp != nil {
		states = append(states, "deleted")
	}
	if c.Status.Allocation == nil {
		if c.DeletionTimestamp == nil {
			states = append(states, "pending")
		}
	} else {
		states = append(states, "allocated")
		if len(c.Status.ReservedFor) > 0 {
			states = append(states, "reserved")
		}
	}
	return strings.Join(states, ",")
}

func sliceColumns() []metav1.TableColumnDefinition {
	spec := resourcev1.ResourceSliceSpec{}
	return []metav1.TableColumnDefinition{
		table.Name(),
		table.Field("Node", spec, "nodeName"),
		table.Field("Driver", spec, "driver"),
		table.Field("Pool", resourcev1.ResourcePool{}, "name"),
		table.Age(),
	}
}

func sliceRow(s *resourcev1.ResourceSlice, now metav1.Time) []any {
	node := "<unset>"
	if s.Spec.NodeName != nil {
		node = *s.Spec.NodeName
	}
	return []any{s.Name, node, s.Spec.Driver, s.Spec.Pool.Name, table.Since(s.CreationTimestamp, now)}
}
