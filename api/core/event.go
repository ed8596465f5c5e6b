package core

import (
	"cmp"
	"strings"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/api/validation/path"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"xebec.dev/api/scheme"
	"xebec.dev/api/table"
)

func eventResource() scheme.Resource {
	return scheme.Resource{
		Group: "", Version: "v1", Kind: "Event",
		Plural: "events", Singular: "event",
		ShortNames:    []string{"ev"},
		Namespaced:    true,
		New:           func() runtime.Object { return new(corev1.Event) },
		NewList:       func() runtime.Object { return new(corev1.EventList) },
		StoragePrefix: "events",
		TTLSeconds:    3600,
		Served: []scheme.Version{
			{Version: "v1"},
			{
				Group: "events.k8s.io", Version: "v1",
				New:            func() runtime.Object { return new(eventsv1.Event) },
				NewList:        func() runtime.Object { return new(eventsv1.EventList) },
				Decode:         decodeEvent,
				Encode:         encodeEvent,
				Fields:         append(objectFields("regarding"), eventFields("reportingController")...),
				ValidateCreate: scheme.Hooks[corev1.Event]{ValidateCreate: validateNewEvent}.Erase().ValidateCreate,
				ValidateUpdate: scheme.UpdateHooks[corev1.Event]{ValidateUpdate: validateNewEventUpdate}.Erase().ValidateUpdate,
			},
		},
		Fields: append(append(objectFields("involvedObject"), eventFields("reportingComponent")...),
			scheme.SelectableField{Label: "source", Path: []string{"source.component", "reportingComponent"}}),
		Columns: eventColumns(),
		Row:     scheme.Rows(eventRow),
		Strategy: scheme.Hooks[corev1.Event]{
			// Old clients make names of what they report on.
			ValidateName:   path.ValidatePathSegmentName,
			ValidateCreate: ValidateEvent,
			ValidateUpdate: validateEventUpdate,
			CreateOnUpdate: true,
		}.Erase(),
	}
}

// objectFields are the selector labels of an event's object, which is
// involvedObject in storage and has another name elsewhere.
func objectFields(name string) []scheme.SelectableField {
	var fields []scheme.SelectableField
	for _, f := range []string{"kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath"} {
		fields = append(fields, scheme.SelectableField{Label: name + "." + f, Path: []string{"involvedObject." + f}})
	}
	return fields
}

func eventFields(controller string) []scheme.SelectableField {
	return []scheme.SelectableField{
		{Label: "reason"},
		{Label: controller, Path: []string{"reportingComponent"}},
		{Label: "type"},
	}
}

func eventColumns() []metav1.TableColumnDefinition {
	e := corev1.Event{}
	return []metav1.TableColumnDefinition{
		table.Field("Last Seen", e, "lastTimestamp"),
		table.Field("Type", e, "type"),
		table.Field("Reason", e, "reason"),
		table.Field("Object", e, "involvedObject"),
		table.Wide(table.Field("Subobject", corev1.ObjectReference{}, "fieldPath")),
		table.Wide(table.Field("Source", e, "source")),
		table.Field("Message", e, "message"),
		table.Wide(table.Field("First Seen", e, "firstTimestamp")),
		table.Wide(table.Field("Count", e, "count")),
		table.Wide(table.Name()),
	}
}

func eventRow(e *corev1.Event, now metav1.Time) []any {
	first := e.FirstTimestamp
	if first.IsZero() {
		first = metav1.Time(e.EventTime)
	}
	last, count := first, e.Count
	if !e.LastTimestamp.IsZero() {
		last = e.LastTimestamp
	}
	if e.Series != nil {
		last, count = metav1.Time(e.Series.LastObservedTime), e.Series.Count
	} else if count == 0 {
		count = 1
	}
	object := strings.ToLower(e.InvolvedObject.Kind)
	if e.InvolvedObject.Name != "" {
		object += "/" + e.InvolvedObject.Name
	}
	source := cmp.Or(e.Source.Component, e.ReportingController)
	if host := cmp.Or(e.Source.Host, e.ReportingInstance); host != "" {
		source += ", " + host
	}
	return []any{
		table.Since(last, now), e.Type, e.Reason, object, e.InvolvedObject.FieldPath, source,
		strings.TrimSpace(e.Message), table.Since(first, now), int64(count), e.Name,
	}
}
