package internalform

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
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
	} {
		err := field.Invalid(field.NewPath("p"), Of(c.value), "")
		if got, want := err.ErrorBody(), "Invalid value: "+c.want; got != want {
			t.Errorf("got %s\nwant %s", got, want)
		}
	}
}
