package endpoints

import (
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"xebec.dev/controller-manager/internal/golden"
	"xebec.dev/controller-manager/internal/podtest"
)

func service() *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "web"},
		Spec:       corev1.ServiceSpec{ClusterIP: "10.0.0.1", Ports: []corev1.ServicePort{{Name: "http", Port: 80, Protocol: corev1.ProtocolTCP, TargetPort: intstr.FromInt32(8080)}}},
	}
}

func TestPlan(t *testing.T) {
	golden.Run(t, "testdata/plan.txt", func(t *testing.T, in []string) string {
		svc := service()
		var pods []*corev1.Pod
		var have *corev1.Endpoints
		for _, line := range in {
			words, pairs := golden.Fields(line)
			switch words[0] {
			case "service":
				svc.Spec.PublishNotReadyAddresses = pairs["unready"] != ""
				if pairs["headless"] != "" {
					svc.Spec.ClusterIP, svc.Spec.Ports = corev1.ClusterIPNone, nil
				}
				if v := pairs["target"]; v != "" {
					svc.Spec.Ports[0].TargetPort = intstr.FromString(v)
				}
			case "pod":
				p := podtest.Pod(t, words[1], pairs)
				p.Spec.Hostname, p.Spec.Subdomain = pairs["host"], pairs["domain"]
				if v := pairs["port"]; v != "" {
					p.Spec.Containers = []corev1.Container{{Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: podtest.Int(t, v), Protocol: corev1.ProtocolTCP}}}}
				}
				pods = append(pods, p)
			case "same": // as planned from what was said so far
				have = plan(svc, pods, nil, time.Time{}).Create
			default:
				t.Fatalf("what is %q?", line)
			}
		}
		return plan(svc, pods, have, podtest.Now).String()
	})
}

// TestTooMany: what is cut off is said, and ready addresses go before others.
func TestTooMany(t *testing.T) {
	var pods []*corev1.Pod
	for i := range most + 10 {
		pairs := map[string]string{"ip": fmt.Sprintf("10.1.%d.%d", i/200, i%200)}
		if i >= 20 {
			pairs["ready"] = "true"
		}
		pods = append(pods, podtest.Pod(t, fmt.Sprint("p", i), pairs))
	}
	e := plan(service(), pods, nil, time.Time{}).Create
	if n := len(e.Subsets[0].Addresses); n != most-10 || len(e.Subsets[0].NotReadyAddresses) != 10 {
		t.Errorf("%d ready, %d not", n, len(e.Subsets[0].NotReadyAddresses))
	}
	if e.Annotations[corev1.EndpointsOverCapacity] != truncated {
		t.Errorf("annotations %v", e.Annotations)
	}
}
