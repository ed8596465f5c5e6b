package tokencleaner

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

func TestPlan(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"":                          -1,
		"2026-01-02T03:04:05Z":      0,
		"2026-01-02T03:04:06Z":      time.Second,
		"2026-01-02T03:04:06+01:00": 0,
		"never":                     0,
	} {
		if got := plan(&corev1.Secret{Data: map[string][]byte{"expiration": []byte(text)}}, now); got != want {
			t.Errorf("expiration %q: %s, want %s", text, got, want)
		}
	}
}
