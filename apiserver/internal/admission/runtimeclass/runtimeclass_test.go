package runtimeclass

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/apiserver/internal/admission/admissiontest"
)

func cpu(q string) corev1.ResourceList { return corev1.ResourceList{"cpu": resource.MustParse(q)} }

func TestPods(t *testing.T) {
	exists := corev1.Toleration{Key: "k", Operator: corev1.TolerationOpExists}
	w := admissiontest.New(t, &nodev1.RuntimeClass{ObjectMeta: metav1.ObjectMeta{Name: "plain"}}, &nodev1.RuntimeClass{
		ObjectMeta: metav1.ObjectMeta{Name: "vm"}, Overhead: &nodev1.Overhead{PodFixed: cpu("100m")},
		Scheduling: &nodev1.Scheduling{NodeSelector: map[string]string{"rt": "yes"}, Tolerations: []corev1.Toleration{exists}},
	})
	p := New(w.Store, w.Store, w.Resource(nodev1.GroupName, "runtimeclasses"))
	pod := func(class string, edit func(*corev1.PodSpec)) *corev1.Pod {
		o := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "p"}}
		if class != "" {
			o.Spec.RuntimeClassName = &class
		}
		if edit != nil {
			edit(&o.Spec)
		}
		return o
	}
	for _, x := range []struct {
		name string
		pod  *corev1.Pod
		want string
	}{
		{"none", pod("", nil), ""},
		{"plain", pod("plain", nil), ""},
		{"vm", pod("vm", func(s *corev1.PodSpec) { s.Tolerations = []corev1.Toleration{exists} }), ""},
		{"the same overhead", pod("vm", func(s *corev1.PodSpec) { s.Overhead = cpu("0.1") }), ""},
		{"unknown", pod("nope", nil), `pod rejected: RuntimeClass "nope" not found`},
		{"own overhead", pod("", func(s *corev1.PodSpec) { s.Overhead = cpu("1") }), "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead"},
		{"own overhead with a plain class", pod("plain", func(s *corev1.PodSpec) { s.Overhead = cpu("1") }), "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead"},
		{"other overhead", pod("vm", func(s *corev1.PodSpec) { s.Overhead = cpu("1") }), "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead"},
		{"conflict", pod("vm", func(s *corev1.PodSpec) { s.NodeSelector = map[string]string{"rt": "no"} }), "conflict: runtimeClass.scheduling.nodeSelector[rt] = yes; pod.spec.nodeSelector[rt] = no"},
	} {
		t.Run(x.name, func(t *testing.T) {
			admissiontest.Refused(t, admissiontest.Run(p, w.Create(x.pod)), x.want)
			if x.want != "" || x.pod.Spec.RuntimeClassName == nil || *x.pod.Spec.RuntimeClassName != "vm" {
				return
			}
			s := &x.pod.Spec
			if q := s.Overhead["cpu"]; q.String() != "100m" || s.NodeSelector["rt"] != "yes" || len(s.Tolerations) != 1 {
				t.Errorf("overhead %v, selector %v, tolerations %v", s.Overhead, s.NodeSelector, s.Tolerations)
			}
		})
	}
}
