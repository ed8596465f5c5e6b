package rpc

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"xebec.dev/api/builtin"
	"xebec.dev/apiserver/internal/registry"
	pb "xebec.dev/proto/gen/control/v1"
)

func testPod() *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "n", Labels: map[string]string{"a": "b"}, ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "m"}}},
		Spec: corev1.PodSpec{
			NodeName: "node", SchedulerName: "s",
			Containers: []corev1.Container{{Name: "c", Image: "i"}},
			Volumes:    []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/x"}}}},
		},
		Status: corev1.PodStatus{Phase: corev1.PodRunning, PodIP: "10.0.0.1"},
	}
}

func TestProjectionKeepsWhatIsNamed(t *testing.T) {
	served, _ := builtin.Scheme().At(schema.GroupVersionResource{Version: "v1", Resource: "pods"})
	target := &registry.Target{Served: served}
	raw, err := testPod().Marshal()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		q    *pb.Projection
		want func(*corev1.Pod)
	}{
		{"all", nil, func(*corev1.Pod) {}},
		{"metadata", &pb.Projection{MetadataOnly: true}, func(p *corev1.Pod) {
			*p = corev1.Pod{ObjectMeta: p.ObjectMeta}
			p.ManagedFields = nil
		}},
		{"fields", &pb.Projection{Fields: []string{"spec.nodeName", "status.phase", "metadata.managedFields"}}, func(p *corev1.Pod) {
			*p = corev1.Pod{ObjectMeta: p.ObjectMeta, Spec: corev1.PodSpec{NodeName: "node"}, Status: corev1.PodStatus{Phase: corev1.PodRunning}}
		}},
		{"within lists and inline structs", &pb.Projection{Fields: []string{"spec.containers.image", "spec.volumes.hostPath"}}, func(p *corev1.Pod) {
			*p = corev1.Pod{ObjectMeta: p.ObjectMeta, Spec: corev1.PodSpec{
				Containers: []corev1.Container{{Image: "i"}},
				Volumes:    []corev1.Volume{{VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/x"}}}},
			}}
			p.ManagedFields = nil
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, err := (&Server{}).projection(target, tt.q)
			if err != nil {
				t.Fatal(err)
			}
			got, want := &corev1.Pod{}, testPod()
			if err := got.Unmarshal(p.apply(raw)); err != nil {
				t.Fatal(err)
			}
			tt.want(want)
			if !apiequality.Semantic.DeepEqual(got, want) {
				t.Errorf("got %+v\nwant %+v", got, want)
			}
		})
	}
	if _, err := (&Server{}).projection(target, &pb.Projection{Fields: []string{"spec.nodename"}}); err == nil {
		t.Error("an unknown field is not refused")
	}
}
