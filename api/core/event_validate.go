package core

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/check"
	"xebec.dev/api/internalform"
)

// ValidateEvent checks an event of core's API: little, unless it has an
// eventTime, the mark of the newer kind.
func ValidateEvent(e *corev1.Event) field.ErrorList { return validateEvent(e, "reportingComponent") }

func validateEventUpdate(e, _ *corev1.Event) field.ErrorList { return ValidateEvent(e) }

func validateEvent(e *corev1.Event, controllerField string) field.ErrorList {
	var errs field.ErrorList
	object := e.InvolvedObject.Namespace
	mismatch := func() {
		errs = append(errs, field.Invalid(field.NewPath("involvedObject", "namespace"), object, "does not match event.namespace"))
	}
	if e.EventTime.IsZero() {
		// Events about what is in no namespace live in "default".
		if object == "" && e.Namespace != metav1.NamespaceNone && e.Namespace != metav1.NamespaceDefault || object != "" && object != e.Namespace {
			mismatch()
		}
	} else {
		if object == "" && e.Namespace != metav1.NamespaceDefault && e.Namespace != metav1.NamespaceSystem {
			mismatch()
		}
		errs = append(errs, validateReporter(e, controllerField)...)
	}
	return append(errs, check.Subdomain(field.NewPath("namespace"), e.Namespace)...)
}

// validateReporter requires who reports what. Too long texts are not quoted.
func validateReporter(e *corev1.Event, controllerField string) field.ErrorList {
	const short, long = 128, 1024
	var errs field.ErrorList
	need := func(name, value string, limit int) {
		path := field.NewPath(name)
		errs = append(errs, check.Required(path, value)...)
		if limit > 0 && len(value) > limit {
			errs = append(errs, field.Invalid(path, "", fmt.Sprintf("can have at most %d characters", limit)))
		}
	}
	need(controllerField, e.ReportingController, 0)
	errs = append(errs, check.QualifiedName(field.NewPath(controllerField), e.ReportingController)...)
	need("reportingInstance", e.ReportingInstance, short)
	need("action", e.Action, short)
	need("reason", e.Reason, short)
	if len(e.Message) > long {
		errs = append(errs, field.Invalid(field.NewPath("message"), "", fmt.Sprintf("can have at most %d characters", long)))
	}
	return errs
}

// validateNewEvent checks an event of events.k8s.io, which may not use the
// fields of the older kind.
func validateNewEvent(e *corev1.Event) field.ErrorList {
	errs := validateEvent(e, "reportingController")
	errs = append(errs, check.Subdomain(field.NewPath("metadata", "name"), e.Name)...)
	if e.EventTime.IsZero() {
		errs = append(errs, field.Required(field.NewPath("eventTime"), ""))
	}
	if e.Type != corev1.EventTypeNormal && e.Type != corev1.EventTypeWarning {
		errs = append(errs, field.Invalid(field.NewPath("type"), "", "has invalid value: "+e.Type))
	}
	unset := func(name string, isSet bool) {
		if isSet {
			errs = append(errs, field.Invalid(field.NewPath(name), "", "needs to be unset"))
		}
	}
	unset("firstTimestamp", !e.FirstTimestamp.IsZero())
	unset("lastTimestamp", !e.LastTimestamp.IsZero())
	unset("count", e.Count != 0)
	unset("source", e.Source != corev1.EventSource{})
	if s := e.Series; s != nil {
		if s.Count < 2 {
			errs = append(errs, field.Invalid(field.NewPath("series", "count"), "", "should be at least 2"))
		}
		if s.LastObservedTime.IsZero() {
			errs = append(errs, field.Required(field.NewPath("series", "lastObservedTime"), ""))
		}
	}
	return errs
}

// validateNewEventUpdate lets only the series, labels and annotations change.
// reason is looked at twice, and reported twice.
func validateNewEventUpdate(e, old *corev1.Event) field.ErrorList {
	errs := validateEvent(e, "reportingController")
	errs = append(errs, check.Unchanged(field.NewPath("involvedObject"), e.InvolvedObject, old.InvolvedObject, internalform.Of)...)
	same := func(name, now, before string) {
		if now != before {
			errs = append(errs, field.Invalid(field.NewPath(name), now, check.Immutable))
		}
	}
	same("reason", e.Reason, old.Reason)
	same("message", e.Message, old.Message)
	errs = append(errs, check.Unchanged(field.NewPath("source"), e.Source, old.Source, internalform.Of)...)
	errs = append(errs, check.Unchanged(field.NewPath("firstTimestamp"), e.FirstTimestamp, old.FirstTimestamp, nil)...)
	errs = append(errs, check.Unchanged(field.NewPath("lastTimestamp"), e.LastTimestamp, old.LastTimestamp, nil)...)
	errs = append(errs, check.Unchanged(field.NewPath("count"), e.Count, old.Count, nil)...)
	same("reason", e.Reason, old.Reason)
	same("type", e.Type, old.Type)
	errs = append(errs, check.Unchanged(field.NewPath("eventTime"), e.EventTime, old.EventTime, nil)...)
	same("action", e.Action, old.Action)
	errs = append(errs, check.Unchanged(field.NewPath("related"), e.Related, old.Related, internalform.Of)...)
	same("reportingController", e.ReportingController, old.ReportingController)
	same("reportingInstance", e.ReportingInstance, old.ReportingInstance)
	return errs
}
