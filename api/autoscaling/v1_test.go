package autoscaling

import (
	"encoding/json"
	"testing"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func quantityOf(s string) *resource.Quantity {
	q := resource.MustParse(s)
	return &q
}

// everything is an autoscaler with each kind of metric, in v1's order: CPU last.
func everything() *autoscaler {
	n := int32(40)
	at := metav1.Unix(1_700_000_000, 0)
	selector := &metav1.LabelSelector{MatchLabels: map[string]string{"a": "b"}}
	object := autoscalingv2.CrossVersionObjectReference{Kind: "Service", Name: "s", APIVersion: "v1"}
	h := &autoscaler{
		ObjectMeta: metav1.ObjectMeta{Name: "h", Annotations: map[string]string{"kept": "yes"}},
		Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
			ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{Kind: "Deployment", Name: "d", APIVersion: "apps/v1"},
			MaxReplicas:    5,
			Metrics: []autoscalingv2.MetricSpec{
				{Type: "Object", Object: &autoscalingv2.ObjectMetricSource{DescribedObject: object,
					Metric: autoscalingv2.MetricIdentifier{Name: "m", Selector: selector},
					Target: autoscalingv2.MetricTarget{Type: "Value", Value: quantityOf("3")}}},
				{Type: "Object", Object: &autoscalingv2.ObjectMetricSource{DescribedObject: object,
					Metric: autoscalingv2.MetricIdentifier{Name: "m"},
					Target: autoscalingv2.MetricTarget{Type: "AverageValue", AverageValue: quantityOf("7")}}},
				{Type: "Pods", Pods: &autoscalingv2.PodsMetricSource{Metric: autoscalingv2.MetricIdentifier{Name: "m", Selector: selector},
					Target: autoscalingv2.MetricTarget{Type: "AverageValue", AverageValue: quantityOf("10")}}},
				{Type: "Resource", Resource: &autoscalingv2.ResourceMetricSource{Name: "memory",
					Target: autoscalingv2.MetricTarget{Type: "AverageValue", AverageValue: quantityOf("1Gi")}}},
				{Type: "ContainerResource", ContainerResource: &autoscalingv2.ContainerResourceMetricSource{Name: "cpu", Container: "c",
					Target: autoscalingv2.MetricTarget{Type: "Utilization", AverageUtilization: &n}}},
				{Type: "External", External: &autoscalingv2.ExternalMetricSource{Metric: autoscalingv2.MetricIdentifier{Name: "q", Selector: selector},
					Target: autoscalingv2.MetricTarget{Type: "AverageValue", AverageValue: quantityOf("500m")}}},
				utilization(n),
			},
			Behavior: &autoscalingv2.HorizontalPodAutoscalerBehavior{ScaleUp: &autoscalingv2.HPAScalingRules{Tolerance: quantityOf("50m")}},
		},
		Status: autoscalingv2.HorizontalPodAutoscalerStatus{
			CurrentReplicas: 1, DesiredReplicas: 2, LastScaleTime: &at,
			CurrentMetrics: []autoscalingv2.MetricStatus{
				{Type: "Resource", Resource: &autoscalingv2.ResourceMetricStatus{Name: "cpu",
					Current: autoscalingv2.MetricValueStatus{AverageUtilization: &n, AverageValue: quantityOf("100m")}}},
				{Type: "External", External: &autoscalingv2.ExternalMetricStatus{Metric: autoscalingv2.MetricIdentifier{Name: "q"},
					Current: autoscalingv2.MetricValueStatus{Value: quantityOf("0"), AverageValue: quantityOf("2")}}},
			},
			Conditions: []autoscalingv2.HorizontalPodAutoscalerCondition{{Type: "AbleToScale", Status: "True", LastTransitionTime: at, Reason: "R"}},
		},
	}
	setDefaults(h)
	return h
}

func TestThroughV1(t *testing.T) {
	want := everything()
	v1, err := toV1(want)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(v1)
	if err != nil {
		t.Fatal(err)
	}
	var read autoscalingv1.HorizontalPodAutoscaler
	if err := json.Unmarshal(text, &read); err != nil {
		t.Fatal(err)
	}
	got := fromV1(&read)
	setDefaults(got)
	if !apiequality.Semantic.DeepEqual(got, want) {
		a, _ := json.Marshal(got)
		b, _ := json.Marshal(want)
		t.Errorf("\n got %s\nwant %s", a, b)
	}
	if _, stays := want.Annotations[metricsAnnotation]; stays || len(want.Annotations) != 1 {
		t.Errorf("converting changed the original: %v", want.Annotations)
	}
}

func TestForeignAnnotations(t *testing.T) {
	for _, text := range []string{"", "null", "{", "[]", "5", `[{"type":"Pods","pods":null}]`, `{"ScaleUp":5}`, `{"ScaleUp":null}`} {
		in := &autoscalingv1.HorizontalPodAutoscaler{}
		in.Annotations = map[string]string{}
		for _, key := range v1Annotations {
			in.Annotations[key] = text
		}
		out := fromV1(in)
		setDefaults(out)
		if len(out.Annotations) > 0 {
			t.Errorf("%q: annotations %v", text, out.Annotations)
		}
		if _, err := toV1(out); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func FuzzFromV1(f *testing.F) {
	v1, _ := toV1(everything())
	for _, text := range v1.Annotations {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		in := &autoscalingv1.HorizontalPodAutoscaler{}
		in.Annotations = map[string]string{metricsAnnotation: text, currentMetricsAnnotation: text, conditionsAnnotation: text, behaviorAnnotation: text}
		out := fromV1(in)
		setDefaults(out)
		_ = validateSpec(&out.Spec, nil)
		_ = targets(out)
		_, _ = toV1(out) // not everything has a v1 form
	})
}

// What v1 leaves out is set, seen from the stored form: see fromV1.
func TestV1DefaultIsPartOfTheConversion(t *testing.T) {
	out := fromV1(&autoscalingv1.HorizontalPodAutoscaler{})
	if len(out.Spec.Metrics) != 1 || *out.Spec.Metrics[0].Resource.Target.AverageUtilization != 80 {
		t.Errorf("metrics %+v", out.Spec.Metrics)
	}
	out = fromV1(&autoscalingv1.HorizontalPodAutoscaler{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{
		metricsAnnotation: `[{"type":"Pods","pods":{"metricName":"m","targetAverageValue":"1"}}]`}}})
	if len(out.Spec.Metrics) != 1 || out.Spec.Metrics[0].Type != "Pods" {
		t.Errorf("with another metric: %+v", out.Spec.Metrics)
	}
}
