package version

import (
	"testing"

	schedulingv1beta1 "k8s.io/api/scheduling/v1beta1"
	storagev1 "k8s.io/api/storage/v1"
	storagev1beta1 "k8s.io/api/storage/v1beta1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

func TestWireEqual(t *testing.T) {
	v := Off(WireEqual[storagev1beta1.VolumeAttributesClass, storagev1beta1.VolumeAttributesClassList, storagev1.VolumeAttributesClass]("storage.k8s.io", "v1beta1"))
	if !v.OffByDefault {
		t.Error("served by default")
	}
	in := &storagev1beta1.VolumeAttributesClass{
		ObjectMeta: metav1.ObjectMeta{Name: "a", Labels: map[string]string{"x": "y"}},
		DriverName: "d", Parameters: map[string]string{"p": "q"},
	}
	out, err := v.Decode(in)
	if err != nil {
		t.Fatal(err)
	}
	stored := out.(*storagev1.VolumeAttributesClass)
	if stored.Name != "a" || stored.Labels["x"] != "y" || stored.DriverName != "d" || stored.Parameters["p"] != "q" {
		t.Errorf("decoded %+v", stored)
	}
	back, err := v.Encode(stored)
	if err != nil {
		t.Fatal(err)
	}
	if b := back.(*storagev1beta1.VolumeAttributesClass); b.DriverName != "d" || b.Name != "a" {
		t.Errorf("encoded %+v", b)
	}
	if _, err := v.Decode(&storagev1.StorageClass{}); err == nil {
		t.Error("another type was converted")
	}
	if _, ok := v.NewList().(*storagev1beta1.VolumeAttributesClassList); !ok {
		t.Error("wrong list type")
	}
}

func TestDeprecation(t *testing.T) {
	for _, c := range []struct {
		example runtime.Object
		group   string
		version string
		want    string
	}{
		{&storagev1beta1.VolumeAttributesClass{}, "storage.k8s.io", "v1beta1",
			"storage.k8s.io/v1beta1 VolumeAttributesClass is deprecated in v1.34+, unavailable in v1.37+; use storage.k8s.io/v1 VolumeAttributesClass"},
		{&storagev1.StorageClass{}, "storage.k8s.io", "v1", ""},
		{&schedulingv1beta1.PodGroup{}, "scheduling.k8s.io", "v1beta1", ""},
	} {
		if got := Own(c.group, c.version, c.example).Deprecated; got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}
