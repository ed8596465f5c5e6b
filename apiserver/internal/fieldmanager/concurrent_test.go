package fieldmanager

import (
	"fmt"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// Managers are shared by all requests; the race detector watches.
func TestConcurrentUse(t *testing.T) {
	m, pod := podManager(t)
	now := time.Unix(1e9, 0)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			mine := pod.DeepCopy()
			if err := m.Create(mine, fmt.Sprint("maker", i), now); err != nil {
				t.Error(err)
			}
			mine.UID = "u"
			next := mine.DeepCopy()
			next.Status.Conditions = []corev1.PodCondition{{Type: "Ready", Status: "True"}}
			if err := m.Update(mine, next, "kubelet", "status", now); err != nil {
				t.Error(err)
			}
			obj, err := m.Apply(next, []byte(`{"apiVersion":"v1","kind":"Pod","metadata":{"name":"web-5d9f8c7b6-abcde","labels":{"x":"y"}}}`), "m", false, "", now)
			if err != nil || len(obj.GetManagedFields()) != 3 {
				t.Errorf("%v", err)
			}
		})
	}
	all.Wait()
}
