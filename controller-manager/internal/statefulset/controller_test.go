package statefulset

import (
	"context"
	"testing"
	"time"

	"go.uber.org/zap"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/api/builtin"
	"xebec.dev/api/scheme"
	"xebec.dev/client"
	"xebec.dev/client/clienttest"
	"xebec.dev/client/event"
	"xebec.dev/client/stream"
	"xebec.dev/controller-manager/internal/control"
	"xebec.dev/controller-manager/internal/replica"
	"xebec.dev/controller-manager/internal/write"
)

type silent struct{}

func (silent) Event(scheme.Object, string, string, string)          {}
func (silent) Eventf(scheme.Object, string, string, string, ...any) {}
func (silent) Record(event.Note)                                    {}

// A pod that is held back because its claim is an earlier pod's is made once
// the claim is not any more, though the claim itself stays.
func TestClaimIsReleased(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c := clienttest.New(t, builtin.Scheme()).Client(t)
	s, b := stream.New(c, stream.Options{}), client.NewBatch(c, 0)
	e := &control.Env{
		Config: &control.Config{}, Replicas: replica.NewSet(c, s, nil, zap.NewNop()), Client: c, Write: write.NewWriter(c, b), Events: silent{}, Log: zap.NewNop(),
	}
	r, err := newController(e)
	if err != nil {
		t.Fatal(err)
	}
	spec := corev1.PersistentVolumeClaimSpec{
		AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
		Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}},
	}
	claim, err := client.Create(ctx, c, &corev1.PersistentVolumeClaim{Spec: spec, ObjectMeta: metav1.ObjectMeta{
		Namespace: "ns", Name: "data-web-0", OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "Pod", Name: "web-0", UID: "earlier"}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	one, labels := int32(1), map[string]string{"app": "web"}
	set := &appsv1.StatefulSet{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "web"}, Spec: appsv1.StatefulSetSpec{
		Replicas: &one, Selector: &metav1.LabelSelector{MatchLabels: labels},
		Template:             corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "x"}}}},
		VolumeClaimTemplates: []corev1.PersistentVolumeClaim{{Spec: spec, ObjectMeta: metav1.ObjectMeta{Name: "data"}}},
		PersistentVolumeClaimRetentionPolicy: &appsv1.StatefulSetPersistentVolumeClaimRetentionPolicy{
			WhenDeleted: appsv1.RetainPersistentVolumeClaimRetentionPolicyType, WhenScaled: appsv1.DeletePersistentVolumeClaimRetentionPolicyType,
		},
	}}
	if _, err := client.Create(ctx, c, set); err != nil {
		t.Fatal(err)
	}
	for _, run := range []func(context.Context) error{s.Run, b.Run, e.Replicas.Run, r.Run} {
		go func() { _ = run(ctx) }() // ends with the test
	}
	until := func(what string, f func() bool) {
		t.Helper()
		for !f() {
			if ctx.Err() != nil {
				t.Fatal("in vain: " + what)
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	until("the set is looked at", func() bool {
		now, err := client.Get[*appsv1.StatefulSet](ctx, c, "ns", "web")
		return err == nil && now.Status.UpdateRevision != ""
	})
	if _, err := client.Get[*corev1.Pod](ctx, c, "ns", "web-0"); err == nil {
		t.Fatal("a pod was given the claim of an earlier one")
	}
	claim = claim.DeepCopy()
	claim.OwnerReferences = nil
	if _, err := client.Update(ctx, c, claim); err != nil {
		t.Fatal(err)
	}
	until("the pod is made", func() bool {
		_, err := client.Get[*corev1.Pod](ctx, c, "ns", "web-0")
		return err == nil
	})
}
