package ephemeralvolume

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestPlan(t *testing.T) {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "p", UID: "1"}, Spec: corev1.PodSpec{Volumes: []corev1.Volume{
		{Name: "v", VolumeSource: corev1.VolumeSource{Ephemeral: &corev1.EphemeralVolumeSource{VolumeClaimTemplate: &corev1.PersistentVolumeClaimTemplate{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"a": "b"}}}}}},
		{Name: "other"},
	}}}
	claims := map[string]*corev1.PersistentVolumeClaim{}
	have := func(n string) *corev1.PersistentVolumeClaim { return claims[n] }
	create, foreign := plan(p, have)
	if len(create) != 1 || len(foreign) != 0 || create[0].Name != "p-v" || create[0].Labels["a"] != "b" || !metav1.IsControlledBy(create[0], p) {
		t.Fatalf("create %v, foreign %v", create, foreign)
	}
	claims["p-v"] = create[0]
	if create, foreign := plan(p, have); len(create)+len(foreign) > 0 {
		t.Errorf("again: create %v, foreign %v", create, foreign)
	}
	claims["p-v"] = &corev1.PersistentVolumeClaim{}
	if create, foreign := plan(p, have); len(create) > 0 || len(foreign) != 1 {
		t.Errorf("somebody else's: create %v, foreign %v", create, foreign)
	}
	delete(claims, "p-v")
	now := metav1.Now()
	p.DeletionTimestamp = &now
	if create, _ := plan(p, have); len(create) > 0 {
		t.Error("a claim is made for a pod that ends")
	}
}
