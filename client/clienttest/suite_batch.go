package clienttest

import (
	"context"
	"strconv"
	"sync"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/client"
)

var batchTests = tests{
	"every write has its own result":           testBatchResults,
	"writes to one object keep their order":    testBatchOrder,
	"the end of a batch fails what is waiting": testBatchEnd,
}

func revisionOf(t testing.TB, obj metav1.Object) int64 {
	t.Helper()
	rev, err := strconv.ParseInt(obj.GetResourceVersion(), 10, 64)
	if err != nil {
		t.Fatalf("resourceVersion %q of %s", obj.GetResourceVersion(), obj.GetName())
	}
	return rev
}

// startBatch runs a batch until the test ends.
func startBatch(t testing.TB, c *client.Client) *client.Batch {
	b := client.NewBatch(c, 0)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = b.Run(ctx) // ends with the test
	}()
	t.Cleanup(func() { cancel(); <-done })
	return b
}

func testBatchResults(t *testing.T, e *Env) {
	c, ctx := e.Client(t), testContext(t)
	ns := namespace(t, c)
	b := startBatch(t, c)
	var futures []*client.Future
	for _, name := range names(500) {
		for range 2 {
			w := must[*client.Write](t)(client.CreateWrite(c, configMap(ns, name, "1")))
			futures = append(futures, must[*client.Future](t)(b.Go(ctx, w)))
		}
	}
	made, refused := 0, 0
	for _, f := range futures {
		_, err := f.Wait(ctx)
		switch {
		case err == nil:
			made++
		case apierrors.IsAlreadyExists(err):
			refused++
		default:
			t.Fatal(err)
		}
	}
	if made != 500 || refused != 500 {
		t.Errorf("%d made, %d refused", made, refused)
	}
}

func testBatchOrder(t *testing.T, e *Env) {
	c, ctx := e.Client(t), testContext(t)
	ns := namespace(t, c)
	b := startBatch(t, c)
	var mu sync.Mutex
	var last *client.Future
	if _, err := b.Do(ctx, must[*client.Write](t)(client.CreateWrite(c, configMap(ns, "a", "0")))); err != nil {
		t.Fatal(err)
	}
	var revisions []int64
	for i := range 200 {
		w := must[*client.Write](t)(client.UpdateWrite(c, configMap(ns, "a", strconv.Itoa(i+1))))
		if i == 199 {
			last = must[*client.Future](t)(b.Go(ctx, w))
			break
		}
		err := b.Submit(ctx, w, func(r client.Result) {
			mu.Lock()
			defer mu.Unlock()
			revisions = append(revisions, r.Response.GetObject().GetRevision())
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := last.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	got := must[*cm](t)(client.Get[*cm](ctx, c, ns, "a"))
	if got.Data["value"] != "200" {
		t.Errorf("the last update was not the last: %s", got.Data["value"])
	}
	mu.Lock()
	defer mu.Unlock()
	for i := 1; i < len(revisions); i++ {
		if revisions[i] <= revisions[i-1] {
			t.Fatalf("update %d at revision %d after %d", i, revisions[i], revisions[i-1])
		}
	}
}

func testBatchEnd(t *testing.T, e *Env) {
	c := e.Client(t)
	b := client.NewBatch(c, 10)
	w := must[*client.Write](t)(client.CreateWrite(c, configMap("default", "never", "1")))
	f := must[*client.Future](t)(b.Go(t.Context(), w))
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.Run(ended); err != context.Canceled {
		t.Errorf("run: %v", err)
	}
	if _, err := f.Wait(testContext(t)); err == nil {
		t.Error("a write of an ended batch succeeded")
	}
	if _, err := b.Go(testContext(t), w); err == nil {
		t.Error("an ended batch took a write")
	}
}
