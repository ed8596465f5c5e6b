package clienttest

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/api/builtin"
	"xebec.dev/client"
	"xebec.dev/client/cache"
	"xebec.dev/client/stream"
)

// benchPod is of the size of pods in clusters, about 3 kB on the wire.
func benchPod(i int) *corev1.Pod {
	p := pod("default", fmt.Sprintf("pod-%06d", i))
	p.Labels = map[string]string{"app": fmt.Sprint("app-", i%100), "pod-template-hash": "5d4f8c7b9"}
	p.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "m", FieldsV1: &metav1.FieldsV1{Raw: make([]byte, 1000)}}}
	p.Spec.NodeName = fmt.Sprint("node-", i%50)
	for j := range 10 {
		p.Spec.Containers[0].Env = append(p.Spec.Containers[0].Env, corev1.EnvVar{Name: fmt.Sprint("VARIABLE_", j), Value: "a value of some length"})
	}
	return p
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// BenchmarkReplicaOf10kPods reports the memory that a pod takes in a replica
// with two indexes, whole, trimmed and by fields.
func BenchmarkReplicaOf10kPods(b *testing.B) {
	const pods = 10_000
	s := New(b, builtin.Scheme())
	c := s.Client(b)
	s.store.mu.Lock()
	r, _ := client.ResourceOf[*corev1.Pod](c)
	for i := range pods {
		p := benchPod(i)
		r.Strategy.Default(p)
		if _, err := s.store.put(r, nil, p); err != nil {
			b.Fatal(err)
		}
	}
	s.store.mu.Unlock()
	indexes := []*cache.Index[*corev1.Pod]{
		{Name: "node", Values: func(p *corev1.Pod) []string { return []string{p.Spec.NodeName} }},
		{Name: "app", Values: func(p *corev1.Pod) []string { return []string{p.Labels["app"]} }},
	}
	for _, o := range []struct {
		name string
		o    cache.Options[*corev1.Pod]
	}{
		{"whole", cache.Options[*corev1.Pod]{Indexes: indexes}},
		{"trimmed", cache.Options[*corev1.Pod]{Indexes: indexes, Trim: func(p *corev1.Pod) { p.ManagedFields = nil }}},
	} {
		b.Run(o.name, func(b *testing.B) {
			for b.Loop() {
				before := heap()
				ctx, cancel := context.WithCancel(context.Background())
				st := stream.New(c, stream.Options{})
				replica, err := cache.New(c, st, o.o)
				if err != nil {
					b.Fatal(err)
				}
				var running sync.WaitGroup
				running.Go(func() { _ = st.Run(ctx) })      // ends below
				running.Go(func() { _ = replica.Run(ctx) }) // ends below
				if err := replica.WaitForSync(ctx); err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(float64(heap()-before)/pods, "B/pod")
				cancel()
				running.Wait()
				runtime.KeepAlive(replica)
			}
		})
	}
}

func BenchmarkBatchCreate(b *testing.B) {
	s := New(b, builtin.Scheme())
	c := s.Client(b)
	batch := startBatch(b, c)
	var done sync.WaitGroup
	for i := 0; b.Loop(); i++ {
		w, err := client.CreateWrite(c, configMap("default", fmt.Sprintf("c-%08d", i), "1"), client.WriteOptions{OmitObject: true})
		if err != nil {
			b.Fatal(err)
		}
		done.Add(1)
		if err := batch.Submit(b.Context(), w, func(r client.Result) {
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
}
