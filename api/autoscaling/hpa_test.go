package autoscaling

import (
	"testing"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func message(errs field.ErrorList) string {
	if err := errs.ToAggregate(); err != nil {
		return err.Error()
	}
	return ""
}

func TestValidateSpec(t *testing.T) {
	zero, one := int32(0), int32(1)
	external := autoscalingv2.MetricSpec{Type: "External", External: &autoscalingv2.ExternalMetricSource{
		Metric: autoscalingv2.MetricIdentifier{Name: "q"}, Target: autoscalingv2.MetricTarget{Type: "Value", Value: quantityOf("1")}}}
	for name, c := range map[string]struct {
		change func(*autoscalingv2.HorizontalPodAutoscalerSpec)
		want   string
	}{
		"valid": {func(*autoscalingv2.HorizontalPodAutoscalerSpec) {}, ""},
		"to zero": {func(s *autoscalingv2.HorizontalPodAutoscalerSpec) {
			s.MinReplicas, s.Metrics = &zero, append(s.Metrics, external)
		}, ""},
		"to zero by cpu": {func(s *autoscalingv2.HorizontalPodAutoscalerSpec) { s.MinReplicas = &zero },
			"spec.metrics: Forbidden: must specify at least one Object or External metric to support scaling to zero replicas"},
		"replication controller": {func(s *autoscalingv2.HorizontalPodAutoscalerSpec) {
			s.ScaleTargetRef = autoscalingv2.CrossVersionObjectReference{Kind: "ReplicationController", Name: "r", APIVersion: "v1"}
		}, ""},
		"group of nowhere": {func(s *autoscalingv2.HorizontalPodAutoscalerSpec) { s.ScaleTargetRef.APIVersion = "a/b/c" },
			`spec.scaleTargetRef.apiVersion: Invalid value: "a/b/c": unexpected GroupVersion string: a/b/c`},
		"two sources": {func(s *autoscalingv2.HorizontalPodAutoscalerSpec) { s.Metrics[0].External = external.External },
			"spec.metrics[0].external: Forbidden: must populate the given metric source only"},
		"period": {func(s *autoscalingv2.HorizontalPodAutoscalerSpec) {
			s.Behavior = &autoscalingv2.HorizontalPodAutoscalerBehavior{ScaleUp: &autoscalingv2.HPAScalingRules{
				Policies: []autoscalingv2.HPAScalingPolicy{{Type: "Pods", Value: 1, PeriodSeconds: 1801}}}}
		}, "spec.behavior.scaleUp.policies[0].periodSeconds: Invalid value: 1801: must be less than or equal to 1800"},
	} {
		h := autoscaler{Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
			ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{Kind: "Deployment", Name: "d", APIVersion: "apps/v1"},
			MinReplicas:    &one, MaxReplicas: 3,
		}}
		setDefaults(&h)
		c.change(&h.Spec)
		if got := message(validateSpec(&h.Spec, nil)); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, c.want)
		}
	}
}

func TestTargetWithoutGroupStays(t *testing.T) {
	h := autoscaler{Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
		ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{Kind: "Deployment", Name: "d"}, MaxReplicas: 3}}
	setDefaults(&h)
	if got := message(validateSpec(&h.Spec, &h.Spec)); got != "" {
		t.Error(got)
	}
}

func TestTargets(t *testing.T) {
	h := everything()
	for _, c := range []struct {
		from, to int
		want     string
	}{
		{0, 1, "<unknown>/3"},
		{1, 2, "<unknown>/7 (avg)"},
		{2, 3, "<unknown>/10"},
		{3, 4, "memory: <unknown>/1Gi"},
		{4, 5, "cpu: <unknown>/40%"},
		{5, 6, "<unknown>/500m (avg)"},
		{6, 7, "cpu: 40%/40%"},
		{3, 7, "memory: 100m/1Gi, cpu: <unknown>/40% + 2 more..."},
	} {
		x := h.DeepCopy()
		x.Spec.Metrics = h.Spec.Metrics[c.from:c.to]
		if c.from != 6 && c.to != 7 {
			x.Status.CurrentMetrics = nil
		}
		if got := targets(x); got != c.want {
			t.Errorf("metrics %d to %d: %q, want %q", c.from, c.to, got, c.want)
		}
	}
}

// TestGeneration: the spec's changes are counted, since v1.37.
func TestGeneration(t *testing.T) {
	changed := hooks().SpecChanged
	h := &autoscaler{Spec: autoscalingv2.HorizontalPodAutoscalerSpec{MaxReplicas: 2}}
	other := h.DeepCopy()
	other.Labels, other.Status.CurrentReplicas = map[string]string{"a": "b"}, 1
	if changed(other, h) {
		t.Error("labels and status count")
	}
	other.Spec.MaxReplicas = 3
	if !changed(other, h) {
		t.Error("the spec does not count")
	}
}
