package endpointslice

import (
	"fmt"
	"maps"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/controller-manager/internal/podtest"
)

// TestHintsStay: endpoints that were lent to a zone stay lent while others come
// and go.
func TestHintsStay(t *testing.T) {
	nodes := map[string]*corev1.Node{
		"n": readNode("n", map[string]string{"zone": "a", "cpu": "4"}), "m": readNode("m", map[string]string{"zone": "b", "cpu": "4"}),
	}
	o := observed{
		svc: &corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "web", Annotations: map[string]string{corev1.DeprecatedAnnotationTopologyAwareHints: "auto"}},
			Spec:       corev1.ServiceSpec{ClusterIP: "10.0.0.1"},
		},
		node: func(n string) *corev1.Node { return nodes[n] }, most: 100, capacity: measure(maps.Values(nodes)),
	}
	add := func(name string) {
		o.pods = append(o.pods, podtest.Pod(t, name, map[string]string{"ready": "true", "node": "n", "ip": fmt.Sprintf("10.1.0.%d", len(o.pods)+1)}))
	}
	for _, name := range []string{"c", "d", "e", "f"} {
		add(name)
	}
	lent := func(p Plan) map[string]bool {
		for _, s := range append(p.Create, p.Update...) {
			o.slices = nil
			s.Name = "s"
			o.slices = append(o.slices, s)
		}
		out := map[string]bool{}
		for _, e := range o.slices[0].Endpoints {
			if e.Hints.ForZones[0].Name == "b" {
				out[e.TargetRef.Name] = true
			}
		}
		return out
	}
	first := lent(plan(o))
	if len(first) != 2 {
		t.Fatalf("lent: %v", first)
	}
	if p := plan(o); len(p.Create)+len(p.Update)+len(p.Delete) != 0 {
		t.Errorf("again: %v", p)
	}
	add("y")
	add("z") // would be the first to be lent
	then := lent(plan(o))
	for name := range first {
		if !then[name] || len(then) != 3 {
			t.Errorf("lent: %v, before %v", then, first)
		}
	}
}
