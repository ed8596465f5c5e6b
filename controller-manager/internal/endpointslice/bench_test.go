package endpointslice

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/controller-manager/internal/podtest"
)

// BenchmarkPlan is what a change costs a service of a thousand pods.
func BenchmarkPlan(b *testing.B) {
	o := observed{
		svc:  &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "web"}, Spec: corev1.ServiceSpec{ClusterIP: "10.0.0.1"}},
		node: func(string) *corev1.Node { return nil }, most: 100,
	}
	for i := range 1000 {
		o.pods = append(o.pods, podtest.Pod(b, fmt.Sprint("p", i), map[string]string{"ready": "true", "ip": fmt.Sprintf("10.1.%d.%d", i/250, i%250)}))
	}
	o.slices = plan(o).Create
	for b.Loop() {
		plan(o)
	}
}
