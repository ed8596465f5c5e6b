package endpointslicemirroring

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestPlan(t *testing.T) {
	e := &corev1.Endpoints{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "ext", Labels: map[string]string{"team": "a"}}, Subsets: []corev1.EndpointSubset{{
		Addresses: []corev1.EndpointAddress{{IP: "10.0.0.1"}, {IP: "fd00::1"}}, NotReadyAddresses: []corev1.EndpointAddress{{IP: "10.0.0.2"}},
		Ports: []corev1.EndpointPort{{Port: 80, Protocol: corev1.ProtocolTCP}},
	}}}
	p, skipped := plan(e, nil, 1000)
	want := "create - IPv4 ports=/80/TCP/ 10.0.0.1,ready 10.0.0.2\ncreate - IPv6 ports=/80/TCP/ fd00::1,ready\n"
	if p.String() != want || skipped != 0 {
		t.Errorf("%d skipped, plan\n%s", skipped, p)
	}
	if l := p.Create[0].Labels; l["team"] != "a" || l["kubernetes.io/service-name"] != "ext" || l["endpointslice.kubernetes.io/managed-by"] != ManagedBy {
		t.Errorf("labels %v", l)
	}
	again, _ := plan(e, p.Create, 1000)
	if again.String() != "" {
		t.Errorf("again:\n%s", again)
	}
	if _, skipped := plan(e, nil, 2); skipped != 1 {
		t.Errorf("%d skipped, want 1", skipped)
	}
	gone, _ := plan(nil, p.Create, 1000)
	if len(gone.Delete) != 2 || len(gone.Create)+len(gone.Update) > 0 {
		t.Errorf("nothing to mirror:\n%s", gone)
	}
	for _, x := range []*corev1.Endpoints{nil, {ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"endpointslice.kubernetes.io/skip-mirror": "true"}}}, {ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{leader: ""}}}} {
		if mirrored(x) {
			t.Errorf("%+v is mirrored", x)
		}
	}
}
