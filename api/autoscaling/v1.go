package autoscaling

import (
	"encoding/json"
	"fmt"
	"maps"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// v1 has one number, the utilization of CPU. What v2 has beyond that travels
// in annotations, so that a read-modify-write through v1 loses nothing. They
// are no annotations of the stored object.
const (
	metricsAnnotation        = "autoscaling.alpha.kubernetes.io/metrics"
	currentMetricsAnnotation = "autoscaling.alpha.kubernetes.io/current-metrics"
	conditionsAnnotation     = "autoscaling.alpha.kubernetes.io/conditions"
	behaviorAnnotation       = "autoscaling.alpha.kubernetes.io/behavior"
)

var v1Annotations = [...]string{metricsAnnotation, currentMetricsAnnotation, conditionsAnnotation, behaviorAnnotation}

// withoutV1Annotations copies a only if it has to.
func withoutV1Annotations(a map[string]string) map[string]string {
	copied := false
	for _, key := range v1Annotations {
		if _, has := a[key]; !has {
			continue
		}
		if !copied {
			a, copied = maps.Clone(a), true
		}
		delete(a, key)
	}
	if copied && len(a) == 0 {
		return nil
	}
	return a
}

// behaviorForm is the behavior as v1's annotation has it: with the field names
// of Kubernetes' internal type.
type behaviorForm struct {
	ScaleUp, ScaleDown *rulesForm
}

type rulesForm struct {
	StabilizationWindowSeconds *int32
	SelectPolicy               *autoscalingv2.ScalingPolicySelect
	Policies                   []policyForm
	Tolerance                  *resource.Quantity
}

type policyForm struct {
	Type          autoscalingv2.HPAScalingPolicyType
	Value         int32
	PeriodSeconds int32
}

// fromV1 makes the stored form. Annotations that do not parse are dropped, as
// v1 gave them no meaning of its own.
func fromV1(in *autoscalingv1.HorizontalPodAutoscaler) *autoscaler {
	out := &autoscaler{ObjectMeta: in.ObjectMeta}
	out.Spec = autoscalingv2.HorizontalPodAutoscalerSpec{
		ScaleTargetRef: autoscalingv2.CrossVersionObjectReference(in.Spec.ScaleTargetRef),
		MinReplicas:    in.Spec.MinReplicas,
		MaxReplicas:    in.Spec.MaxReplicas,
	}
	var metrics []autoscalingv1.MetricSpec
	if parse(in.Annotations, metricsAnnotation, &metrics) {
		for i := range metrics {
			out.Spec.Metrics = append(out.Spec.Metrics, metricFromV1(&metrics[i]))
		}
	}
	if n := in.Spec.TargetCPUUtilizationPercentage; n != nil {
		out.Spec.Metrics = append(out.Spec.Metrics, utilization(*n))
	}
	// v1's default is part of the conversion, which alone sees the annotations.
	// Seen from v2, leaving the number out of v1 sets a metric: an apply that
	// moves from v1 to v2 so keeps the number that it no longer names.
	if len(out.Spec.Metrics) == 0 {
		out.Spec.Metrics = []autoscalingv2.MetricSpec{utilization(defaultUtilization)}
	}
	var behavior *behaviorForm
	if parse(in.Annotations, behaviorAnnotation, &behavior) && behavior != nil {
		out.Spec.Behavior = &autoscalingv2.HorizontalPodAutoscalerBehavior{
			ScaleUp:   rulesFromForm(behavior.ScaleUp),
			ScaleDown: rulesFromForm(behavior.ScaleDown),
		}
	}
	statusFromV1(in, &out.Status)
	out.Annotations = withoutV1Annotations(in.Annotations)
	return out
}

func parse(annotations map[string]string, key string, into any) bool {
	text, ok := annotations[key]
	return ok && json.Unmarshal([]byte(text), into) == nil
}

// rulesFromForm keeps missing policies from being defaulted: only v2 has
// defaults for them.
func rulesFromForm(f *rulesForm) *autoscalingv2.HPAScalingRules {
	if f == nil {
		return nil
	}
	r := &autoscalingv2.HPAScalingRules{
		StabilizationWindowSeconds: f.StabilizationWindowSeconds,
		SelectPolicy:               f.SelectPolicy,
		Policies:                   make([]autoscalingv2.HPAScalingPolicy, 0, len(f.Policies)),
		Tolerance:                  f.Tolerance,
	}
	for _, p := range f.Policies {
		r.Policies = append(r.Policies, autoscalingv2.HPAScalingPolicy(p))
	}
	return r
}

func formOfRules(r *autoscalingv2.HPAScalingRules) *rulesForm {
	if r == nil {
		return nil
	}
	f := &rulesForm{StabilizationWindowSeconds: r.StabilizationWindowSeconds, SelectPolicy: r.SelectPolicy, Tolerance: r.Tolerance}
	for _, p := range r.Policies {
		f.Policies = append(f.Policies, policyForm(p))
	}
	return f
}

func statusFromV1(in *autoscalingv1.HorizontalPodAutoscaler, s *autoscalingv2.HorizontalPodAutoscalerStatus) {
	s.ObservedGeneration = in.Status.ObservedGeneration
	s.LastScaleTime = in.Status.LastScaleTime
	s.CurrentReplicas = in.Status.CurrentReplicas
	s.DesiredReplicas = in.Status.DesiredReplicas
	if n := in.Status.CurrentCPUUtilizationPercentage; n != nil {
		s.CurrentMetrics = []autoscalingv2.MetricStatus{{
			Type: autoscalingv2.ResourceMetricSourceType,
			Resource: &autoscalingv2.ResourceMetricStatus{
				Name:    corev1.ResourceCPU,
				Current: autoscalingv2.MetricValueStatus{AverageUtilization: n},
			},
		}}
	}
	// The annotation has every metric, CPU among them.
	var metrics []autoscalingv1.MetricStatus
	if parse(in.Annotations, currentMetricsAnnotation, &metrics) {
		s.CurrentMetrics = make([]autoscalingv2.MetricStatus, len(metrics))
		for i := range metrics {
			s.CurrentMetrics[i] = metricStatusFromV1(&metrics[i])
		}
	}
	var conditions []autoscalingv1.HorizontalPodAutoscalerCondition
	if parse(in.Annotations, conditionsAnnotation, &conditions) {
		s.Conditions = make([]autoscalingv2.HorizontalPodAutoscalerCondition, len(conditions))
		for i, c := range conditions {
			s.Conditions[i] = autoscalingv2.HorizontalPodAutoscalerCondition{
				Type: autoscalingv2.HorizontalPodAutoscalerConditionType(c.Type), Status: c.Status,
				LastTransitionTime: c.LastTransitionTime, Reason: c.Reason, Message: c.Message, ObservedGeneration: c.ObservedGeneration,
			}
		}
	}
}

// toV1 shares with in what it can.
func toV1(in *autoscaler) (*autoscalingv1.HorizontalPodAutoscaler, error) {
	out := &autoscalingv1.HorizontalPodAutoscaler{ObjectMeta: in.ObjectMeta}
	out.Kind, out.APIVersion = "HorizontalPodAutoscaler", "autoscaling/v1"
	out.Spec = autoscalingv1.HorizontalPodAutoscalerSpec{
		ScaleTargetRef: autoscalingv1.CrossVersionObjectReference(in.Spec.ScaleTargetRef),
		MinReplicas:    in.Spec.MinReplicas,
		MaxReplicas:    in.Spec.MaxReplicas,
	}
	out.Status = autoscalingv1.HorizontalPodAutoscalerStatus{
		ObservedGeneration: in.Status.ObservedGeneration,
		LastScaleTime:      in.Status.LastScaleTime,
		CurrentReplicas:    in.Status.CurrentReplicas,
		DesiredReplicas:    in.Status.DesiredReplicas,
	}
	annotations := map[string]any{}
	if others := splitMetrics(in.Spec.Metrics, &out.Spec); len(others) > 0 {
		annotations[metricsAnnotation] = others
	}
	if b := in.Spec.Behavior; b != nil {
		annotations[behaviorAnnotation] = behaviorForm{formOfRules(b.ScaleUp), formOfRules(b.ScaleDown)}
	}
	if n := len(in.Status.CurrentMetrics); n > 0 {
		metrics := make([]autoscalingv1.MetricStatus, n)
		for i := range in.Status.CurrentMetrics {
			m := &in.Status.CurrentMetrics[i]
			metrics[i] = metricStatusToV1(m)
			if r := m.Resource; m.Type == autoscalingv2.ResourceMetricSourceType && r != nil && r.Name == corev1.ResourceCPU &&
				r.Current.AverageUtilization != nil {
				out.Status.CurrentCPUUtilizationPercentage = r.Current.AverageUtilization
			}
		}
		annotations[currentMetricsAnnotation] = metrics
	}
	if n := len(in.Status.Conditions); n > 0 {
		conditions := make([]autoscalingv1.HorizontalPodAutoscalerCondition, n)
		for i, c := range in.Status.Conditions {
			conditions[i] = autoscalingv1.HorizontalPodAutoscalerCondition{
				Type: autoscalingv1.HorizontalPodAutoscalerConditionType(c.Type), Status: c.Status,
				LastTransitionTime: c.LastTransitionTime, Reason: c.Reason, Message: c.Message, ObservedGeneration: c.ObservedGeneration,
			}
		}
		annotations[conditionsAnnotation] = conditions
	}
	return out, annotate(out, annotations)
}

// splitMetrics sets v1's own number and gives the metrics it has no field for.
func splitMetrics(metrics []autoscalingv2.MetricSpec, s *autoscalingv1.HorizontalPodAutoscalerSpec) []autoscalingv1.MetricSpec {
	var others []autoscalingv1.MetricSpec
	for i := range metrics {
		m := &metrics[i]
		if r := m.Resource; m.Type == autoscalingv2.ResourceMetricSourceType && r != nil && r.Name == corev1.ResourceCPU &&
			r.Target.AverageUtilization != nil {
			if s.TargetCPUUtilizationPercentage == nil {
				s.TargetCPUUtilizationPercentage = r.Target.AverageUtilization
			}
			continue
		}
		others = append(others, metricToV1(m))
	}
	return others
}

func annotate(out *autoscalingv1.HorizontalPodAutoscaler, values map[string]any) error {
	out.Annotations = withoutV1Annotations(out.Annotations)
	if len(values) == 0 {
		return nil
	}
	all := make(map[string]string, len(out.Annotations)+len(values))
	maps.Copy(all, out.Annotations)
	for key, v := range values {
		text, err := json.Marshal(v)
		if err != nil {
			return fmt.Errorf("annotation %s: %w", key, err)
		}
		all[key] = string(text)
	}
	out.Annotations = all
	return nil
}
