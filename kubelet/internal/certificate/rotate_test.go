package certificate

import (
	"crypto/x509"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

var clock = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)

// A certificate is replaced when 70 to 90 % of its life are over, and looked
// at each minute: clocks may jump.
func TestPause(t *testing.T) {
	day := &x509.Certificate{NotBefore: clock, NotAfter: clock.Add(24 * time.Hour)}
	short := &x509.Certificate{NotBefore: clock.Add(-5 * time.Minute), NotAfter: clock.Add(time.Minute)} // dated back
	for _, c := range []struct {
		name string
		cert *x509.Certificate
		at   time.Duration
		luck float64
		want time.Duration
	}{
		{"new", day, 0, 0.5, time.Minute},
		{"nearly due", day, 24*time.Hour*7/10 - 30*time.Second, 0, 30 * time.Second},
		{"due", day, 24 * time.Hour * 7 / 10, 0, 0},
		{"not due with more luck", day, 24 * time.Hour * 7 / 10, 1, time.Minute},
		{"over", day, 25 * time.Hour, 1, 0},
		{"a short one, at once", short, 0, 0, 0},
		{"a short one, in its time", short, 0, 1, 24 * time.Second},
		{"in a moment", short, 23900 * time.Millisecond, 1, time.Second},
	} {
		if got := pause(c.cert, clock.Add(c.at), c.luck); got.Round(time.Millisecond) != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// A serving certificate is for the node's addresses, and waits for them.
func TestForServing(t *testing.T) {
	if !ForServing("n", nil).empty() || ForClient("n").empty() {
		t.Error("what is empty")
	}
	w := ForServing("n", []corev1.NodeAddress{
		{Type: corev1.NodeInternalIP, Address: "192.0.2.1"}, {Type: corev1.NodeHostName, Address: "n"}, {Type: corev1.NodeInternalDNS, Address: "n"},
		{Type: corev1.NodeHostName, Address: "192.0.2.2"}, {Type: corev1.NodeExternalDNS, Address: "n.example.com"}, {Type: corev1.NodeExternalIP, Address: "nonsense"},
	})
	if w.empty() || len(w.IPs) != 1 || len(w.DNS) != 2 || w.DNS[0] != "n" || w.DNS[1] != "n.example.com" {
		t.Errorf("for %v and %v", w.DNS, w.IPs)
	}
}
