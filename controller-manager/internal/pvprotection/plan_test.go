package pvprotection

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestPlan(t *testing.T) {
	for _, c := range []struct {
		what       string
		finalizers string
		deleted    bool
		phase      corev1.PersistentVolumePhase
		want       string
	}{
		{"made before admission protected", "a", false, corev1.VolumeAvailable, "a " + finalizer},
		{"held", finalizer, false, corev1.VolumeBound, "-"},
		{"deleted while bound", finalizer, true, corev1.VolumeBound, "-"},
		{"deleted and released", "a " + finalizer + " b", true, corev1.VolumeReleased, "a b"},
		{"deleted and not ours to hold", "a", true, corev1.VolumeAvailable, "-"},
	} {
		v := &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Finalizers: strings.Fields(c.finalizers)}, Status: corev1.PersistentVolumeStatus{Phase: c.phase}}
		if c.deleted {
			at := metav1.Now()
			v.DeletionTimestamp = &at
		}
		got := "-"
		if f, changed := plan(v); changed {
			got = strings.Join(f, " ")
		}
		if got != c.want {
			t.Errorf("%s: %s, want %s", c.what, got, c.want)
		}
	}
}
