package podtopology

import (
	"maps"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/apiserver/internal/admission/admissiontest"
)

func TestLabels(t *testing.T) {
	w := admissiontest.New(t, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n", Labels: map[string]string{corev1.LabelTopologyZone: "z", "other": "x"}}})
	p := New(w.Store, w.Resource("", "nodes"))
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "p", Labels: map[string]string{corev1.LabelTopologyZone: "mine"}}, Spec: corev1.PodSpec{NodeName: "n"}}
	binding := &corev1.Binding{Target: corev1.ObjectReference{Kind: "Node", Name: "n"}}
	lost := &corev1.Binding{Target: corev1.ObjectReference{Kind: "Node", Name: "none"}}
	for _, r := range []*admissiontest.Request{w.Create(pod), w.Sub(pod, "binding", binding), w.Sub(pod, "binding", lost)} {
		if err := admissiontest.Run(p, r); err != nil {
			t.Error(err)
		}
	}
	want := map[string]string{corev1.LabelTopologyZone: "z"}
	if !maps.Equal(pod.Labels, want) || !maps.Equal(binding.Labels, want) || len(lost.Labels) > 0 {
		t.Errorf("pod %v, binding %v, lost %v", pod.Labels, binding.Labels, lost.Labels)
	}
}
