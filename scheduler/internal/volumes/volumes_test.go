package volumes

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/scheduler/internal/feed"
	"xebec.dev/scheduler/workload"
)

func claim(name, class, size string) *corev1.PersistentVolumeClaim {
	return &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "t", Name: name, UID: "u"}, Spec: corev1.PersistentVolumeClaimSpec{
		StorageClassName: &class, AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
		Resources: corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse(size)}},
	}}
}

func volume(name, class, size, node string) *corev1.PersistentVolume {
	pv := &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.PersistentVolumeSpec{
		StorageClassName: class, AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
		Capacity: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse(size)},
	}, Status: corev1.PersistentVolumeStatus{Phase: corev1.VolumeAvailable}}
	if node != "" {
		pv.Spec.NodeAffinity = &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
			MatchExpressions: []corev1.NodeSelectorRequirement{{Key: corev1.LabelHostname, Operator: corev1.NodeSelectorOpIn, Values: []string{node}}}}}}}
	}
	return pv
}

func TestChoose(t *testing.T) {
	yes := true
	size := resource.MustParse("5Gi")
	class := func(provisioner string) *storagev1.StorageClass {
		return &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: "c"}, Provisioner: provisioner}
	}
	zoned := class("p")
	zoned.AllowedTopologies = []corev1.TopologySelectorTerm{{MatchLabelExpressions: []corev1.TopologySelectorLabelRequirement{{Key: "zone", Values: []string{"a"}}}}}
	taken := volume("taken", "c", "2Gi", "")
	taken.Spec.ClaimRef = &corev1.ObjectReference{Namespace: "t", Name: "other"}
	mine := volume("mine", "c", "9Gi", "")
	mine.Spec.ClaimRef = &corev1.ObjectReference{Namespace: "t", Name: "data"}
	selected := claim("data", "c", "1Gi")
	selected.Annotations = map[string]string{SelectedNode: "n2"}
	for _, tt := range []struct {
		name    string
		claim   *corev1.PersistentVolumeClaim
		class   *storagev1.StorageClass
		volumes []*corev1.PersistentVolume
		driver  bool
		cap     *resource.Quantity
		zone    string
		want    string // volume, "provision" or a reason
	}{
		{name: "smallest", class: class(noProvisioner), volumes: []*corev1.PersistentVolume{volume("b", "c", "3Gi", ""), volume("a", "c", "2Gi", "")}, want: "a"},
		{name: "too small", class: class(noProvisioner), volumes: []*corev1.PersistentVolume{volume("a", "c", "100Mi", "")}, want: NoVolume},
		{name: "elsewhere", class: class(noProvisioner), volumes: []*corev1.PersistentVolume{volume("a", "c", "2Gi", "n2")}, want: NoVolume},
		{name: "other class", class: class(noProvisioner), volumes: []*corev1.PersistentVolume{volume("a", "d", "2Gi", "")}, want: NoVolume},
		{name: "taken", class: class(noProvisioner), volumes: []*corev1.PersistentVolume{taken}, want: NoVolume},
		{name: "made for it", class: class(noProvisioner), volumes: []*corev1.PersistentVolume{volume("a", "c", "2Gi", ""), mine}, want: "mine"},
		{name: "provision", class: class("p"), want: "provision"},
		{name: "selected elsewhere", claim: selected, class: class("p"), want: NoVolume},
		{name: "topology", class: zoned, zone: "a", want: "provision"},
		{name: "other topology", class: zoned, zone: "b", want: NoVolume},
		{name: "capacity", class: class("p"), driver: true, cap: &size, want: "provision"},
		{name: "no capacity", class: class("p"), driver: true, want: NoSpace},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v := New()
			for _, pv := range tt.volumes {
				v.PersistentVolumes([]feed.Change[*corev1.PersistentVolume]{{New: pv}})
			}
			if tt.driver {
				v.Drivers([]feed.Change[*storagev1.CSIDriver]{{New: &storagev1.CSIDriver{ObjectMeta: metav1.ObjectMeta{Name: "p"}, Spec: storagev1.CSIDriverSpec{StorageCapacity: &yes}}}})
			}
			if tt.cap != nil {
				v.Capacities([]feed.Change[*storagev1.CSIStorageCapacity]{{New: &storagev1.CSIStorageCapacity{ObjectMeta: metav1.ObjectMeta{Namespace: "k", Name: "x"}, StorageClassName: "c", Capacity: tt.cap, NodeTopology: &metav1.LabelSelector{}}}})
			}
			c := tt.claim
			if c == nil {
				c = claim("data", "c", "1Gi")
			}
			node := workload.Node("n1", map[string]string{"zone": tt.zone})
			choice, got := v.Choose([]Use{{Name: "data", Claim: c, Class: tt.class}}, node)
			switch {
			case len(choice.Bind) == 1:
				got = choice.Bind[0].Volume.Name
			case len(choice.Provision) == 1:
				got = "provision"
			}
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// What is assumed for one claim is not chosen for another.
func TestAssume(t *testing.T) {
	v := New()
	v.PersistentVolumes([]feed.Change[*corev1.PersistentVolume]{{New: volume("a", "c", "2Gi", "")}})
	class := &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: "c"}, Provisioner: noProvisioner}
	n := workload.Node("n", nil)
	one, two := []Use{{Claim: claim("one", "c", "1Gi"), Class: class}}, []Use{{Claim: claim("two", "c", "1Gi"), Class: class}}
	choice, why := v.Choose(one, n)
	if why != "" {
		t.Fatal(why)
	}
	v.Assume(&choice, "n")
	if _, why := v.Choose(two, n); why != NoVolume {
		t.Errorf("the second claim: %q", why)
	}
	if _, why := v.Choose(one, n); why != "" {
		t.Errorf("the first claim again: %q", why)
	}
	v.Forget(&choice)
	if _, why := v.Choose(two, n); why != "" {
		t.Errorf("the second claim, once the first is forgotten: %q", why)
	}
}
