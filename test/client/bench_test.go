package client

import (
	"context"
	"fmt"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/client"
	"xebec.dev/test/apiservertest"
)

// BenchmarkCreate makes pods in a batch, and one call each from 64 callers.
func BenchmarkCreate(b *testing.B) {
	s := apiservertest.Start(b, options...)
	c := dial(b, s)
	pod := func(prefix string, i int) *corev1.Pod {
		return &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: fmt.Sprintf("%s-%08d", prefix, i)},
			Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "registry.example/image:1"}}},
		}
	}
	omit := client.WriteOptions{OmitObject: true}
	b.Run("batch", func(b *testing.B) {
		batch := client.NewBatch(c, 0)
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- batch.Run(ctx) }()
		var done sync.WaitGroup
		prefix := fmt.Sprint("b", b.N)
		for i := range b.N {
			w, err := client.CreateWrite(c, pod(prefix, i), omit)
			if err != nil {
				b.Fatal(err)
			}
			done.Add(1)
			if err := batch.Submit(ctx, w, func(r client.Result) {
				if r.Err != nil {
					b.Error(r.Err)
				}
				done.Done()
			}); err != nil {
				b.Fatal(err)
			}
		}
		done.Wait()
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "creates/s")
		cancel()
		<-ended
	})
	b.Run("calls", func(b *testing.B) {
		prefix := fmt.Sprint("c", b.N)
		var callers sync.WaitGroup
		next := make(chan int)
		for range 64 {
			callers.Go(func() {
				for i := range next {
					if _, err := client.Create(b.Context(), c, pod(prefix, i), omit); err != nil {
						b.Error(err)
					}
				}
			})
		}
		for i := range b.N {
			next <- i
		}
		close(next)
		callers.Wait()
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "creates/s")
	})
}
