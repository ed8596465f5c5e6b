package claimresize

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/apiserver/internal/admission/admissiontest"
)

func TestGrowth(t *testing.T) {
	yes, no := true, false
	w := admissiontest.New(t,
		&storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: "yes"}, AllowVolumeExpansion: &yes},
		&storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: "no"}, AllowVolumeExpansion: &no})
	p := New(w.Store, w.Store, w.Resource(storagev1.GroupName, "storageclasses"))
	claim := func(class, size string, phase corev1.PersistentVolumeClaimPhase) *corev1.PersistentVolumeClaim {
		c := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "c"}, Status: corev1.PersistentVolumeClaimStatus{Phase: phase}}
		c.Spec.Resources.Requests = corev1.ResourceList{corev1.ResourceStorage: resource.MustParse(size)}
		if class != "" {
			c.Spec.StorageClassName = &class
		}
		return c
	}
	const refusal = "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize"
	for _, x := range []struct {
		class, from, to string
		phase           corev1.PersistentVolumeClaimPhase
		want            string
	}{
		{"yes", "1Gi", "2Gi", corev1.ClaimBound, ""},
		{"no", "1Gi", "2Gi", corev1.ClaimBound, refusal},
		{"none", "1Gi", "2Gi", corev1.ClaimBound, refusal},
		{"", "1Gi", "2Gi", corev1.ClaimBound, refusal},
		{"no", "2Gi", "1Gi", corev1.ClaimBound, ""},
		{"no", "1Gi", "1024Mi", corev1.ClaimBound, ""},
		{"yes", "1Gi", "2Gi", corev1.ClaimPending, "only bound persistent volume claims can be expanded"},
	} {
		admissiontest.Refused(t, admissiontest.Run(p, w.Update(claim(x.class, x.to, x.phase), claim(x.class, x.from, x.phase), "")), x.want)
	}
}
