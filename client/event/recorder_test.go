package event_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/api/builtin"
	"xebec.dev/client"
	"xebec.dev/client/clienttest"
	"xebec.dev/client/event"
)

func start(t *testing.T) (*client.Client, *event.Recorder, func() []*corev1.Event) {
	c := clienttest.New(t, builtin.Scheme()).Client(t)
	r := event.NewRecorder(event.Over(c), builtin.Scheme(), "test-controller", event.Options{Host: "host"})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = r.Run(ctx) }() // ends with the test
	t.Cleanup(func() { cancel(); <-done })
	list := func() []*corev1.Event {
		items, _, err := client.List[*corev1.Event](t.Context(), c, client.Selection{})
		if err != nil {
			t.Fatal(err)
		}
		return items
	}
	return c, r, list
}

func about(name string) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name, UID: "uid-" + "1"}}
}

// wait until the recorder has sent an event about a last object.
func settle(t *testing.T, r *event.Recorder, list func() []*corev1.Event) []*corev1.Event {
	t.Helper()
	r.Event(about("settled"), corev1.EventTypeNormal, "Settled", "all before has been handled")
	for t.Context().Err() == nil {
		items := list()
		for i, e := range items {
			if e.Reason == "Settled" {
				return append(items[:i:i], items[i+1:]...)
			}
		}
	}
	return nil
}

func TestEqualEventsAreCounted(t *testing.T) {
	_, r, list := start(t)
	for range 5 {
		r.Eventf(about("p"), corev1.EventTypeWarning, "Failed", "it %s", "failed")
	}
	items := settle(t, r, list)
	if len(items) != 1 {
		t.Fatalf("%d events", len(items))
	}
	e := items[0]
	if e.Count != 5 || e.Message != "it failed" || e.InvolvedObject.Kind != "Pod" || e.InvolvedObject.APIVersion != "v1" || e.Source.Component != "test-controller" ||
		e.Source.Host != "host" || e.ReportingController != "test-controller" || e.Namespace != "ns" || !strings.HasPrefix(e.Name, "p.") {
		t.Errorf("got %+v", e)
	}
}

func TestSimilarEventsAreJoined(t *testing.T) {
	_, r, list := start(t)
	for i := range 15 {
		r.Event(about("p"), corev1.EventTypeNormal, "Varies", fmt.Sprint("message ", i))
	}
	items := settle(t, r, list)
	// Nine of their own, then one for all.
	if len(items) != 10 {
		t.Fatalf("%d events", len(items))
	}
	joined := 0
	for _, e := range items {
		if strings.HasPrefix(e.Message, "(combined from similar events): ") {
			joined++
			if e.Count != 6 || !strings.HasSuffix(e.Message, "message 14") {
				t.Errorf("joined: count %d, %q", e.Count, e.Message)
			}
		}
	}
	if joined != 1 {
		t.Errorf("%d joined", joined)
	}
}

func TestAnObjectHasABudget(t *testing.T) {
	_, r, list := start(t)
	for i := range 100 {
		r.Event(about("p"), corev1.EventTypeNormal, fmt.Sprint("Reason", i), "text")
	}
	if n := len(settle(t, r, list)); n != 25 {
		t.Errorf("%d events, want 25", n)
	}
}

func TestEventsOfClusterScopedObjectsAreInDefault(t *testing.T) {
	_, r, list := start(t)
	r.Event(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n"}}, corev1.EventTypeNormal, "Ready", "it is")
	items := settle(t, r, list)
	if len(items) != 1 || items[0].Namespace != "default" || items[0].InvolvedObject.Namespace != "" {
		t.Errorf("got %+v", items)
	}
}

func TestRecordingNeverBlocks(t *testing.T) {
	c := clienttest.New(t, builtin.Scheme()).Client(t)
	r := event.NewRecorder(event.Over(c), builtin.Scheme(), "idle", event.Options{})
	for i := range 5000 { // nobody sends
		r.Event(about("p"), corev1.EventTypeNormal, fmt.Sprint("Reason", i), "text")
	}
}

// Events that go through a batch are what those are that wait for an answer.
func TestBatchedEvents(t *testing.T) {
	c := clienttest.New(t, builtin.Scheme()).Client(t)
	b := client.NewBatch(c, 0)
	r := event.NewRecorder(event.Through(c, b), builtin.Scheme(), "test-controller", event.Options{Host: "host"})
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	group.Go(func() { _ = b.Run(ctx) }) // ends with the test
	group.Go(func() { _ = r.Run(ctx) })
	t.Cleanup(func() { cancel(); group.Wait() })
	find := func(reason string, count int32) *corev1.Event {
		for t.Context().Err() == nil {
			items, _, err := client.List[*corev1.Event](t.Context(), c, client.Selection{})
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range items {
				if e.Reason == reason && e.Count == count {
					return e
				}
			}
		}
		return nil
	}
	for range 5 {
		r.Event(about("p"), corev1.EventTypeWarning, "Failed", "it failed")
	}
	first := find("Failed", 5)
	// One that is gone, its time being up, is begun anew.
	if err := client.Delete[*corev1.Event](t.Context(), c, first.Namespace, first.Name); err != nil {
		t.Fatal(err)
	}
	r.Event(about("p"), corev1.EventTypeWarning, "Failed", "it failed")
	if again := find("Failed", 6); again.Name == first.Name {
		t.Errorf("the event %s came back", again.Name)
	}
	r.Event(about("p"), corev1.EventTypeWarning, "Failed", "it failed")
	find("Failed", 7)
}
