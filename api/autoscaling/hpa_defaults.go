package autoscaling

import (
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
)

type autoscaler = autoscalingv2.HorizontalPodAutoscaler

const (
	defaultMinReplicas = int32(1)
	defaultUtilization = int32(80) // percent of the requested CPU
	defaultPeriod      = int32(15) // seconds
)

// setDefaults serves both versions: v1 has no defaults that v2 lacks.
func setDefaults(h *autoscaler) {
	s := &h.Spec
	if s.MinReplicas == nil {
		n := defaultMinReplicas
		s.MinReplicas = &n
	}
	if len(s.Metrics) == 0 {
		s.Metrics = []autoscalingv2.MetricSpec{utilization(defaultUtilization)}
	}
	if s.Behavior == nil {
		return
	}
	window := int32(0)
	s.Behavior.ScaleUp = withDefaults(s.Behavior.ScaleUp, &window, autoscalingv2.HPAScalingPolicy{
		Type: autoscalingv2.PodsScalingPolicy, Value: 4, PeriodSeconds: defaultPeriod,
	}, autoscalingv2.HPAScalingPolicy{
		Type: autoscalingv2.PercentScalingPolicy, Value: 100, PeriodSeconds: defaultPeriod,
	})
	// The window downwards is a setting of the controller.
	s.Behavior.ScaleDown = withDefaults(s.Behavior.ScaleDown, nil, autoscalingv2.HPAScalingPolicy{
		Type: autoscalingv2.PercentScalingPolicy, Value: 100, PeriodSeconds: defaultPeriod,
	})
}

// utilization scales on the CPU that pods use of what they request.
func utilization(percent int32) autoscalingv2.MetricSpec {
	return autoscalingv2.MetricSpec{
		Type: autoscalingv2.ResourceMetricSourceType,
		Resource: &autoscalingv2.ResourceMetricSource{
			Name:   corev1.ResourceCPU,
			Target: autoscalingv2.MetricTarget{Type: autoscalingv2.UtilizationMetricType, AverageUtilization: &percent},
		},
	}
}

// withDefaults fills what is unset. An empty list of policies is not unset:
// validation refuses it.
func withDefaults(r *autoscalingv2.HPAScalingRules, window *int32, policies ...autoscalingv2.HPAScalingPolicy) *autoscalingv2.HPAScalingRules {
	if r == nil {
		r = &autoscalingv2.HPAScalingRules{}
	}
	if r.StabilizationWindowSeconds == nil {
		r.StabilizationWindowSeconds = window
	}
	if r.SelectPolicy == nil {
		p := autoscalingv2.MaxChangePolicySelect
		r.SelectPolicy = &p
	}
	if r.Policies == nil {
		r.Policies = policies
	}
	return r
}
