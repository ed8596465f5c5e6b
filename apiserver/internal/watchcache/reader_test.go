package watchcache

import (
	"context"
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"xebec.dev/apiserver/internal/storage"
	"xebec.dev/apiserver/internal/storage/memory"
	"xebec.dev/apiserver/internal/storage/storagetest"
)

var _ storage.Reader = (*Store)(nil)
var _ storage.Store = (*Store)(nil)

func TestReader(t *testing.T) {
	s := run(t, memory.New(), Options{})
	ctx := context.Background()
	pods := s.Collection(storagetest.Pods)
	for i := range 30 {
		name := fmt.Sprintf("p%02d", i)
		ns := fmt.Sprintf("ns%d", i%2)
		if _, err := pods.Create(ctx, ns, name, storagetest.Pod(ns, name, fmt.Sprintf("n%d", i%3), corev1.PodRunning), 0); err != nil {
			t.Fatal(err)
		}
	}
	changed := s.Changed(storagetest.Pods)
	if _, err := pods.List(ctx, storage.ListOptions{}); err != nil { // the cache has it all
		t.Fatal(err)
	}
	p, ok := s.Get(storagetest.Pods, "ns1", "p03")
	if !ok || p.GetName() != "p03" || p.(*corev1.Pod).Spec.NodeName != "n0" || p.GetResourceVersion() == "" {
		t.Fatalf("got %+v, %v", p, ok)
	}
	if again, _ := s.Get(storagetest.Pods, "ns1", "p03"); again != p {
		t.Error("it was decoded twice")
	}
	if _, ok := s.Get(storagetest.Pods, "ns0", "p03"); ok {
		t.Error("there is no such pod")
	}
	if all := s.List(storagetest.Pods, ""); len(all) != 30 || all[0].GetName() != "p00" || all[15].GetName() != "p01" {
		t.Errorf("%d pods", len(all))
	}
	if some := s.List(storagetest.Pods, "ns1"); len(some) != 15 || some[1] != p {
		t.Errorf("%d pods in ns1", len(some))
	}
	for _, label := range []string{"spec.nodeName", "metadata.name", "metadata.namespace", "status.phase", "no.field"} {
		value := map[string]string{"spec.nodeName": "n2", "metadata.name": "p07", "metadata.namespace": "ns0", "status.phase": "Running"}[label]
		want := map[string]int{"spec.nodeName": 10, "metadata.name": 1, "metadata.namespace": 15, "status.phase": 30}[label]
		if got := s.ListByField(storagetest.Pods, label, value); len(got) != want {
			t.Errorf("%d pods by %s, want %d", len(got), label, want)
		}
	}
	o := pods.Newest("ns1", "p03")
	if _, err := pods.Update(ctx, o, storagetest.Pod("ns1", "p03", "n9", corev1.PodRunning), 0); err != nil {
		t.Fatal(err)
	}
	if p, ok := s.Get(storagetest.Pods, "ns1", "p03"); !ok || p.(*corev1.Pod).Spec.NodeName != "n9" {
		t.Errorf("our own write is not seen: %+v", p)
	}
	if _, err := pods.List(ctx, storage.ListOptions{}); err != nil {
		t.Fatal(err)
	}
	if s.Changed(storagetest.Pods) <= changed {
		t.Error("the revision did not rise")
	}
}

// The memo of decoded objects is bounded.
func TestReaderForgets(t *testing.T) {
	s := run(t, memory.New(), Options{})
	ctx := context.Background()
	c := s.Collection(storagetest.ConfigMaps)
	large := string(make([]byte, 500<<10))
	for i := range 40 {
		name := fmt.Sprint(i)
		if _, err := c.Create(ctx, "a", name, storagetest.ConfigMap("a", name, large, nil), 0); err != nil {
			t.Fatal(err)
		}
		s.Get(storagetest.ConfigMaps, "a", name)
		s.Get(storagetest.ConfigMaps, "a", "0") // stays
	}
	kept, _ := s.Get(storagetest.ConfigMaps, "a", "0")
	if again, _ := s.Get(storagetest.ConfigMaps, "a", "0"); again != kept {
		t.Error("what is used all the time was forgotten")
	}
	s.reader.mu.Lock()
	defer s.reader.mu.Unlock()
	if n := len(s.reader.young) + len(s.reader.old); n > 25 {
		t.Errorf("%d objects of half a megabyte are kept", n)
	}
}
