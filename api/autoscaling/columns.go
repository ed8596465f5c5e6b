package autoscaling

import (
	"fmt"
	"strconv"
	"strings"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/api/table"
)

// shownMetrics is how many metrics fit in the cell of a table.
const shownMetrics = 2

func columns() []metav1.TableColumnDefinition {
	var spec autoscalingv2.HorizontalPodAutoscalerSpec
	return []metav1.TableColumnDefinition{
		table.Name(),
		table.Field("Reference", spec, "scaleTargetRef"),
		table.Field("Targets", spec, "metrics"),
		table.Field("MinPods", spec, "minReplicas"),
		table.Field("MaxPods", spec, "maxReplicas"),
		table.Field("Replicas", autoscalingv2.HorizontalPodAutoscalerStatus{}, "currentReplicas"),
		table.Age(),
	}
}

func row(h *autoscaler, now metav1.Time) []any {
	least := "<unset>"
	if h.Spec.MinReplicas != nil {
		least = strconv.Itoa(int(*h.Spec.MinReplicas))
	}
	return []any{
		h.Name, h.Spec.ScaleTargetRef.Kind + "/" + h.Spec.ScaleTargetRef.Name, targets(h), least,
		int64(h.Spec.MaxReplicas), int64(h.Status.CurrentReplicas), table.Since(h.CreationTimestamp, now),
	}
}

// targets shows each metric as "current/target".
func targets(h *autoscaler) string {
	if len(h.Spec.Metrics) == 0 {
		return "<none>"
	}
	var shown []string
	for i := range min(len(h.Spec.Metrics), shownMetrics) {
		var current *autoscalingv2.MetricStatus
		if i < len(h.Status.CurrentMetrics) {
			current = &h.Status.CurrentMetrics[i]
		}
		shown = append(shown, target(&h.Spec.Metrics[i], current))
	}
	out := strings.Join(shown, ", ")
	if more := len(h.Spec.Metrics) - shownMetrics; more > 0 {
		out += fmt.Sprintf(" + %d more...", more)
	}
	return out
}

const unknown = "<unknown>"

func target(m *autoscalingv2.MetricSpec, s *autoscalingv2.MetricStatus) string {
	var now autoscalingv2.MetricValueStatus
	switch m.Type {
	case autoscalingv2.ExternalMetricSourceType:
		if m.External == nil {
			break
		}
		if s != nil && s.External != nil {
			now = s.External.Current
		}
		return valueTarget(&m.External.Target, &now)
	case autoscalingv2.ObjectMetricSourceType:
		if m.Object == nil {
			break
		}
		if s != nil && s.Object != nil {
			now = s.Object.Current
		}
		return valueTarget(&m.Object.Target, &now)
	case autoscalingv2.PodsMetricSourceType:
		if m.Pods == nil {
			break
		}
		if s != nil && s.Pods != nil {
			now = s.Pods.Current
		}
		return text(now.AverageValue) + "/" + text(m.Pods.Target.AverageValue)
	case autoscalingv2.ResourceMetricSourceType:
		if m.Resource == nil {
			break
		}
		if s != nil && s.Resource != nil {
			now = s.Resource.Current
		}
		return string(m.Resource.Name) + ": " + resourceCell(&m.Resource.Target, &now)
	case autoscalingv2.ContainerResourceMetricSourceType:
		if m.ContainerResource == nil {
			break
		}
		if s != nil && s.ContainerResource != nil {
			now = s.ContainerResource.Current
		}
		return string(m.ContainerResource.Name) + ": " + resourceCell(&m.ContainerResource.Target, &now)
	}
	return "<unknown type>"
}

func text(q *resource.Quantity) string {
	if q == nil {
		return unknown
	}
	return q.String()
}

func valueTarget(t *autoscalingv2.MetricTarget, now *autoscalingv2.MetricValueStatus) string {
	if t.AverageValue != nil {
		return text(now.AverageValue) + "/" + t.AverageValue.String() + " (avg)"
	}
	return text(now.Value) + "/" + text(t.Value)
}

func resourceCell(t *autoscalingv2.MetricTarget, now *autoscalingv2.MetricValueStatus) string {
	if t.AverageValue != nil {
		return text(now.AverageValue) + "/" + t.AverageValue.String()
	}
	used, wanted := unknown, "<auto>"
	if now.AverageUtilization != nil {
		used = strconv.Itoa(int(*now.AverageUtilization)) + "%"
	}
	if t.AverageUtilization != nil {
		wanted = strconv.Itoa(int(*t.AverageUtilization)) + "%"
	}
	return used + "/" + wanted
}
