package internalform

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func TestOf(t *testing.T) {
	name := "x"
	quantity := resource.MustParse("1Gi")
	for _, c := range []struct {
		value any
		want  string
	}{
		{corev1.PodResourceClaim{Name: "a", ResourceClaimName: &name},
			`{"Name":"a","ResourceClaimName":"x","ResourceClaimTemplateName":null}`},
		{&corev1.PodResourceClaim{}, `{"Name":"","ResourceClaimName":null,"ResourceClaimTemplateName":null}`},
		{[]storagev1.CSINodeDriver{{TopologyKeys: []string{"a"}}}, `[{"Name":"","NodeID":"","TopologyKeys":["a"],"Allocatable":null}]`},
		{corev1.ResourceList{"memory": quantity}, `{"memory":"1Gi"}`},
		{(*corev1.Pod)(nil), `null`},
		{policyv1.PodDisruptionBudgetSpec{Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"a": "b"}}},
			`{"MinAvailable":null,"Selector":{"matchLabels":{"a":"b"}},"MaxUnavailable":null,"UnhealthyPodEvictionPolicy":null}`},
		{struct {
			metav1.ObjectMeta
			Spec int
		}{metav1.ObjectMeta{Name: "x"}, 1}, `{"name":"x","Spec":1}`},
	} {
		err := field.Invalid(field.NewPath("p"), Of(c.value), "")
		if got, want := err.ErrorBody(), "Invalid value: "+c.want; got != want {
			t.Errorf("got %s\nwant %s", got, want)
		}
	}
}
