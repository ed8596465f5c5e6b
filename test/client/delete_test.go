package client

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/client"
	"xebec.dev/test/apiservertest"
)

// TestDeleteIsNotHalfDone: a pod without a node is marked and then removed;
// when its client goes away in between, it is removed all the same.
func TestDeleteIsNotHalfDone(t *testing.T) {
	c := dial(t, apiservertest.Start(t, options...))
	const pods = 300
	for i := range pods {
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: fmt.Sprint("p", i)}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "x"}}}}
		if _, err := client.Create(t.Context(), c, p); err != nil {
			t.Fatal(err)
		}
	}
	var running sync.WaitGroup
	places := make(chan struct{}, 8)
	for i := range pods {
		places <- struct{}{}
		running.Go(func() {
			defer func() { <-places }()
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rand.IntN(4000))*time.Microsecond)
			defer cancel()
			_ = client.Delete[*corev1.Pod](ctx, c, "default", fmt.Sprint("p", i)) // most are cut short
		})
	}
	running.Wait()
	deadline := time.Now().Add(5 * time.Second)
	for {
		left, _, err := client.List[*corev1.Pod](t.Context(), c, client.Selection{Namespace: "default"})
		if err != nil {
			t.Fatal(err)
		}
		half := 0
		for _, p := range left {
			if p.DeletionTimestamp != nil {
				half++
			}
		}
		if half == 0 {
			t.Logf("%d of %d pods were removed", pods-len(left), pods)
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d pods are marked and not removed", half)
		}
		time.Sleep(50 * time.Millisecond)
	}
}
