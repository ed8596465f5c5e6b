package vacprotection

import (
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestPlan(t *testing.T) {
	for _, c := range []struct {
		what          string
		finalizers    string
		deleted, used bool
		want          string
	}{
		{"made before admission protected", "a", false, false, "a " + finalizer},
		{"held", finalizer, false, true, "-"},
		{"deleted while used", finalizer, true, true, "-"},
		{"deleted and free", "a " + finalizer + " b", true, false, "a b"},
		{"deleted and not ours to hold", "a", true, false, "-"},
	} {
		class := &storagev1.VolumeAttributesClass{ObjectMeta: metav1.ObjectMeta{Finalizers: strings.Fields(c.finalizers)}}
		if c.deleted {
			at := metav1.Now()
			class.DeletionTimestamp = &at
		}
		got := "-"
		if f, changed := plan(class, c.used); changed {
			got = strings.Join(f, " ")
		}
		if got != c.want {
			t.Errorf("%s: %s, want %s", c.what, got, c.want)
		}
	}
}

func TestClassesOfClaim(t *testing.T) {
	a, b := "a", "b"
	c := &corev1.PersistentVolumeClaim{
		Spec: corev1.PersistentVolumeClaimSpec{VolumeAttributesClassName: &b},
		Status: corev1.PersistentVolumeClaimStatus{CurrentVolumeAttributesClassName: &a,
			ModifyVolumeStatus: &corev1.ModifyVolumeStatus{TargetVolumeAttributesClassName: b}},
	}
	if got := classesOfClaim(c); !slices.Equal(got, []string{"b", "a"}) {
		t.Errorf("classes %v", got)
	}
}
