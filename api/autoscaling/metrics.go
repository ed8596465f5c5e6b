package autoscaling

import (
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func validateMetrics(s *autoscalingv2.HorizontalPodAutoscalerSpec) field.ErrorList {
	var errs field.ErrorList
	metrics := specPath.Child("metrics")
	// A metric of the pods themselves has no value while there are none.
	outside := false
	for i := range s.Metrics {
		errs = append(errs, validateMetric(&s.Metrics[i], metrics.Index(i))...)
		t := s.Metrics[i].Type
		outside = outside || t == autoscalingv2.ObjectMetricSourceType || t == autoscalingv2.ExternalMetricSourceType
	}
	if s.MinReplicas != nil && *s.MinReplicas == 0 && !outside {
		errs = append(errs, field.Forbidden(metrics, "must specify at least one Object or External metric to support scaling to zero replicas"))
	}
	return errs
}

// source is one of a metric's alternatives.
type source struct {
	kind     autoscalingv2.MetricSourceType
	name     string
	given    bool
	validate func(*field.Path) field.ErrorList
}

func sourcesOf(m *autoscalingv2.MetricSpec) [5]source {
	return [...]source{
		{autoscalingv2.ObjectMetricSourceType, "object", m.Object != nil, func(p *field.Path) field.ErrorList { return validateObject(m.Object, p) }},
		{autoscalingv2.ExternalMetricSourceType, "external", m.External != nil, func(p *field.Path) field.ErrorList { return validateExternal(m.External, p) }},
		{autoscalingv2.PodsMetricSourceType, "pods", m.Pods != nil, func(p *field.Path) field.ErrorList { return validatePods(m.Pods, p) }},
		{autoscalingv2.ResourceMetricSourceType, "resource", m.Resource != nil, func(p *field.Path) field.ErrorList { return validateResource(m.Resource, p) }},
		{autoscalingv2.ContainerResourceMetricSourceType, "containerResource", m.ContainerResource != nil, func(p *field.Path) field.ErrorList { return validateContainerResource(m.ContainerResource, p) }},
	}
}

var metricTypes = []autoscalingv2.MetricSourceType{
	autoscalingv2.ContainerResourceMetricSourceType, autoscalingv2.ExternalMetricSourceType, autoscalingv2.ObjectMetricSourceType,
	autoscalingv2.PodsMetricSourceType, autoscalingv2.ResourceMetricSourceType,
}

func validateMetric(m *autoscalingv2.MetricSpec, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	if m.Type == "" {
		errs = append(errs, field.Required(p.Child("type"), "must specify a metric source type"))
	}
	sources := sourcesOf(m)
	known, given := false, 0
	for i := range sources {
		known = known || sources[i].kind == m.Type
	}
	if !known {
		errs = append(errs, field.NotSupported(p.Child("type"), m.Type, metricTypes))
	}
	for i := range sources {
		if !sources[i].given {
			continue
		}
		if given++; given == 1 {
			errs = append(errs, sources[i].validate(p.Child(sources[i].name))...)
		}
	}
	if !known {
		// Kubernetes finds it twice, and every finding is a cause.
		errs = append(errs, field.NotSupported(p.Child("type"), m.Type, metricTypes))
	}
	for i := range sources {
		s := &sources[i]
		switch {
		case s.kind == m.Type && !s.given:
			errs = append(errs, field.Required(p.Child(s.name), "must populate information for the given metric source"))
		case s.kind != m.Type && s.given && given > 1:
			errs = append(errs, field.Forbidden(p.Child(s.name), "must populate the given metric source only"))
		}
	}
	return errs
}

func validateObject(m *autoscalingv2.ObjectMetricSource, p *field.Path) field.ErrorList {
	errs := validateReference(&m.DescribedObject, p.Child("describedObject"))
	errs = append(errs, validateIdentifier(&m.Metric, p.Child("metric"))...)
	target := p.Child("target")
	errs = append(errs, validateTarget(&m.Target, target)...)
	if m.Target.Value == nil && m.Target.AverageValue == nil {
		errs = append(errs, field.Required(target.Child("averageValue"), "must set either a target value or averageValue"))
	}
	return errs
}

func validateExternal(m *autoscalingv2.ExternalMetricSource, p *field.Path) field.ErrorList {
	errs := validateIdentifier(&m.Metric, p.Child("metric"))
	target := p.Child("target")
	errs = append(errs, validateTarget(&m.Target, target)...)
	switch total, each := m.Target.Value != nil, m.Target.AverageValue != nil; {
	case !total && !each:
		errs = append(errs, field.Required(target.Child("averageValue"), "must set either a target value for metric or a per-pod target"))
	case total && each:
		errs = append(errs, field.Forbidden(target.Child("value"), "may not set both a target value for metric and a per-pod target"))
	}
	return errs
}

func validatePods(m *autoscalingv2.PodsMetricSource, p *field.Path) field.ErrorList {
	errs := validateIdentifier(&m.Metric, p.Child("metric"))
	target := p.Child("target")
	errs = append(errs, validateTarget(&m.Target, target)...)
	if m.Target.AverageValue == nil {
		errs = append(errs, field.Required(target.Child("averageValue"), "must specify a positive target averageValue"))
	}
	return errs
}

func validateResource(m *autoscalingv2.ResourceMetricSource, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	if m.Name == "" {
		errs = append(errs, field.Required(p.Child("name"), "must specify a resource name"))
	}
	return append(errs, validateResourceTarget(&m.Target, p.Child("target"))...)
}

func validateContainerResource(m *autoscalingv2.ContainerResourceMetricSource, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	if m.Name == "" {
		errs = append(errs, field.Required(p.Child("name"), "must specify a resource name"))
	}
	container := p.Child("container")
	if m.Container == "" {
		errs = append(errs, field.Required(container, "must specify a container"))
	} else {
		for _, msg := range validation.IsDNS1123Label(m.Container) {
			errs = append(errs, field.Invalid(container, m.Container, msg))
		}
	}
	return append(errs, validateResourceTarget(&m.Target, p.Child("target"))...)
}

func validateResourceTarget(t *autoscalingv2.MetricTarget, p *field.Path) field.ErrorList {
	errs := validateTarget(t, p)
	switch percent, value := t.AverageUtilization != nil, t.AverageValue != nil; {
	case !percent && !value:
		errs = append(errs, field.Required(p.Child("averageUtilization"), "must set either a target raw value or a target utilization"))
	case percent && value:
		errs = append(errs, field.Forbidden(p.Child("averageValue"), "may not set both a target raw value and a target utilization"))
	}
	return errs
}

func validateIdentifier(m *autoscalingv2.MetricIdentifier, p *field.Path) field.ErrorList {
	return validateSegment(m.Name, "must specify a metric name", p.Child("name"))
}

func validateTarget(t *autoscalingv2.MetricTarget, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	if t.Type == "" {
		errs = append(errs, field.Required(p.Child("type"), "must specify a metric target type"))
	}
	switch t.Type {
	case autoscalingv2.UtilizationMetricType, autoscalingv2.ValueMetricType, autoscalingv2.AverageValueMetricType:
	default:
		errs = append(errs, field.Invalid(p.Child("type"), t.Type, "must be either Utilization, Value, or AverageValue"))
	}
	errs = append(errs, validatePositive(t.Value, p.Child("value"))...)
	errs = append(errs, validatePositive(t.AverageValue, p.Child("averageValue"))...)
	if t.AverageUtilization != nil && *t.AverageUtilization < 1 {
		errs = append(errs, field.Invalid(p.Child("averageUtilization"), *t.AverageUtilization, "must be greater than 0"))
	}
	return errs
}

func validatePositive(q *resource.Quantity, p *field.Path) field.ErrorList {
	if q == nil || q.Sign() > 0 {
		return nil
	}
	return field.ErrorList{field.Invalid(p, q.String(), "must be positive")}
}
