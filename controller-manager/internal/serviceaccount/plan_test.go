package serviceaccount

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestPlan(t *testing.T) {
	now := metav1.Now()
	for _, c := range []struct {
		ns   corev1.Namespace
		have bool
		want string
	}{
		{corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "ns"}}, false, "create serviceaccount ns/default"},
		{corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "ns"}}, true, ""},
		{corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "ns", DeletionTimestamp: &now}}, false, ""},
		{corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "ns"}, Status: corev1.NamespaceStatus{Phase: corev1.NamespaceTerminating}}, false, ""},
	} {
		if got := plan(&c.ns, c.have); got != c.want {
			t.Errorf("%+v, %t: %q, want %q", c.ns.ObjectMeta, c.have, got, c.want)
		}
	}
}
