package downward

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestFieldsFromStatus(t *testing.T) {
	p := Pod{Pod: &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"b": "2\n", "a": "x\"y"}},
		Status:     corev1.PodStatus{PodIP: "10.0.0.1", HostIP: "192.0.2.1", HostIPs: []corev1.HostIP{{IP: "192.0.2.1"}, {IP: "fd00::1"}}},
	}}
	for path, want := range map[string]string{
		"status.podIP": "10.0.0.1", "status.podIPs": "10.0.0.1", "status.hostIP": "192.0.2.1", "status.hostIPs": "192.0.2.1,fd00::1",
		"metadata.labels": "a=\"x\\\"y\"\nb=\"2\\n\"", "metadata.annotations": "", "metadata.labels['b']": "2\n", "metadata.labels['none']": "",
		"metadata.name['x']": `error: fieldPath "metadata.name" does not support subscript`, "x": "error: unsupported fieldPath: x",
		"metadata.labels['x": "error: unsupported fieldPath: metadata.labels['x",
	} {
		have, err := Field(p, path)
		if err != nil {
			have = "error: " + err.Error()
		}
		if have != want {
			t.Errorf("%s: have %q, want %q", path, have, want)
		}
	}
}

func TestLimitsOfThePod(t *testing.T) {
	p := Pod{Pod: &corev1.Pod{Spec: corev1.PodSpec{
		InitContainers:      []corev1.Container{{Name: "i"}},
		EphemeralContainers: []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "e"}}},
		Resources:           &corev1.ResourceRequirements{Limits: corev1.ResourceList{"memory": resource.MustParse("1Gi")}},
	}}, Allocatable: corev1.ResourceList{"memory": resource.MustParse("2Gi"), "cpu": resource.MustParse("1900m")}}
	for resource, want := range map[string]string{"limits.memory": "1073741824", "limits.cpu": "2", "requests.cpu": "0", "limits.hugepages-2Mi": "0"} {
		for _, c := range []string{"i", "e"} {
			have, err := Resource(p, c, &corev1.ResourceFieldSelector{Resource: resource})
			if err != nil || have != want {
				t.Errorf("%s of %s: have %s, want %s (%v)", resource, c, have, want, err)
			}
		}
	}
}

func TestDivideRoundsUp(t *testing.T) {
	for _, c := range []struct{ name, q, divisor, want string }{
		{"cpu", "1500m", "0", "2"}, {"cpu", "1", "1m", "1000"}, {"cpu", "0", "1", "0"}, {"cpu", "1m", "1", "1"},
		{"memory", "1Mi", "1Ki", "1024"}, {"memory", "1025", "1Ki", "2"}, {"memory", "1000M", "1Gi", "1"},
	} {
		if have := divide(c.name, resource.MustParse(c.q), resource.MustParse(c.divisor)); have != c.want {
			t.Errorf("%s / %s: have %s, want %s", c.q, c.divisor, have, c.want)
		}
	}
}
