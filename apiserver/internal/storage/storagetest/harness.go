// Package storagetest is the conformance suite of storage.Store: what every
// store promises, over whatever keeps its bytes.
package storagetest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"xebec.dev/api/scheme"
	"xebec.dev/apiserver/internal/storage"
	"xebec.dev/apiserver/internal/storage/kv"
)

// Harness is a running store and a way to its insides.
type Harness struct {
	Store storage.Store
	// KV is what the store is over.
	KV kv.Store
	// Compact forgets the history before a revision.
	Compact func(revision int64)
	// Break ends the feed of changes as a lost connection does.
	Break func()
	// Again makes another store over the same KV: a second server.
	Again func() storage.Store
}

// Pods and ConfigMaps are resources to test with.
var (
	Pods = &scheme.Resource{
		Version: "v1", Kind: "Pod", Plural: "pods", Namespaced: true, StoragePrefix: "pods",
		New: func() runtime.Object { return new(corev1.Pod) },
		Fields: []scheme.SelectableField{
			{Label: "spec.nodeName"}, {Label: "status.phase"},
			{Label: "spec.hostNetwork", IfEmpty: "false"},
		},
	}
	ConfigMaps = &scheme.Resource{
		Version: "v1", Kind: "ConfigMap", Plural: "configmaps", Namespaced: true, StoragePrefix: "configmaps",
		New: func() runtime.Object { return new(corev1.ConfigMap) },
	}
	Nodes = &scheme.Resource{
		Version: "v1", Kind: "Node", Plural: "nodes", StoragePrefix: "minions",
		New: func() runtime.Object { return new(corev1.Node) },
	}
	// Widgets are custom: JSON.
	Widgets = &scheme.Resource{
		Group: "example.com", Version: "v1", Kind: "Widget", Plural: "widgets", Namespaced: true, StoragePrefix: "example.com/widgets",
		Fields: []scheme.SelectableField{{Label: "spec.color", Path: []string{"spec.color"}}},
	}
	// All but Widgets, which joins late.
	Resources = []*scheme.Resource{Pods, ConfigMaps, Nodes}
)

// Field indexes of Pods.
const (
	FieldNode = iota
	FieldPhase
	FieldHostNetwork
)

// ConfigMap is an object's bytes.
func ConfigMap(ns, name, data string, labels map[string]string) []byte {
	m := &corev1.ConfigMap{ObjectMeta: meta(ns, name, labels), Data: map[string]string{"k": data}}
	return marshal(m)
}

// Pod is an object's bytes.
func Pod(ns, name, node string, phase corev1.PodPhase) []byte {
	return marshal(&corev1.Pod{
		ObjectMeta: meta(ns, name, nil),
		Spec:       corev1.PodSpec{NodeName: node, Containers: []corev1.Container{{Name: "c", Image: "i"}}},
		Status:     corev1.PodStatus{Phase: phase},
	})
}

func meta(ns, name string, labels map[string]string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: ns, Name: name, UID: types.UID("uid-" + name), Labels: labels}
}

func marshal(m scheme.Message) []byte {
	b, err := m.Marshal()
	if err != nil {
		panic(err)
	}
	return b
}

// run is one test's state.
type run struct {
	*testing.T
	*Harness
	ctx context.Context
}

func (r *run) create(c storage.Collection, ns, name string, raw []byte) *storage.Object {
	r.Helper()
	o, err := c.Create(r.ctx, ns, name, raw, 0)
	if err != nil {
		r.Fatalf("create %s/%s: %v", ns, name, err)
	}
	return o
}

func (r *run) update(c storage.Collection, old *storage.Object, raw []byte) *storage.Object {
	r.Helper()
	o, err := c.Update(r.ctx, old, raw, 0)
	if err != nil {
		r.Fatalf("update %s/%s: %v", old.Namespace, old.Name, err)
	}
	return o
}

func (r *run) remove(c storage.Collection, old *storage.Object) int64 {
	r.Helper()
	revision, err := c.Delete(r.ctx, old)
	if err != nil {
		r.Fatalf("delete %s/%s: %v", old.Namespace, old.Name, err)
	}
	return revision
}

func (r *run) list(c storage.Collection, o storage.ListOptions) *storage.List {
	r.Helper()
	l, err := c.List(r.ctx, o)
	if err != nil {
		r.Fatalf("list %+v: %v", o, err)
	}
	return l
}

func (r *run) watch(c storage.Collection, o storage.WatchOptions) *watching {
	r.Helper()
	w, err := c.Watch(r.ctx, o)
	if err != nil {
		r.Fatalf("watch %+v: %v", o, err)
	}
	r.Cleanup(w.Close)
	return &watching{r: r, w: w}
}

// watching collects a watcher's events.
type watching struct {
	r       *run
	w       storage.Watcher
	pending []storage.Event
}

// next is the next event.
func (w *watching) next() storage.Event {
	w.r.Helper()
	if len(w.pending) == 0 {
		ctx, cancel := context.WithTimeout(w.r.ctx, 10*time.Second)
		defer cancel()
		events, err := w.w.Next(ctx)
		if err != nil {
			w.r.Fatalf("next: %v", err)
		}
		w.pending = append(w.pending, events...)
	}
	e := w.pending[0]
	w.pending = w.pending[1:]
	return e
}

// expect reads events and compares them with "ADDED ns/name@revision".
func (w *watching) expect(want ...string) {
	w.r.Helper()
	for i, s := range want {
		if got := show(w.next()); got != s {
			w.r.Fatalf("event %d is %s, want %s", i, got, s)
		}
	}
}

// quiet fails if there is an event within a short while.
func (w *watching) quiet() {
	w.r.Helper()
	ctx, cancel := context.WithTimeout(w.r.ctx, 50*time.Millisecond)
	defer cancel()
	if len(w.pending) > 0 {
		w.r.Fatalf("unexpected event %s", show(w.pending[0]))
	}
	events, err := w.w.Next(ctx)
	if err == nil {
		w.r.Fatalf("unexpected event %s", show(events[0]))
	}
	if !errors.Is(err, context.DeadlineExceeded) {
		w.r.Fatalf("next: %v", err)
	}
}

func show(e storage.Event) string {
	if e.Object == nil {
		end := ""
		if e.InitialEventsEnd {
			end = " end"
		}
		return fmt.Sprintf("%s%s", e.Type, end)
	}
	return fmt.Sprintf("%s %s/%s@%d", e.Type, e.Object.Namespace, e.Object.Name, e.Revision)
}

func names(l *storage.List) []string {
	out := []string{}
	for _, o := range l.Objects {
		out = append(out, o.Namespace+"/"+o.Name)
	}
	return out
}
