package write

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/api/builtin"
	"xebec.dev/client"
	"xebec.dev/client/cache"
	"xebec.dev/client/clienttest"
	"xebec.dev/client/stream"
	pb "xebec.dev/proto/gen/control/v1"
)

// setup starts a server whose creates are refused once refuse says so.
func setup(t *testing.T, refuse func(name string) bool) (*Writer, *cache.Replica[*corev1.ConfigMap]) {
	t.Helper()
	srv := clienttest.New(t, builtin.Scheme())
	srv.Intercept = func(_ context.Context, method string, q any) error {
		if c, ok := q.(*pb.CreateRequest); ok && method == "Create" && refuse(c.GetKey().GetName()) {
			return apierrors.NewForbidden(corev1.Resource("configmaps"), c.GetKey().GetName(), fmt.Errorf("exceeded quota"))
		}
		return nil
	}
	c := srv.Client(t)
	s := stream.New(c, stream.Options{})
	r, err := cache.New(c, s, cache.Options[*corev1.ConfigMap]{})
	if err != nil {
		t.Fatal(err)
	}
	b := client.NewBatch(c, 0)
	for _, run := range []func(context.Context) error{s.Run, r.Run, b.Run} {
		go func() { _ = run(t.Context()) }() // ends with the test
	}
	if err := r.WaitForSync(t.Context()); err != nil {
		t.Fatal(err)
	}
	return NewWriter(c, b), r
}

func creates(t *testing.T, w *Writer, n int) []*client.Write {
	t.Helper()
	var out []*client.Write
	for i := range n {
		q, err := client.CreateWrite(w.Client, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: fmt.Sprint("m", i)}})
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, q)
	}
	return out
}

// TestSlowStopsAtTheFirstFailures: of a thousand writes that are refused, one
// is tried; of those refused from the eleventh on, no more than a round.
func TestSlowStopsAtTheFirstFailures(t *testing.T) {
	w, _ := setup(t, func(string) bool { return true })
	if got := w.Slow(t.Context(), creates(t, w, 1000)); len(got) != 1 || !apierrors.IsForbidden(got[0].Err) {
		t.Errorf("%d writes, the first: %v", len(got), got[0].Err)
	}
	room := map[string]bool{}
	for i := range 10 {
		room[fmt.Sprint("m", i)] = true
	}
	w, _ = setup(t, func(name string) bool { return !room[name] })
	got := w.Slow(t.Context(), creates(t, w, 1000))
	failed := 0
	for _, r := range got {
		if r.Err != nil {
			failed++
		}
	}
	if len(got) != 15 || failed != 5 || FirstError(got) == nil || Unknown(got) {
		t.Errorf("%d writes, %d failed; want 1+2+4+8 and 5", len(got), failed)
	}
}

// TestBusyServer: writes that a busy server refuses at first are no failures.
func TestBusyServer(t *testing.T) {
	var mu sync.Mutex
	tries := map[string]int{}
	srv := clienttest.New(t, builtin.Scheme())
	srv.Intercept = func(_ context.Context, method string, q any) error {
		c, ok := q.(*pb.CreateRequest)
		if !ok || method != "Create" {
			return nil
		}
		mu.Lock()
		defer mu.Unlock()
		if tries[c.GetKey().GetName()]++; tries[c.GetKey().GetName()] <= 2 {
			return apierrors.NewTooManyRequests("Too many requests, please try again later.", 1)
		}
		return nil
	}
	c := srv.Client(t)
	b := client.NewBatch(c, 0)
	go func() { _ = b.Run(t.Context()) }() // ends with the test
	w := NewWriter(c, b)
	if got := w.Slow(t.Context(), creates(t, w, 20)); len(got) != 20 || FirstError(got) != nil {
		t.Errorf("%d of 20 writes, %v", len(got), FirstError(got))
	}
}

// TestLedger: a key is unsettled until the replica shows all that was written
// for it.
func TestLedger(t *testing.T) {
	w, r := setup(t, func(string) bool { return false })
	l := NewLedger(r)
	key := cache.Key{Namespace: "ns", Name: "owner"}
	settled := func() bool {
		t.Helper()
		ok, err := l.Settled(t.Context(), w, key)
		if err != nil {
			t.Fatal(err)
		}
		return ok
	}
	wait := func(what string) {
		t.Helper()
		for deadline := time.Now().Add(30 * time.Second); !settled(); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal(what)
			}
		}
	}
	if !settled() {
		t.Error("unsettled before anything was written")
	}
	results := w.All(t.Context(), creates(t, w, 20))
	if err := FirstError(results); err != nil {
		t.Fatal(err)
	}
	l.Wrote(key, results...)
	wait("creates are never seen")
	if n := r.Snapshot().Len(); n != 20 {
		t.Errorf("settled with %d of 20 objects", n)
	}
	// A revision that is still to come.
	l.Wrote(key, client.Result{Response: &pb.WriteResponse{Object: &pb.Object{Revision: r.Snapshot().Revision() + 1}}})
	if settled() {
		t.Error("settled before the revision was seen")
	}
	m, _ := r.Get("ns", "m0")
	l.Deleted(key, m)
	if err := client.Delete[*corev1.ConfigMap](t.Context(), w.Client, "ns", "m0"); err != nil {
		t.Fatal(err)
	}
	wait("the deletion is never seen")
	if _, ok := r.Get("ns", "m0"); ok {
		t.Error("settled while the object is there")
	}
	// A write of which nobody knows: what the server has now is new enough.
	l.Wrote(key, client.Result{Err: fmt.Errorf("%w: connection lost", client.ErrOutcomeUnknown)})
	if _, err := client.Create(t.Context(), w.Client, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "late"}}); err != nil {
		t.Fatal(err)
	}
	wait("doubt is never resolved")
	if _, ok := r.Get("ns", "late"); !ok {
		t.Error("settled on a state that is older than the write in doubt")
	}
	l.Wrote(key, client.Result{Err: client.ErrOutcomeUnknown})
	l.Forget(key)
	if !settled() {
		t.Error("unsettled though forgotten")
	}
}
