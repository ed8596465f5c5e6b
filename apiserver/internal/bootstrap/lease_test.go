package bootstrap

import (
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestExpired(t *testing.T) {
	now := time.Now()
	at := func(ago time.Duration) *metav1.MicroTime { m := metav1.NewMicroTime(now.Add(-ago)); return &m }
	hour := int32(LeaseSeconds)
	for name, c := range map[string]struct {
		label string
		spec  coordinationv1.LeaseSpec
		want  bool
	}{
		"renewed":         {"kube-apiserver", coordinationv1.LeaseSpec{RenewTime: at(time.Minute), LeaseDurationSeconds: &hour}, false},
		"not renewed":     {"kube-apiserver", coordinationv1.LeaseSpec{RenewTime: at(61 * time.Minute), LeaseDurationSeconds: &hour}, true},
		"without a time":  {"kube-apiserver", coordinationv1.LeaseSpec{LeaseDurationSeconds: &hour}, true},
		"somebody else's": {"", coordinationv1.LeaseSpec{RenewTime: at(48 * time.Hour), LeaseDurationSeconds: &hour}, false},
	} {
		l := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{identityLabel: c.label}}, Spec: c.spec}
		if got := expired(l, now); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// A machine's name that is no label does not keep the server from its lease.
func TestIdentityLabels(t *testing.T) {
	for host, want := range map[string]string{"n1.example": "n1.example", "(none)": "", strings.Repeat("a", 64): ""} {
		if got := identityLabels(host)[corev1.LabelHostname]; got != want {
			t.Errorf("%q: label %q, want %q", host, got, want)
		}
	}
}
