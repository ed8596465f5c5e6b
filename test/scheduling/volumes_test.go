package scheduling

import (
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/api/scheme"
	"xebec.dev/client"
	"xebec.dev/scheduler/workload"
)

func contains(text, part string) bool { return strings.Contains(text, part) }

func namespace(name string) *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
}

func podNumber(i int) scheme.Object {
	p := workload.Pod("t", fmt.Sprintf("pod-%04d", i))
	p.UID, p.Status = "", corev1.PodStatus{}
	return p
}

func withClaim(claim string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Spec.Volumes = []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: claim}}}}
	}
}

func (e *env) claim(name, class string, mode corev1.PersistentVolumeAccessMode) *corev1.PersistentVolumeClaim {
	e.Helper()
	c := must(e, &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "t", Name: name}, Spec: corev1.PersistentVolumeClaimSpec{
		StorageClassName: &class, AccessModes: []corev1.PersistentVolumeAccessMode{mode},
		Resources: corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}},
	}})
	e.Cleanup(func() { e.remove(name) })
	return c
}

func (e *env) remove(name string) {
	c, err := client.Get[*corev1.PersistentVolumeClaim](e.ctx, e.c, "t", name)
	if err == nil {
		c.Finalizers = nil
		_, _ = client.Update(e.ctx, e.c, c) // gone is as good
		_ = client.Delete[*corev1.PersistentVolumeClaim](e.ctx, e.c, "t", name)
	}
}

func (e *env) volume(name, class, node string, mode corev1.PersistentVolumeAccessMode) {
	e.Helper()
	must(e, &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.PersistentVolumeSpec{
		StorageClassName: class, AccessModes: []corev1.PersistentVolumeAccessMode{mode},
		Capacity:               corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("2Gi")},
		PersistentVolumeSource: corev1.PersistentVolumeSource{Local: &corev1.LocalVolumeSource{Path: "/data"}},
		NodeAffinity: &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
			MatchExpressions: []corev1.NodeSelectorRequirement{{Key: corev1.LabelHostname, Operator: corev1.NodeSelectorOpIn, Values: []string{node}}}}}}},
	}})
	e.Cleanup(func() {
		pv, err := client.Get[*corev1.PersistentVolume](e.ctx, e.c, "", name)
		if err == nil {
			pv.Finalizers = nil
			_, _ = client.Update(e.ctx, e.c, pv) // gone is as good
			_ = client.Delete[*corev1.PersistentVolume](e.ctx, e.c, "", name)
		}
	})
}

func (e *env) storageClass(name, provisioner string, mode storagev1.VolumeBindingMode) {
	e.Helper()
	must(e, &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: name}, Provisioner: provisioner, VolumeBindingMode: &mode})
	e.Cleanup(func() { _ = client.Delete[*storagev1.StorageClass](e.ctx, e.c, "", name) })
}

// bind does what the volume controller does once a volume names its claim.
func (e *env) bind(claim, volume string) {
	e.Helper()
	change(e, "t", claim, func(c *corev1.PersistentVolumeClaim) {
		c.Spec.VolumeName = volume
		metav1.SetMetaDataAnnotation(&c.ObjectMeta, "pv.kubernetes.io/bind-completed", "yes")
	})
}

// A claim that waits for its first pod: the scheduler chooses volume and node
// together, writes the choice, and binds the pod once the claim is bound.
func TestWaitForFirstConsumer(t *testing.T) {
	e := setup(t)
	e.storageClass("local", "kubernetes.io/no-provisioner", storagev1.VolumeBindingWaitForFirstConsumer)
	e.node("n1", nil)
	e.node("n2", nil)
	e.claim("data", "local", corev1.ReadWriteOnce)
	e.pod("user", withClaim("data"))
	e.pending("user", "Unschedulable", "0/2 nodes are available: 2 node(s) didn't find available persistent volumes to bind. no new claims to deallocate, preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling.")
	e.volume("vol", "local", "n2", corev1.ReadWriteOnce)
	var pv *corev1.PersistentVolume
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		var err error
		if pv, err = client.Get[*corev1.PersistentVolume](e.ctx, e.c, "", "vol"); err != nil {
			t.Fatal(err)
		}
		if pv.Spec.ClaimRef != nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the volume was not given to the claim within a minute")
		}
	}
	if r := pv.Spec.ClaimRef; r.Namespace != "t" || r.Name != "data" || r.UID == "" {
		t.Errorf("the volume names %+v", r)
	}
	if p, err := client.Get[*corev1.Pod](e.ctx, e.c, "t", "user"); err != nil || p.Spec.NodeName != "" {
		t.Errorf("the pod is on %q before its claim is bound: %v", p.Spec.NodeName, err)
	}
	e.bind("data", "vol")
	if p := e.bound("user"); p.Spec.NodeName != "n2" {
		t.Errorf("the pod is on %q, its volume on n2", p.Spec.NodeName)
	}
}

// A provisioner is told the node, and a claim of one pod only is kept so.
func TestProvisioning(t *testing.T) {
	e := setup(t)
	e.storageClass("fast", "example.com/csi", storagev1.VolumeBindingWaitForFirstConsumer)
	e.storageClass("now", "example.com/csi", storagev1.VolumeBindingImmediate)
	e.node("n1", nil)
	e.pod("lost", withClaim("nowhere"))
	e.pending("lost", "Unschedulable", `0/1 nodes are available: persistentvolumeclaim "nowhere" not found. no new claims to deallocate, preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling.`)
	e.claim("later", "now", corev1.ReadWriteOnce)
	e.pod("early", withClaim("later"))
	e.pending("early", "Unschedulable", "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims. no new claims to deallocate, preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling.")
	e.claim("one", "fast", corev1.ReadWriteOncePod)
	e.pod("first", withClaim("one"))
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		c, err := client.Get[*corev1.PersistentVolumeClaim](e.ctx, e.c, "t", "one")
		if err != nil {
			t.Fatal(err)
		}
		if c.Annotations["volume.kubernetes.io/selected-node"] == "n1" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("no node was selected: %v", c.Annotations)
		}
	}
	e.volume("made", "fast", "n1", corev1.ReadWriteOncePod)
	e.bind("one", "made")
	e.bound("first")
	e.pod("second", withClaim("one"))
	e.pending("second", "Unschedulable", "")
	e.ends("first")
	e.bound("second")
}
