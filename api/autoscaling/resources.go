// Package autoscaling has the resources of the API group autoscaling: names, defaults, validation,
// columns and update rules.
package autoscaling

import (
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"k8s.io/apimachinery/pkg/runtime"

	"xebec.dev/api/scheme"
)

// Resources is the group's part of the table.
func Resources() []scheme.Resource {
	return []scheme.Resource{
		{
			Group: "autoscaling", Version: "v2", Kind: "HorizontalPodAutoscaler",
			Plural: "horizontalpodautoscalers", Singular: "horizontalpodautoscaler",
			ShortNames:    []string{"hpa"},
			Categories:    []string{"all"},
			Namespaced:    true,
			New:           func() runtime.Object { return new(autoscalingv2.HorizontalPodAutoscaler) },
			NewList:       func() runtime.Object { return new(autoscalingv2.HorizontalPodAutoscalerList) },
			StoragePrefix: "horizontalpodautoscalers",
			Served: []scheme.Version{
				{Group: "autoscaling", Version: "v2"},
				{
					Group: "autoscaling", Version: "v1",
					New:     func() runtime.Object { return new(autoscalingv1.HorizontalPodAutoscaler) },
					NewList: func() runtime.Object { return new(autoscalingv1.HorizontalPodAutoscalerList) },
					Decode: func(in runtime.Object) (scheme.Object, error) {
						return fromV1(in.(*autoscalingv1.HorizontalPodAutoscaler)), nil
					},
					Encode: func(in scheme.Object) (runtime.Object, error) {
						return toV1(in.(*autoscalingv2.HorizontalPodAutoscaler))
					},
				},
			},
			Columns:  columns(),
			Row:      scheme.Rows(row),
			Strategy: hooks().Erase(),
			Subresources: []scheme.Subresource{
				{Name: "status", Verbs: []string{"get", "patch", "update"}, Update: statusHooks().Pointer()},
			},
		},
	}
}
