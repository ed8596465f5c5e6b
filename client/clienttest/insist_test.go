package clienttest_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/api/builtin"
	"xebec.dev/client"
	"xebec.dev/client/clienttest"
	pb "xebec.dev/proto/gen/control/v1"
)

// TestInsist: what a busy server refuses is sent again and succeeds; any other
// refusal is final.
func TestInsist(t *testing.T) {
	srv := clienttest.New(t, builtin.Scheme())
	var mu sync.Mutex
	tries := map[string]int{}
	srv.Intercept = func(_ context.Context, _ string, q any) error {
		c, ok := q.(*pb.CreateRequest)
		if !ok {
			return nil
		}
		mu.Lock()
		defer mu.Unlock()
		name := c.GetKey().GetName()
		tries[name]++
		switch {
		case name == "never":
			return apierrors.NewForbidden(corev1.Resource("configmaps"), name, fmt.Errorf("exceeded quota"))
		case tries[name] <= 3:
			return apierrors.NewTooManyRequests("Too many requests, please try again later.", 1)
		}
		return nil
	}
	c := srv.Client(t)
	b := client.NewBatch(c, 4)
	go func() { _ = b.Run(t.Context()) }() // ends with the test
	results := make(chan client.Result)
	names := []string{"a", "b", "c", "never", "d", "e"}
	for _, name := range names {
		w, err := client.CreateWrite(c, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name}})
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Insist(t.Context(), w, func(r client.Result) { go func() { results <- r }() }); err != nil {
			t.Fatal(err)
		}
	}
	failed := 0
	for range names {
		if r := <-results; r.Err != nil {
			if !apierrors.IsForbidden(r.Err) {
				t.Error(r.Err)
			}
			failed++
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if failed != 1 || tries["never"] != 1 || tries["a"] != 4 || tries["e"] != 4 {
		t.Errorf("%d failed after %v", failed, tries)
	}
}
