package core

import (
	"reflect"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Every field of an event survives the way into storage and back.
func TestEventConversion(t *testing.T) {
	at := time.Unix(1700000000, 123456000)
	e := &eventsv1.Event{
		TypeMeta:                 metav1.TypeMeta{Kind: "Event", APIVersion: "events.k8s.io/v1"},
		ObjectMeta:               metav1.ObjectMeta{Name: "e", Namespace: "n"},
		EventTime:                metav1.NewMicroTime(at),
		Series:                   &eventsv1.EventSeries{Count: 2, LastObservedTime: metav1.NewMicroTime(at)},
		ReportingController:      "a/b",
		ReportingInstance:        "i",
		Action:                   "A",
		Reason:                   "R",
		Regarding:                corev1.ObjectReference{Kind: "Pod", Name: "p"},
		Related:                  &corev1.ObjectReference{Kind: "Node", Name: "n"},
		Note:                     "note",
		Type:                     "Normal",
		DeprecatedSource:         corev1.EventSource{Component: "c", Host: "h"},
		DeprecatedFirstTimestamp: metav1.NewTime(at),
		DeprecatedLastTimestamp:  metav1.NewTime(at),
		DeprecatedCount:          3,
	}
	v := reflect.ValueOf(*e)
	for i := range v.NumField() {
		if v.Field(i).IsZero() {
			t.Fatalf("the sample lacks %s", v.Type().Field(i).Name)
		}
	}
	stored, err := decodeEvent(e)
	if err != nil {
		t.Fatal(err)
	}
	v = reflect.ValueOf(stored).Elem()
	for i := range v.NumField() {
		if v.Field(i).IsZero() {
			t.Errorf("%s is lost", v.Type().Field(i).Name)
		}
	}
	back, err := encodeEvent(stored)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(back, e) {
		t.Errorf("got %+v\nwant %+v", back, e)
	}
}
