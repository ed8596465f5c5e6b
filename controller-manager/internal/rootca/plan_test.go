package rootca

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestPlan(t *testing.T) {
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "ns"}}
	ending := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "ns"}, Status: corev1.NamespaceStatus{Phase: corev1.NamespaceTerminating}}
	right := plan(ns, nil, "pem").Create
	other := right.DeepCopy()
	other.Data["ca.crt"] = "mine"
	more := right.DeepCopy()
	more.Data["more"] = "x"
	for _, c := range []struct {
		name string
		ns   *corev1.Namespace
		have *corev1.ConfigMap
		want string
	}{
		{"missing", ns, nil, "create configmap ns/kube-root-ca.crt"},
		{"right", ns, right, ""},
		{"changed", ns, other, "update configmap ns/kube-root-ca.crt"},
		{"added to", ns, more, "update configmap ns/kube-root-ca.crt"},
		{"an ending namespace", ending, nil, ""},
	} {
		if got := plan(c.ns, c.have, "pem").String(); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}
