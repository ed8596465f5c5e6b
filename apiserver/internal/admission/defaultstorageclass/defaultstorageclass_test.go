package defaultstorageclass

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/apiserver/internal/admission/admissiontest"
)

func TestClaims(t *testing.T) {
	start := time.Unix(1e9, 0)
	class := func(name, key string, age time.Duration) *storagev1.StorageClass {
		return &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: name, CreationTimestamp: metav1.NewTime(start.Add(-age)), Annotations: map[string]string{key: "true"}}}
	}
	w := admissiontest.New(t, class("a-old", annotation, time.Hour), class("b-new", betaAnnotation, time.Minute), class("c-new", annotation, time.Minute), class("d-newest", "other", 0))
	p := New(w.Store, w.Resource(storagev1.GroupName, "storageclasses"))
	empty, own := "", "own"
	for _, x := range []struct {
		claim *corev1.PersistentVolumeClaim
		want  *string
	}{
		{&corev1.PersistentVolumeClaim{}, ptr("b-new")},
		{&corev1.PersistentVolumeClaim{Spec: corev1.PersistentVolumeClaimSpec{StorageClassName: &empty}}, &empty},
		{&corev1.PersistentVolumeClaim{Spec: corev1.PersistentVolumeClaimSpec{StorageClassName: &own}}, &own},
		{&corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{corev1.BetaStorageClassAnnotation: "x"}}}, nil},
	} {
		if err := admissiontest.Run(p, w.Create(x.claim)); err != nil {
			t.Error(err)
		}
		if got := x.claim.Spec.StorageClassName; (got == nil) != (x.want == nil) || got != nil && *got != *x.want {
			t.Errorf("class %v, want %v", got, x.want)
		}
	}
}

func ptr(s string) *string { return &s }
